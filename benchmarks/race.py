"""Ours and a plain PyTorch peer of each family, one after the other, with the same seconds and the same judge.

    MAQUETTE_DATA=... python benchmarks/race.py --seconds 300
    MAQUETTE_DATA=... python benchmarks/race.py --families image/gan,text/lm --seconds 120

Ours is `maquette train RECIPE --budget`, with all that it does within the budget: reading, planning, previews, saving.
Its peer (peers/, from the published descriptions of widely used examples) then gets the processor seconds that ours
took; on a GPU, the seconds. Sampling and judging are nobody's time.

Pictures: MNIST, the Fréchet distance of judge.py (real training pictures score 0.27); ours are of classes drawn by
their share. Texts: tinyshakespeare, nats per character of its last tenth, each model in windows of its own that do not
overlap. On a machine that others use, a budget holds fewer processor seconds: of both.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

import _run
import judge
import maquette
from maquette.core.hardware import best_device
from maquette.modalities.text.measures.loss import held_out
from peers import conv_vae, dcgan, gpt, unet_flow

PICTURES = {"image/gan": dcgan.Peer, "image/flow": unet_flow.Peer, "image/vae": conv_vae.Peer}
FAMILIES = (*PICTURES, "text/lm")
AT_ONCE = 250  # pictures that a peer makes side by side


@dataclass(frozen=True)
class Lap:
    """seconds: of training    items: that it was shown, pictures or windows of text    score: less is better"""

    name: str
    seconds: float
    items: int
    score: float


def clock() -> float:
    """Seconds of processors that this process and those it waited for have used; on a GPU, of the wall."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.monotonic()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    parser = _run.Parser(__doc__)
    parser.add_argument("--families", default=",".join(FAMILIES), help=f"of {', '.join(FAMILIES)}")
    parser.add_argument("--seconds", type=int, default=300, help="the budget of each side")
    args = parser.parse_args()
    families = args.families.split(",")
    if unknown := set(families) - set(FAMILIES):
        parser.error(f"--families: there is no {', '.join(sorted(unknown))}; there are {', '.join(FAMILIES)}")
    if set(families) & set(PICTURES):
        judge.load_judge()
    if "text/lm" in families:
        _run.data("tinyshakespeare", "input.txt")
    print(f"{_run.machine()}; a budget of {args.seconds} s each\n")
    print(f"{'':12}{'':14}{'seconds':>9}{'shown':>12}{'score':>9}{'ratio':>8}")
    for family in families:
        laps = text(args) if family == "text/lm" else pictures(args, family)
        for lap in laps:
            ratio = f"{lap.score / laps[0].score:8.2f}"
            print(f"{family:12}{lap.name:14}{lap.seconds:9.0f}{lap.items:12,}{lap.score:9.3f}{ratio}", flush=True)


def ours(args: argparse.Namespace, recipe: str, source: str | Path, out: Path) -> tuple[maquette.Run, float]:
    began = clock()
    run = _run.train(args, recipe, source, out=out, budget=f"{args.seconds}s", quiet=True)
    return run, clock() - began


def peer_of(step: Callable[[float], None], seconds: float) -> tuple[int, float]:
    """Takes steps, of the share of the time that is over, until it is. Returns their number, and the seconds."""
    began, steps, used = clock(), 0, 0.0
    while used < seconds:
        step(used / seconds)
        steps, used = steps + 1, clock() - began
    return steps, used


def pictures(args: argparse.Namespace, family: str) -> list[Lap]:
    with tempfile.TemporaryDirectory() as folder:
        run, seconds = ours(args, family, "mnist", Path(folder) / "run")
        score = judge.frechet_to_test(run.sample(judge.SAMPLES, seed=0).only.cpu())
        laps = [Lap("maquette", seconds, _run.ended(run)["items"], score)]
    torch.manual_seed(0)
    with torch.device(best_device()) as device:
        x, labels = (of.to(device) for of in judge.mnist("train"))
        peer = PICTURES[family]()

        def step(done: float) -> None:
            rows = torch.randint(len(x), (peer.batch,))
            peer.step(x[rows], labels[rows], done)

        steps, used = peer_of(step, 0.0001 if args.smoke else seconds)
        with torch.no_grad():
            at_once = min(AT_ONCE, judge.SAMPLES)
            made = torch.cat([peer.sample(at_once).cpu() for _ in range(judge.SAMPLES // at_once)])
    return [*laps, Lap(peer.name, used, steps * peer.batch, judge.frechet_to_test(made))]


def text(args: argparse.Namespace) -> list[Lap]:
    place = _run.data("tinyshakespeare", "input.txt")
    with tempfile.TemporaryDirectory() as folder:
        run, seconds = ours(args, "text/lm", place, Path(folder) / "run")
        found = held_out(run.generator.model, run.dataset().test, run.spec)  # type: ignore[arg-type]
        score = found.per_character(np.random.default_rng(0)).value
        laps = [Lap("maquette", seconds, _run.ended(run)["items"], score)]
    torch.manual_seed(0)
    with torch.device(best_device()):
        train, last, vocab = gpt.halves(place)
        peer = gpt.Peer(vocab)
        steps, used = peer_of(partial(peer.step, train), 0.0001 if args.smoke else seconds)
        return [*laps, Lap(peer.name, used, steps * peer.batch, peer.nats(last))]


if __name__ == "__main__":
    _run.command(main)
