"""Measures the first preparation and later opens of 60,000 small PNG files in class folders, of arrays and of texts.

    MAQUETTE_DATA=/path/to/data python benchmarks/data_preparation.py [--pictures 60000] [--keep FOLDER]

The pictures are MNIST's where MAQUETTE_DATA holds them, else smooth noise of the same size; MNIST as IDX, and the texts
(tinyshakespeare, multi30k from German to English, tang), are measured where MAQUETTE_DATA holds them. Every line is
measured in a fresh process; "seconds" is the call of open_dataset alone, "whole" the process with its imports.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import _run


def make(folder: Path, pictures: int) -> str:
    """Writes the pictures as PNG files in ten class folders; returns what they are."""
    from PIL import Image

    from maquette.data.readers.idx import read_idx

    root = Path(os.environ.get("MAQUETTE_DATA", "/nowhere")) / "mnist"
    images = next(iter(sorted(root.glob("train-images*"))), None)
    if images is not None:
        x = read_idx(images.name, images.read_bytes())[:pictures]
        labels = next(iter(sorted(root.glob("train-labels*"))))
        y = read_idx(labels.name, labels.read_bytes())
        what = "MNIST"
    else:
        rng = np.random.default_rng(0)
        x = np.stack([
            np.asarray(Image.fromarray(rng.integers(0, 256, (5, 5), dtype=np.uint8)).resize((28, 28)))
            for _ in range(pictures)
        ])  # fmt: skip
        y = np.arange(pictures) % 10
        what = "smooth noise"
    for digit in range(10):
        (folder / str(digit)).mkdir(parents=True)
    for i, picture in enumerate(x):
        Image.fromarray(picture).save(folder / str(y[i]) / f"{i:05d}.png")
    return what


def measure(source: str, cache: str, target: str, given: str) -> None:
    """In a fresh process: opens, gathers one batch, and prints the facts as JSON."""
    from maquette.core.data_config import DataConfig
    from maquette.data import Loader, open_dataset

    started, before = time.perf_counter(), time.process_time()
    columns = (target,), (given,) if given else ()
    dataset = open_dataset(source, DataConfig(), target=columns[0], given=columns[1], cache=Path(cache))
    seconds = time.perf_counter() - started
    own, workers = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    loader = Loader(dataset.train, dataset.spec(*columns), 64, 0)
    loader.batch(0)
    waited = time.perf_counter()
    for step in range(1, 201):
        loader.batch(step)
    print(json.dumps({
        "seconds": seconds,
        "cpu": own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime - before,
        "train": len(dataset.train), "test": len(dataset.test),
        "batch_us": (time.perf_counter() - waited) / 200 * 1e6,
        "rss_mib": own.ru_maxrss / 1024,
        "worker_rss_mib": workers.ru_maxrss / 1024,
    }))  # fmt: skip


def main() -> None:
    parser = _run.Parser(__doc__)
    parser.add_argument("--pictures", type=int, default=60_000)
    parser.add_argument("--keep", type=Path, help="folder for the pictures; used again when it is there")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(*args.measure)
        return
    if args.smoke:
        args.pictures = 100
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary) / "pictures"
        what = make(folder, args.pictures) if not folder.exists() else f"'{folder}'"
        print(f"{args.pictures:,} PNG files: {what}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        sources = [("folder of PNG", folder, "image", "label")]
        if "MAQUETTE_DATA" in os.environ and not args.smoke:
            data = Path(os.environ["MAQUETTE_DATA"])
            sources += [
                ("MNIST as IDX", data / "mnist", "image", "label"),
                ("tinyshakespeare", data / "tinyshakespeare" / "input.txt", "text", ""),
                ("multi30k, de -> en", data / "multi30k", "en", "de"),
                ("tang poems", data / "tang" / "poems.jsonl", "text", "form"),
            ]
        for name, source, target, given in sources:
            if not source.exists():
                continue
            for turn in ("first preparation", "later open", *(() if args.smoke else ("later open",))):
                command = [sys.executable, __file__, "--measure", str(source), f"{temporary}/cache", target, given]
                started = time.perf_counter()
                facts = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                whole = time.perf_counter() - started
                print(
                    f"{name}, {turn}: {facts['seconds']:.2f} seconds"
                    f" ({facts['cpu']:.2f} of CPU over all processes; whole {whole:.2f});"
                    f" peak {facts['rss_mib']:.0f} MiB, largest worker {facts['worker_rss_mib']:.0f} MiB;"
                    f" {facts['train']:,} + {facts['test']:,} rows; batch of 64 in {facts['batch_us']:.0f} us",
                    flush=True,
                )


if __name__ == "__main__":
    _run.command(main)
