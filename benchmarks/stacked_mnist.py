"""Mode coverage: Stacked MNIST, three digits as the channels of a colour picture, so 1,000 modes of equal probability.

    MAQUETTE_DATA=... python benchmarks/stacked_mnist.py --recipe image/gan --budget 30m
    MAQUETTE_DATA=... python benchmarks/stacked_mnist.py --run runs/stacked

60,000 pictures are put together from MNIST's training digits (Metz et al. 2017), without labels. Of 26,000
samples, the judge reads the digit in each channel: modes covered are the numbers 000 to 999 that came at least once,
and KL is that of their shares from uniform ones, nats (Lin et al. 2018). 26,000 real pictures have a KL of about 0.02.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import _run
import judge

SAMPLES, MODES = 26_000, 1000


def main() -> None:
    args = _run.parser(__doc__, "image/gan", "30m").parse_args()
    judge.load_judge()
    # As many pictures as there are digits; of a smoke, as few samples.
    train, test = (len(judge.mnist(split)[0]) for split in ("train", "test"))
    count = test if args.smoke else SAMPLES
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "stacked.npz"
        if args.smoke or not args.run:
            np.savez(data, x_train=stacked("train", train), x_test=stacked("test", test))
        with _run.trained(args, data) as run:
            began = time.monotonic()
            samples = run.sample(count, seed=0).only
            print(f"{count / (time.monotonic() - began):,.0f} samples/s")
    for name, pictures in (("samples", samples), ("real", _pictures(stacked("test", count)))):
        shares = torch.bincount(modes(pictures), minlength=MODES) / len(pictures)
        some = shares[shares > 0]
        kl = float((some * (some * MODES).log()).sum())
        print(f"{name}: {len(some):,} modes of {MODES:,}, KL {kl:.3f} nats (at most {math.log(MODES):.2f})")


def stacked(split: str, n: int) -> np.ndarray:
    """n pictures u8[n, 28, 28, 3] whose channels are digits drawn at random."""
    images, _ = judge.mnist(split)
    rows = np.random.default_rng([n, split == "train"]).integers(len(images), size=(n, 3))
    digits = ((images[:, 0] + 1) * 127.5).round().byte().numpy()
    return np.stack([digits[rows[:, channel]] for channel in range(3)], -1)


def _pictures(stored: np.ndarray) -> Tensor:
    return torch.from_numpy(stored).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def modes(pictures: Tensor) -> Tensor:
    """The number, 0 to 999, that the judge reads in each picture f32[N, 3, 28, 28], i64[N]."""
    reader = judge.load_judge()
    numbers = []
    for part in pictures.split(1000):
        digits = reader(part.reshape(-1, 1, 28, 28)).argmax(1).view(-1, 3)
        numbers.append(digits @ torch.tensor([100, 10, 1]))
    return torch.cat(numbers)


if __name__ == "__main__":
    _run.command(main)
