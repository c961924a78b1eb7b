"""A smoke of a benchmark: all of its code in seconds, on little data, with runs and a judge that hardly learned.

So that no number in a document outlives the command that made it: tests/e2e/test_benchmarks.py runs them all.
"""

from __future__ import annotations

import atexit
import contextlib
import gzip
import math
import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

STEPS, PICTURES, CHARACTERS, LINES, TUNES = 2, 256, 30_000, 400, 30
DATA = ("mnist", "tinyshakespeare", "multi30k", "tang", "fsdd", "nottingham-sample")
LENGTHS = ("--budget", "--steps", "--epochs")


@cache
def begin() -> Path:
    """From here on, and until the process ends: a cache, a judge and data of its own. Returns the folder of all."""
    import judge

    folder = Path(tempfile.mkdtemp(prefix="maquette-smoke-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if source := os.environ.get("MAQUETTE_DATA"):
        _shorten(Path(source), folder / "data")
        os.environ["MAQUETTE_DATA"] = str(folder / "data")
    os.environ["MAQUETTE_CACHE"] = str(folder / "cache")
    judge.WEIGHTS, judge.SAMPLES = folder / "judge.safetensors", 64
    return folder


def short(recipe: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `maquette.train`, for a training of moments."""
    length = {"steps": STEPS, "budget": None, "epochs": None}
    return {**options, **length, "settings": [*options.get("settings", ()), *few(recipe)], "quiet": True}


def made(commands: str, wanted: Path | None = None) -> Path:
    """The run that the commands, a line each, make in so little time: the one in `wanted`, else the last of them."""
    runs = _made(commands)
    return runs.get(wanted, [*runs.values()][-1])


@cache
def _made(commands: str) -> dict[Path | None, Path]:
    from maquette.cli.main import cli

    runs: dict[Path | None, Path] = {}
    with contextlib.chdir(tempfile.mkdtemp(dir=begin())):
        for line in filter(None, map(str.strip, commands.splitlines())):
            words = shlex.split(os.path.expandvars(line), comments=True)
            where = words.index("maquette") + 1
            runs[Path(words[words.index("-o") + 1])] = Path.cwd() / words[words.index("-o") + 1]
            cli.main(shortened(words[where:]), standalone_mode=False)
    return runs


def shortened(words: list[str]) -> list[str]:
    """The words of a `train ...` command, for a training of moments."""
    at = {i + j for i, word in enumerate(words) if word in LENGTHS for j in (0, 1)}
    kept = [word for i, word in enumerate(words) if i not in at]
    return [*kept, *few(words[1]), "--steps", str(STEPS), "--quiet"]


def few(recipe: str) -> list[str]:
    """Settings under which a step, and a look at what it taught, is soon done, with nothing to measure before."""
    from maquette.core.recipe import load_recipe

    settings = ["train.preview_items=2", "train.precision=fp32", "train.compile=off"]
    sizes = {"width": 16, "deep": 16, "embedding": 16, "heads": 2}
    settings += [f"model.{key}={sizes[key]}" for key in sizes if key in load_recipe(recipe).model]
    settings += ["model.layers=2", "model.crop=64"] if recipe == "audio/wavenet" else []
    text = ["data.text.context=16", "train.batch_tokens=68"]
    return [*settings, *(text if recipe == "text/lm" else ["train.batch_size=4"])]


def _shorten(source: Path, folder: Path) -> None:
    """Copies the beginnings of what the benchmarks use, of what there is."""
    for path in (found for name in DATA for found in (source / name).rglob("*")):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.name.endswith("-ubyte.gz"):
            target.write_bytes(_first_of_idx(gzip.decompress(path.read_bytes())))
        elif path.suffix == ".gz":
            with gzip.open(path) as lines:
                target.write_bytes(gzip.compress(b"".join(islice(lines, LINES))))
        elif path.suffix == ".wav":
            if path.stem.rpartition("_")[2] in ("0", "5", "6"):  # a few takes of each
                shutil.copy(path, target)
        elif path.suffix == ".jsonl":
            with path.open("rb") as lines:
                target.write_bytes(b"".join(islice(lines, LINES)))
        elif path.suffix == ".abc":
            tunes = path.read_text(encoding="latin-1").split("X:")[: 1 + TUNES]
            target.write_text("X:".join(tunes), encoding="latin-1")
        elif path.suffix == ".txt":
            with path.open(encoding="utf-8") as file:
                target.write_text(file.read(CHARACTERS), encoding="utf-8")


def _first_of_idx(content: bytes) -> bytes:
    """The first PICTURES items of an IDX file, which names its extents before them, four bytes each."""
    extents = [int.from_bytes(content[at : at + 4]) for at in range(4, 4 + 4 * content[3], 4)]
    start = 4 + 4 * len(extents)
    head, items = content[:4] + PICTURES.to_bytes(4) + content[8:start], PICTURES * math.prod(extents[1:])
    return gzip.compress(head + content[start : start + items])
