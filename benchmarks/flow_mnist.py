"""Fréchet distance, speed and bits/dim of image/flow on MNIST after so much training.

    MAQUETTE_DATA=... python benchmarks/flow_mnist.py --budget 5m
    MAQUETTE_DATA=... python benchmarks/flow_mnist.py --budget 20m --steps 1,2,4 --score 1000
    MAQUETTE_DATA=... python benchmarks/flow_mnist.py --run runs/f --sampler heun --steps 8
    MAQUETTE_DATA=... python benchmarks/flow_mnist.py --run runs/density --steps '' --score 1000
    python benchmarks/engine_overhead.py --recipe image/flow      # training against plain fp32

Judged as gan_mnist.py does: by judge.py, 5,000 samples with labels drawn by their share, against the 10,000 test
pictures. A step is one evaluation of the network, but two with midpoint and heun; guidance doubles
them, except that jumps (shortcut) have learned that of the recipe.
Bits/dim: log p(x), or p(x | label) of a run that was given labels, of the first --score pictures of a shuffle of the
test split, dequantised uniformly.
"""

from __future__ import annotations

import math
import time

import _run
import judge
import maquette
from maquette.evaluation.measures.likelihood import Effort, log_likelihood


def main() -> None:
    parser = _run.parser(__doc__, "image/flow", "20m")
    parser.add_argument("--steps", default="1,2,4", help="numbers of steps, with commas between; '': none")
    parser.add_argument("--sampler", default="shortcut")
    parser.add_argument("--guidance", type=float, help="default: the recipe's")
    parser.add_argument("--score", type=int, default=0, help="held-out pictures for bits/dim; minutes for each 1,000")
    args = parser.parse_args()
    judge.load_judge()
    with _run.trained(args, "mnist") as run:
        run.sample(64)  # what is loaded lazily is loaded
        for steps in map(int, filter(None, args.steps.split(","))):
            began = time.monotonic()
            samples = run.sample(judge.SAMPLES, seed=0, steps=steps, sampler=args.sampler, guidance=args.guidance)
            seconds = time.monotonic() - began
            print(f"\n{args.sampler}, {steps} steps: {judge.SAMPLES / seconds:,.0f} pictures/s")
            print(judge.verdict(samples.only))
            if samples.given:
                right = judge.judge_accuracy(samples.only, samples.given["label"])
                print(f"asked class recognised {100 * right:.1f} %")
        if args.score:
            print(bits_per_dim(run, 2 if args.smoke else args.score))


def bits_per_dim(run: maquette.Run, items: int) -> str:
    """-log2 p of the 8-bit pictures over their numbers: a step of a pixel is 1 / 127.5 of the scale [-1, 1]."""
    model, test, began = run.generator.model, run.dataset().test, time.monotonic()
    nats = log_likelihood(model, test, run.spec, effort=Effort(exact_items=items))
    dims = math.prod(run.spec.only().shape)
    bits = (math.log(127.5) - nats / dims) / math.log(2)
    error = 1.96 * float(bits.std()) / math.sqrt(items)
    return (
        f"bits/dim {float(bits.mean()):.3f} +- {error:.3f} on {items} test pictures, {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    _run.command(main)
