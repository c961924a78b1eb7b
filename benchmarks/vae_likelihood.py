"""Test log-likelihood of image/vae on dynamically binarised MNIST, without labels.

    MAQUETTE_DATA=... python benchmarks/vae_likelihood.py --budget 30m            # the NLL row
    MAQUETTE_DATA=... python benchmarks/vae_likelihood.py --run runs/vae          # of a run that exists

Each training pixel is drawn from a Bernoulli variable of its grey value anew each time it is seen; the test
pictures are binarised once, with a fixed seed. The model is unconditional: p(x), no labels. The bound with
5,000 importance samples (Burda et al. 2016) is that with 50 on all 10,000 test pictures plus the mean
difference between the two on a random subset; the interval (95 %) covers both. The judge (judge.py) sees
5,000 draws from the prior, as Bernoulli means.
"""

from __future__ import annotations

import time

import _run
import judge
from maquette.evaluation.measures.likelihood import Effort, likelihood

SETTINGS = ["model.binarize=dynamic"]


def main() -> None:
    parser = _run.parser(__doc__, "image/vae", "30m")
    parser.add_argument("--steps", type=int, help="instead of a budget")
    parser.add_argument("--subset", type=int, default=200, help="pictures scored with 5,000 samples")
    args = parser.parse_args()
    judge.load_judge()
    length = {"steps": args.steps, "budget": None} if args.steps else {}
    with _run.trained(args, "mnist", given="none", settings=[*SETTINGS, *args.settings], **length) as run:
        print(f"{judge.SAMPLES:,} prior samples, as Bernoulli means:")
        print(judge.verdict(run.sample(judge.SAMPLES, seed=0).only))
        began = time.monotonic()
        effort = Effort(items=10_000, k=50, large_items=args.subset, large_k=5000)
        if args.smoke:
            effort = Effort(items=8, k=2, large_items=4, large_k=4)
        scored = likelihood(run.generator.model, run.dataset().test, run.spec, seed=1234, effort=effort)
        print(f"ELBO {scored.elbo.mean():.2f}   L_50 {scored.bound.mean():.2f}   ({len(scored.bound):,} pictures)")
        best = scored.large
        assert best is not None
        print(f"L_5000 {best.value:.2f} nats  [{best.low:.2f}, {best.high:.2f}]  ({scored.large_items} in stage two)")
        print(f"scoring took {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    _run.command(main)
