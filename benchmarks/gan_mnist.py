"""Fréchet distance of image/gan on MNIST, by an independent judge, after so much training.

    MAQUETTE_DATA=... python benchmarks/gan_mnist.py --budget 10m
    MAQUETTE_DATA=... python benchmarks/gan_mnist.py --budget 40s      # is it <= 57 by then?

The judge (judge.py) shares neither seed nor architecture with the evaluation's own features.
5,000 samples with labels drawn by their share, against the 10,000 test pictures.
"""

from __future__ import annotations

import _run
import judge


def main() -> None:
    args = _run.parser(__doc__, "image/gan", "10m").parse_args()
    judge.load_judge()
    with _run.trained(args, "mnist") as run:
        samples = run.sample(judge.SAMPLES, seed=0)
        print(judge.verdict(samples.only))
        if samples.given:
            right = judge.judge_accuracy(samples.only, samples.given["label"])
            unconditional = judge.frechet_to_test(run.sample(judge.SAMPLES, seed=0, unconditional=True).only)
            print(f"asked class recognised {100 * right:.1f} %   without labels: {unconditional:.2f}")


if __name__ == "__main__":
    _run.command(main)
