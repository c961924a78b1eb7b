"""How many items a recipe has to see before its samples are worth a look: the evidence for recipes/needs.yaml.

    MAQUETTE_DATA=... python benchmarks/needs.py --grids grids/             # hours; goes on where needs.jsonl ends
    MAQUETTE_DATA=... python benchmarks/needs.py --only image/gan --data mnist --first 16000
    python benchmarks/needs.py --table                                      # quality by items
    MAQUETTE_DATA=... python benchmarks/needs.py --work 8,28 --only image/gan          # what an item costs

Each line is a run of its own, with twice the items of the one before, since schedules depend on how long a run is.
Pictures: the Fréchet distance of 1,000 samples to held-out ones in own features, and that of as many real ones.
Texts: nats per held-out character. Items and not seconds, so that it does not matter what else the machine does.

Where a first look is, is told by eye, from the grids: distances do not say it, as blur is held against a VAE long after
its pictures can be read. What "worth it" is stands at the head of recipes/needs.yaml.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import _run
import _smoke
import maquette
from maquette.core.find import find_modality
from maquette.core.model import Streams
from maquette.core.recipe import load_recipe
from maquette.core.spec import GridSpec
from maquette.evaluation.features import batches, chunks, order
from maquette.evaluation.measures.frechet import distance, moments
from maquette.modalities.image.own_features import own_features
from maquette.modalities.text.measures.loss import held_out

SAMPLES = 1000
BATCHES = {"text/lm": 8}  # follows from the tokens in a batch
# (recipes, data, what is asked of it, the first rung of the ladder in items)
CASES: list[tuple[tuple[str, ...], str, dict[str, Any], int]] = [
    (("image/gan", "image/vae", "image/flow"), "digits", {}, 1_000),
    (("image/vae", "image/gan", "image/flow"), "mnist", {}, 1_000),
    (("text/lm",), "tinyshakespeare/input.txt", {}, 250),
    (("image/vae", "image/gan", "image/flow"), "cifar10/train.zip", {}, 1_000),
    (("image/gan-mlp", "image/vae-mlp"), "digits", {}, 4_000),
    (("image/vae-mlp", "image/gan-mlp", "image/dcgan"), "mnist", {}, 2_000),
    (("text/transformer", "text/seq2seq"), "multi30k", {"given": "de", "target": "en"}, 2_000),
    (("image/dcgan", "image/density", "image/restore"), "digits", {}, 1_000),
    (("image/vae", "image/gan", "image/flow"), "cifar10/train.zip", {"size": 64}, 1_000),
    (("image/restore", "image/density"), "mnist", {}, 1_000),
]


def measured(run: maquette.Run) -> tuple[float, float]:
    """(quality, what is perfect): lower is better."""
    spec, held = run.spec, run.dataset().test
    column, model = run.spec.only_name, run.generator.model
    if isinstance(spec.columns[column], GridSpec):
        data = run.dataset()
        label = "label" if "label" in data.train.columns else None
        network = own_features(data, column, label, torch.device("cpu"), notify=print)
        shuffled, _ = order(len(data.train))
        there = held.columns[column]
        rows = np.arange(len(there))[:: max(1, len(there) // 2000)]
        real = moments(network.see(chunks(there, rows)).features)
        # The reserve, which the network has not seen; where it is small, more of the training items.
        floor = moments(network.see(chunks(data.train.columns[column], shuffled[:SAMPLES])).features)
        made = moments(network.see(batches(run.sample(SAMPLES, seed=0).only)).features)
        return distance(made, real), distance(floor, real)
    assert isinstance(model, Streams)
    return held_out(model, held, spec).per_character(np.random.default_rng(0)).value, 0.0


def rung(recipe: str, data: str, asked: dict[str, Any], items: int, grids: Path | None) -> dict[str, Any]:
    """One run, from its first step to its judgement."""
    with tempfile.TemporaryDirectory() as folder:
        batch = BATCHES.get(recipe) or load_recipe(recipe).train.batch_size
        steps = max(1, round(items / batch))
        settings = ["train.preview_every=1000000", "train.trackers=[]"]  # nobody looks
        run = maquette.train(
            recipe, data, out=Path(folder) / "run", steps=steps, settings=settings, quiet=True, **asked
        )
        last = _run.ended(run)
        quality, perfect = measured(run)
        column = run.spec.only()
        if grids is not None:
            grids.mkdir(parents=True, exist_ok=True)
            name = f"{recipe}-{Path(data).name}-{asked.get('size', '')}-{last['items']:07d}".replace("/", "-")
            run.sample(64 if column.kind == "image" else 2, seed=1).write_preview(
                grids / (name + find_modality(column.kind).PREVIEW_SUFFIX)
            )
        return {
            "shape": list(column.shape), "items": last["items"],
            "asked": items, "quality": round(quality, 4), "perfect": round(perfect, 4), "seconds": last["seconds"],
        }  # fmt: skip


def work(recipe: str, side: int) -> float:
    """Seconds of one core that training takes an item, in colour, with classes."""
    marks: list[tuple[int, float]] = []
    settings = ["train.log_every=1", "train.preview_every=1000000", "train.trackers=[]", "train.precision=fp32"]
    with tempfile.TemporaryDirectory() as folder:
        data = _run.data("cifar10", "test.zip")
        maquette.train(
            recipe, data, out=Path(folder) / "run", steps=9, size=side,
            settings=settings, quiet=True, progress=lambda p: marks.append((p.items, time.process_time())),
        )  # fmt: skip
    ends = dict(marks)  # of each number of items, the last
    counts = sorted(ends)
    # Two rounds of what is done every fourth step, without the first step.
    return (ends[counts[9]] - ends[counts[1]]) / (counts[9] - counts[1])


def main() -> None:
    parser = _run.Parser(__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_suffix(".jsonl"), help="an object a run; none is done again"
    )
    parser.add_argument("--table", action="store_true", help="print what is known")
    parser.add_argument("--only", default="", help="recipes that begin so")
    parser.add_argument("--data", default="", help="data that begins so")
    parser.add_argument("--first", type=int, help="items of the first run")
    parser.add_argument("--factor", type=int, default=2, help="from one run to the next")
    parser.add_argument("--longest", type=float, default=240.0, help="seconds that a run may take, as far as is known")
    parser.add_argument("--most", type=int, default=10**6, help="items of a run")
    parser.add_argument("--grids", type=Path, help="a folder for what each run makes")
    parser.add_argument("--work", help="sides, such as 8,32: only what an item costs, of the recipes of pictures")
    args = parser.parse_args()
    if args.smoke:
        args.only, args.first, args.most, args.out = "text/lm", 8, 8, _smoke.begin() / "needs.jsonl"
    for side in map(int, args.work.split(",") if args.work else ()):
        for recipe in sorted({name for recipes, *_ in CASES for name in recipes if name.startswith("image/")}):
            if recipe.startswith(args.only):
                print(f"{recipe} {side} {1000 * work(recipe, side):.3f} ms", flush=True)
    if args.table:
        for line in sorted(known(args.out), key=lambda line: (line["recipe"], line["shape"], line["items"])):
            print("{recipe:18} {shape!s:14} {items:8,} items {quality:9.3f} (real {perfect:.3f})".format(**line))
    if args.work or args.table:
        return
    for recipes, data, asked, first in CASES:
        for recipe in recipes:
            if recipe.startswith(args.only) and data.startswith(args.data):
                ladder(args, recipe, data, asked, args.first or first)


def known(file: Path) -> list[dict[str, Any]]:
    """The runs there are."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def ladder(args: argparse.Namespace, recipe: str, data: str, asked: dict[str, Any], items: int) -> None:
    """Runs of ever more items, until the next one would take too long."""
    done = {
        line["asked"]: line
        for line in known(args.out)
        if (line["recipe"], line["data"], line["with"]) == (recipe, data, asked)
    }
    source = data if data in ("mnist", "digits") else str(_run.data(*data.split("/")))
    while items <= args.most:
        if items not in done:
            done[items] = rung(recipe, source, asked, items, args.grids)
            line = {"recipe": recipe, "data": data, "with": asked, **done[items]}
            with args.out.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
        if args.factor * done[items]["seconds"] > args.longest:
            break
        items *= args.factor


if __name__ == "__main__":
    _run.command(main)
