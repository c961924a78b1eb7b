"""How a run of clips goes on, moves and fills in, beside plain guesses and OpenCV's optical flow where it is installed.

    MAQUETTE_DATA=... python benchmarks/video.py --run runs/v     # continuation of held-out clips, frames per second
    python benchmarks/video.py --run runs/s --motion              # of sprites: motion and frames between, too
    python benchmarks/video.py --run runs/v --training            # beside a plain fp32 loop over the same networks

1. Continuation: squared error a frame (sums over pixels from 0 to 1, Moving MNIST's convention), by horizon.
2. Frames per second, one clip at a time.
3. Motion of the first frame to come on pixels that move: end-point error in pixels. DIS sees that frame, the run does
   not.
4. The frame between two others: PSNR, beside their average and that of both warped by DIS.
5. Clips learned from in a CPU second; the two loops take turns, and the best of each counts.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import _run
from engine_overhead import engine, plain
from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.hardware import multiplies_bf16
from maquette.core.model import Continues, Model, Moves, Tweens
from maquette.core.recipe import Recipe
from maquette.core.rng import ItemRng
from maquette.engine.speed import prepare_model
from maquette.engine.world import World
from maquette.evaluation.similarity import psnr
from maquette.modalities.video.continued import AT_ONCE, PLAIN, errors, extended, given_frames
from maquette.modalities.video.files import canonical, quantised
from maquette.modalities.video.sets import SEEDS
from maquette.modalities.video.sprites import clip, true_flow
from maquette.nets.warp import warp

RUN = "maquette train video/flow --data moving-mnist --frames 20 --size 64 --budget 30m -o runs/v"
MOTION = "maquette train video/flow --data sprites --frames 16 --size 64 --budget 30m -o runs/s"
MOVES = 0.1  # pixels a frame


def main() -> None:
    parser = _run.Parser(__doc__, f"{RUN}\n{MOTION}")
    parser.add_argument("--run", type=Path, default=Path("runs/v"))
    parser.add_argument("--clips", type=int, default=300, help="held-out clips")
    parser.add_argument("--motion", action="store_true", help="of a run on sprites: motion, and frames between")
    parser.add_argument("--training", action="store_true", help="clips learned from, beside a plain loop")
    args = parser.parse_args()
    if args.smoke:
        args.clips = 2
    run = _run.opened(args.run, MOTION if args.motion else RUN, args.smoke)
    model, spec, test = run.generator.model, run.spec.only(), run.dataset().test
    if not isinstance(model, Continues):
        raise UserError(f"'{args.run}' goes on with no clip.", f"Name a run of a family that does:\n{RUN}")
    rows = np.random.default_rng(0).permutation(len(test))[: args.clips]
    first = given_frames(model, spec) or 1
    print(f"{len(rows)} held-out clips, {first} frames given; {_run.machine()}\n")
    batch = test.batch(rows, run.spec)
    _continuation(model, batch.only(), dict(batch.given), first)
    _speed(model, batch.only()[:1, :, :first])
    if args.training:
        _training(model, run.recipe, test.batch(np.resize(rows, 2 if args.smoke else 16), run.spec), args.smoke)
    if args.motion:
        numbers = range(args.clips)
        clips = canonical(np.stack([clip(number, SEEDS["test"]) for number in numbers]))
        flows = torch.from_numpy(np.stack([true_flow(number, SEEDS["test"]) for number in numbers]))
        if clips.shape[1:] != spec.shape:
            raise UserError(f"'{args.run}' was not trained on sprites.", "Train one: --data sprites")
        if isinstance(model, Moves):
            _motion(model, clips[:, :, :first], clips[:, :, first], flows[:, first - 1])
        if isinstance(model, Tweens):
            _between(model, clips[:, :, 4], clips[:, :, 5], clips[:, :, 6])


def _continuation(model: Continues, clips: Tensor, given: dict[str, Tensor], first: int) -> None:
    real = clips[:, :, first:]
    made = [
        extended(model, clips[rows], first, {name: x[rows] for name, x in given.items()}, rows, 0)
        for rows in torch.arange(len(clips)).split(AT_ONCE)
    ]
    found = {"this run": torch.cat(made), **{name: guess(clips[:, :, :first]) for name, guess in PLAIN.items()}}
    if farneback := _farneback():
        found["Farneback's flow, extrapolated"] = _extrapolated(clips[:, :, :first], real.shape[2], farneback)
    print(f"{'squared error a frame':34}{'mean':>8}  by horizon")
    for name, frames in found.items():
        error = errors(frames.expand_as(real), real).squared
        print(f"{name:34}{error.mean():8.1f}  " + " ".join(f"{value:.0f}" for value in error.mean(0)))


def _speed(model: Continues, first: Tensor, count: int = 100) -> None:
    with torch.no_grad():
        model.extend(first, 1, {}, ItemRng(0, [0]))
        began, used = time.monotonic(), time.process_time()
        model.extend(first, count, {}, ItemRng(0, [0]))
        wall, used = time.monotonic() - began, time.process_time() - used
    print(f"\nframes per second, one clip: {count / wall:.0f} (by CPU time {count / used:.0f})")


def _training(model: Model, recipe: Recipe, batch: Batch, smoke: bool) -> None:
    bf16, world = multiplies_bf16(torch.device("cpu")), World("cpu")
    ours = prepare_model(copy.deepcopy(model), world, recipe.train, False)
    loops = {
        "this loop": engine(ours, batch.to(world.device, channels_last=True), "bf16" if bf16 else "fp32"),
        "a plain loop in fp32": plain(copy.deepcopy(model).train().requires_grad_(True), batch, bf16=False),
    }
    best = dict.fromkeys(loops, float("inf"))
    for step in range(2 if smoke else 6):
        for name, loop in loops.items():
            began = time.process_time()
            loop(step + 1)
            if step:  # the first warms up
                best[name] = min(best[name], time.process_time() - began)
    print("\nclips learned from in a CPU second")
    for name, seconds in best.items():
        print(f"{name:34}{batch.size / seconds:8.1f}")


def _motion(model: Moves, first: Tensor, after: Tensor, true: Tensor) -> None:
    with torch.no_grad():
        found = model.motion(first, 1)
    moved = (found.flow[:, 0] * found.masks[:, 0, :-1, None]).sum(1)  # what is painted, or stays, does not move
    moving = true.norm(dim=1) > MOVES
    guesses = {"this run": moved, "nothing moves": torch.zeros_like(true)}
    if dis := _dis():
        guesses["DIS on the true frames"] = dis(after, first[:, :, -1])
    print("\nend-point error on moving pixels")
    for name, flow in guesses.items():
        print(f"{name:34}{(flow - true).norm(dim=1)[moving].mean().item():8.3f}")


def _between(model: Tweens, first: Tensor, middle: Tensor, last: Tensor) -> None:
    with torch.no_grad():
        guesses = {"this run": model.between(first, last, 1)[:, :, 0], "their average": (first + last) / 2}
    if dis := _dis():
        flow = dis(first, last)
        guesses["average of both warped by DIS"] = (warp(first, -flow / 2) + warp(last, flow / 2)) / 2
    print("\nthe frame between two others, PSNR in dB")
    for name, made in guesses.items():
        print(f"{name:34}{psnr(made, middle).mean().item():8.2f}")


# -- classical flow: a, b f32[B, C, H, W] -> where each pixel of a is in b, less where it is, f32[B, 2, H, W] ---------

Flow = Callable[[Tensor, Tensor], Tensor]


def _dis() -> Flow | None:
    cv2 = _opencv()
    return cv2 and _pairs(cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc)


def _farneback() -> Flow | None:
    cv2 = _opencv()
    return cv2 and _pairs(lambda a, b, _: cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 15, 3, 5, 1.2, 0))


def _opencv() -> Any:
    try:
        import cv2
    except ImportError:
        return None
    return cv2


def _pairs(flow: Callable[[np.ndarray, np.ndarray, None], np.ndarray]) -> Flow:
    def of(a: Tensor, b: Tensor) -> Tensor:
        grey = [quantised(x.mean(1)) for x in (a, b)]
        found = np.stack([flow(one, other, None) for one, other in zip(*grey, strict=True)])
        return torch.from_numpy(found[..., ::-1].transpose(0, 3, 1, 2).copy())  # OpenCV has right before down

    return of


def _extrapolated(first: Tensor, count: int, flow: Flow) -> Tensor:
    last = first[:, :, -1]
    back = flow(last, first[:, :, -2])
    inside = [warp(last + 1, (i + 1) * back) - 1 for i in range(count)]  # what comes from outside is black
    return torch.stack(inside, 2)


if __name__ == "__main__":
    _run.command(main)
