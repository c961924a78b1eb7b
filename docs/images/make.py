"""Makes the pictures of the README from a run of image/gan on MNIST:

maquette train image/gan --data mnist -o runs/mnist --budget 10m && python docs/images/make.py runs/mnist
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from PIL import Image, ImageSequence

import maquette
from maquette.core.samples import Samples

HERE, COLUMNS = Path(__file__).parent, 24


def main(path: str) -> None:
    run = maquette.load(path)
    rows = [run.sample(COLUMNS, label=label, seed=1) for label in run.spec.columns["label"].classes]
    together = Samples({"image": torch.cat([row.only for row in rows])}, {}, run.spec, seed=1)
    together.preview(COLUMNS).save(HERE / "samples.png", optimize=True)
    with Image.open(run.folder.samples / "training.gif") as animation:
        frames = [frame.convert("L").resize((310, 310)).quantize(16) for frame in ImageSequence.Iterator(animation)]
    held = [180] * (len(frames) - 1) + [2500]  # milliseconds: the last is worth a longer look
    frames[0].save(HERE / "training.gif", save_all=True, append_images=frames[1:], duration=held, loop=0)


main(sys.argv[1])
