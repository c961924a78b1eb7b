"""The small real runs and data sets that are mutated; trained once, evaluated, with steps left to do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import maquette

DONE, LEFT = 12, 14  # steps, of so many
QUICK = ("train.trackers=[]", "train.precision=fp32", "train.compile=off", "train.preview_items=4", "train.device=cpu",
         "train.checkpoint_seconds=0.001", "train.keep_checkpoints=2", "train.batch_size=8")  # fmt: skip
SMALL = ("model.width=8",)
RUNS = {
    "digits": ("image/gan-mlp", "label", ("model.hidden=[8]", "model.critic_hidden=[8]", "model.latent_dim=4")),
    "lines": (
        "text/lm",
        None,
        (*SMALL, "model.layers=1", "model.heads=2", "data.text.tokenizer=bpe", "data.text.vocab=300"),
    ),
    "pairs": ("text/seq2seq", "de", (*SMALL, "model.embedding=8")),
}


def make(folder: Path, names: Sequence[str]) -> None:
    """Trains those of the runs that are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        recipe, given, settings = RUNS[name]
        if not (folder / name / "metrics.json").exists():
            run = maquette.train(
                recipe, _data(name, folder), out=folder / name, given=given, target="en" if name == "pairs" else None,
                steps=DONE, quiet=True, settings=[*QUICK, *settings],
            )  # fmt: skip
            run.evaluate(samples=16, quiet=True)
            recipe_file = folder / name / "recipe.yaml"
            recipe_file.write_text(
                recipe_file.read_text("utf-8").replace(f"steps: {DONE}\n", f"steps: {LEFT}\n"), "utf-8"
            )
            run.folder.record()


def _data(name: str, folder: Path) -> str:
    if name == "digits":
        return "digits"
    words = random.Random(0)
    lines = [" ".join(words.choices(("red", "blue", "old", "new", "sea", "sky"), k=4)) + f" {i}" for i in range(64)]
    path = folder / f"{name}.{'txt' if name == 'lines' else 'tsv'}"
    rows = lines if name == "lines" else ["de\ten", *(f"{line}\t{line.upper()}" for line in lines)]
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return str(path)
