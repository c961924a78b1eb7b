"""image/gan on 200 MNIST pictures (20 a class): with the augmentation that few pictures switch on, and without.

    MAQUETTE_DATA=... python benchmarks/few_pictures.py --budget 5m
    MAQUETTE_DATA=... python benchmarks/few_pictures.py --run runs/few-augmented --run runs/few-plain

Judged as gan_mnist.py does, against the 10,000 test pictures. Copies: the share of 5,000 samples that are nearer to a
training picture than all but 1 % of the test pictures are; so held-out pictures score 1 %.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import _run
import judge
import maquette

PICTURES = 200


def main() -> None:
    parser = _run.Parser(__doc__)
    parser.add_argument("--budget", default="5m", help="of each run")
    parser.add_argument("--steps", type=int, help="instead of a budget")
    parser.add_argument("--out", type=Path, help="keep the runs here, as few-augmented and few-plain")
    parser.add_argument("--run", type=Path, action="append", default=[], help="judge this run; train none")
    parser.add_argument("settings", nargs="*")
    args = parser.parse_args()
    judge.load_judge()
    with tempfile.TemporaryDirectory() as folder:
        runs = [maquette.load(path) for path in args.run if not args.smoke]
        data = Path(folder) / "few.npz"
        train, test = few(data)
        for name, settings in () if runs else (("few-augmented", []), ("few-plain", ["model.augment=0"])):
            runs.append(
                _run.train(
                    args, "image/gan", data, out=(args.out or Path(folder)) / name,
                    settings=[*settings, *args.settings], steps=args.steps, budget=None if args.steps else args.budget,
                )
            )  # fmt: skip
        near = nearest(test, train)
        limit = float(near.quantile(0.01))
        for run in runs:
            last = _run.ended(run)
            print(f"\n{run.folder.path.name}: {last['items']:,} pictures in {last['seconds']:.0f} s")
            samples = run.sample(judge.SAMPLES, seed=0)
            print(judge.verdict(samples.only))
            right = judge.judge_accuracy(samples.only, samples.given["label"])
            copied = float((nearest(samples.only, train) < limit).float().mean())
            print(f"asked class recognised {100 * right:.1f} %   copies {100 * copied:.2f} % (held-out pictures: 1 %)")


def few(path: Path) -> tuple[Tensor, Tensor]:
    """Writes 20 training pictures of each class, and all of the test pictures, as arrays; gives both as pictures."""
    (x, y), (x_test, y_test) = judge.mnist("train"), judge.mnist("test")
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.permutation(np.flatnonzero(y == c))[: PICTURES // 10] for c in range(10)])
    arrays = {}
    for side, images, labels in (("train", x[rows], y[rows]), ("test", x_test, y_test)):
        arrays |= {f"x_{side}": ((images[:, 0] + 1) * 127.5).round().byte().numpy(), f"y_{side}": labels.numpy()}
    np.savez(path, **arrays)
    return x[rows], x_test


def nearest(x: Tensor, others: Tensor) -> Tensor:
    """Root mean squared distance of each picture to the nearest of the others, f32[B]."""
    scale = x[0].numel() ** 0.5
    return torch.cdist(x.flatten(1), others.flatten(1)).min(1).values / scale


if __name__ == "__main__":
    _run.command(main)
