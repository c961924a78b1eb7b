"""The engine against hand-written loops over the same networks (image/dcgan at batch 64), in the same run.

    MAQUETTE_DATA=... python benchmarks/engine_overhead.py

1. Our loop against a plain loop with the same precision, memory format and batch: what the engine costs.
2. Our defaults against plain fp32, contiguous PyTorch: what the defaults gain. With --compile they are compiled, as the
   plan does for budgets of 20 minutes or more where it measures faster.
They take turns, and medians over the turns are compared, as other work on the machine comes and goes.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable

import torch

import _run
from maquette.core.batch import Batch
from maquette.core.generator import build_model
from maquette.core.hardware import multiplies_bf16
from maquette.core.model import Model, Step
from maquette.core.recipe import load_recipe
from maquette.core.rng import StepRng
from maquette.engine.log import Means
from maquette.engine.loop import Loop
from maquette.engine.schedule import Course
from maquette.engine.speed import prepare_model
from maquette.engine.state import State, build_optimizers
from maquette.engine.world import World
from maquette.testing import column_spec, data_spec

SIZE = 64


def plain(model: Model, batch: Batch, bf16: bool) -> Callable[[int], None]:
    """The loop that a person would write for these phases: no log, no checks, no moving average."""
    phases = model.phases()
    optimizers = {}
    for phase in phases:
        named = {name: p for net in phase.nets for name, p in getattr(model, net).named_parameters(net)}
        optimizers[phase.nets] = build_optimizers(phase.optim, named)

    def step(index: int) -> None:
        for phase in phases:
            if index % phase.every:
                continue
            for name, net in model.named_children():
                net.requires_grad_(name in phase.nets)
            for optimizer in optimizers[phase.nets]:
                optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                total = phase.loss(batch, Step(index, 10**6, StepRng(index, batch.size))).total
            total.backward()
            for optimizer in optimizers[phase.nets]:
                optimizer.step()

    return step


def engine(model: Model, batch: Batch, precision: str) -> Callable[[int], None]:
    loop = Loop(State(model, 0.999), World("cpu"), 0, Course.of(10**6), batch.size, precision, on_part=Means().add)
    return lambda index: loop.step(batch)


def main() -> None:
    parser = _run.Parser(__doc__)
    parser.add_argument("--recipe", default="image/dcgan")
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--steps", type=int, default=8, help="in each turn")
    parser.add_argument("--compile", action="store_true", help="our defaults for long budgets; takes a minute")
    args = parser.parse_args()
    if args.smoke:
        args.turns, args.steps = 2, 1
    spec = data_spec(column_spec("image", 1, 28, 28), label=column_spec("label", classes=10))
    recipe = load_recipe(args.recipe)
    model = build_model(recipe, spec)
    pictures = torch.rand(SIZE, 1, 28, 28) * 2 - 1
    batch = Batch({"image": pictures}, {"label": torch.randint(0, 10, (SIZE,))}, SIZE)
    fast = batch.to(torch.device("cpu"), channels_last=True)
    fresh = lambda: copy.deepcopy(model)  # noqa: E731
    ready = lambda: prepare_model(fresh(), World("cpu"), recipe.train, False)  # noqa: E731
    precision = "bf16" if multiplies_bf16(torch.device("cpu")) else "fp32"
    contenders = {
        "plain loop, fp32, contiguous": plain(fresh().train(), batch, bf16=False),
        "plain loop, our precision, channels-last": plain(ready(), fast, precision == "bf16"),
        "engine": engine(ready(), fast, precision),
    }
    if args.compile:
        if args.smoke:
            torch.compiler.set_stance("force_eager")
        compiled = prepare_model(fresh(), World("cpu"), recipe.train, True)
        contenders["engine, compiled"] = engine(compiled, fast, precision)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(args.turns):
        for name, step in contenders.items():
            began = time.perf_counter()
            for i in range(args.steps):
                step(turn * args.steps + i)
            if turn:  # the first turn warms up
                times[name].append((time.perf_counter() - began) / args.steps)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, seconds in medians.items():
        print(f"{args.recipe}  {name:<42} {SIZE / seconds:8.0f} pictures/s")
    if args.smoke:
        torch.compiler.set_stance("default")
    ours = medians["engine"]
    print(f"engine / plain loop, same precision      {medians['plain loop, our precision, channels-last'] / ours:.3f}")
    plain_seconds = medians["plain loop, fp32, contiguous"]
    print(f"engine's defaults / plain fp32 PyTorch   {plain_seconds / ours:.2f}")
    if args.compile:
        print(f"the same, compiled                       {plain_seconds / medians['engine, compiled']:.2f}")


if __name__ == "__main__":
    _run.command(main)
