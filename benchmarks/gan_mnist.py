"""Fréchet distance of image/gan on MNIST, by an independent judge, after so much training.

    MAQUETTE_DATA=... python benchmarks/gan_mnist.py --budget 10m
    MAQUETTE_DATA=... python benchmarks/gan_mnist.py --budget 40s      # is it <= 57 by then?

The judge (judge.py) shares neither seed nor architecture with the evaluation's own features.
5,000 samples with labels drawn by their share, against the 10,000 test pictures.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import judge
import maquette


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="image/gan")
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--out", type=Path, help="keep the run here")
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--run", type=Path, help="judge this run; train none")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        if args.run:
            run = maquette.load(args.run)
        else:
            out = args.out or Path(folder) / "run"
            run = maquette.train(args.recipe, "mnist", out=out, budget=args.budget, settings=args.settings)
        wall = time.monotonic() - began
        lines = [line for line in run.folder.log() if "items_per_s" in line]
        samples = run.sample(5000, seed=0)
        last = lines[-1]
        print(f"recipe {args.recipe}  budget {args.budget}  wall {wall:.0f} s  training {last['seconds']:.0f} s")
        print(f"pictures {last['items']:,}  pictures/s {last['items'] / last['seconds']:,.0f}")
        print(f"waiting for data {last['waited_seconds']:.2f} s")
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
        print(judge.verdict(samples.x))
        if samples.given:
            right = judge.judge_accuracy(samples.x, samples.given["label"])
            unconditional = judge.frechet_to_test(run.sample(5000, seed=0, unconditional=True).x)
            print(f"asked class recognised {100 * right:.1f} %   without labels: {unconditional:.2f}")


if __name__ == "__main__":
    main()
