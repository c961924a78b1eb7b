"""The plan: before the first step, fix precision, compilation, micro-batches and the number of steps.

By how fast the model trains here (engine/speed.py); while it trains, engine/pace.py keeps the time. The plan is written
into the run's recipe, so that the run can be resumed and repeated.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from maquette.core.batch import Batch
from maquette.core.counts import counted
from maquette.core.errors import UserError
from maquette.core.model import Model
from maquette.core.needs import outlook
from maquette.core.progress import stage
from maquette.core.recipe import Leg, Recipe, TrainConfig
from maquette.core.rng import ItemRng, derive
from maquette.core.ways import in_words, two_ways
from maquette.engine import compiled
from maquette.engine.job import Job
from maquette.engine.speed import (
    DEFAULT_BUDGET,
    Speed,
    Speeds,
    budget_of,
    compiles_by_itself,
    fastest,
    precisions,
    timed,
    usual,
)
from maquette.engine.world import World

PREVIEWS = 30
SAID = 200  # characters of why something is not compiled
AFTERWARDS = 1.5  # seconds that the animation, the model card and leaving take, about


def make_plan(job: Job, world: World, notify: Callable[[str], None]) -> Recipe:
    """The job's recipe with everything that was left to measure now fixed."""
    began = time.monotonic() if job.began is None else job.began
    train, size = job.recipe.train, world.size
    # Measured by the leader alone, on its own share: the others wait and must not be waited for.
    loader, world = job.batches(train.batch_size, world.rank, size), World(str(world.device))
    batch = usual(loader).to(world.device, train.channels_last)
    loader.close()
    budget, speeds = budget_of(train), Speeds(job.recipe, job.spec, world.device, size)
    speed = speeds.recall()
    # With a fixed number of steps and nothing to choose between, there is nothing to measure.
    choices = (train.precision == "auto" and len(precisions(world.device)) > 1) or (
        train.fewer_multiplications == "auto" and world.device.type == "cpu" and bool(two_ways(job.model))
    )
    if speed is None and (budget is not None or choices):
        speed = fastest(job.model, train, batch, world)
        if compiles_by_itself(train) and _has_compiler(world):
            speed = _compiled(job.model, train, world, batch, speed, notify) or speed
        speeds.keep(speed)
    precision = (
        speed.precision if speed else train.precision if train.precision != "auto" else precisions(world.device)[0]
    )
    fewer = train.fewer_multiplications
    if fewer == "auto":
        fewer = dict((speed and speed.fewer) or {})
    compiles = train.compile == "on" or (speed is not None and speed.compiled and _has_compiler(world))

    after = speed.end if speed and speed.end is not None else AFTERWARDS
    left = None if budget is None else time_left(budget, began, after)
    steps, why = _steps(job, train, left, speed)
    course = train.course  # of the run that the recipe comes from, which is repeated
    if left is not None:
        course = (Leg(step=0, steps=steps, until=round(left, 3)),)
    apart = max(5, steps // _previews(budget, speed))
    changes = {
        "steps": steps,
        "course": course,
        "precision": precision,
        "compile": "on" if compiles else "off",
        "fewer_multiplications": fewer,
        "micro_batch": (speed and speed.micro_batch) or train.micro_batch,
        "preview_every": apart if train.preview_every == "auto" else train.preview_every,
        "log_every": min(100, max(1, steps // 500)) if train.log_every == "auto" else train.log_every,
    }
    passes = steps * train.batch_size / max(job.items, 1)
    said = f", {in_words(fewer)}" if fewer and precision == "fp32" else ""
    notify(
        f"Plan: {counted(steps, 'step', 'steps')} of {train.batch_size} ({why}), {passes:.3g} passes over the data, "
        f"{precision}{', compiled' if compiles else ''}{said}"
    )

    def step_seconds() -> float:
        return (speed or timed(job.model, train, batch, world, precision)).step

    if not job.quiet and (words := outlook(job.recipe, job.spec, steps, passes, step_seconds, budget)):
        notify(words)
    return job.recipe.model_copy(update={"train": train.model_copy(update=changes)})


def is_planned(train: TrainConfig) -> bool:
    """True when nothing is left to measure, as in the recipe of a run that has begun."""
    settled = "auto" not in (train.precision, train.compile, train.preview_every, train.log_every)
    return train.steps is not None and settled


@torch.no_grad()
def preview_samples(model: Model, reference: Batch, seed: int, world: World) -> dict[str, torch.Tensor]:
    """Samples from latents that stay the same all through a run, one for each reference item."""
    was_training = model.training
    model.eval()
    given = {name: value.to(world.device) for name, value in reference.given.items()}
    rng = ItemRng(derive(seed, "preview"), range(reference.size), world.device)
    made = model.sample(reference.size, given, rng)
    model.train(was_training)
    return {name: (v.float() if v.is_floating_point() else v).cpu() for name, v in made.items()}


def _previews(budget: float | None, speed: Speed | None) -> int:
    """As many previews as a twentieth of the budget allows, 2 to 30; where it is not known what one takes, as many as
    there will be time for."""
    if budget is None or speed is None or speed.preview is None:
        return PREVIEWS
    return max(2, min(PREVIEWS, int(0.05 * budget / max(speed.preview, 1e-6))))


def _steps(job: Job, train: TrainConfig, left: float | None, speed: Speed | None) -> tuple[int, str]:
    if train.steps is not None:
        return train.steps, "as asked"
    if train.epochs is not None:
        return max(1, math.ceil(train.epochs * job.items / train.batch_size)), f"{train.epochs:g} epochs"
    assert left is not None and speed is not None
    budget = train.budget or DEFAULT_BUDGET
    previews = _previews(budget_of(train), speed) * (speed.preview or 0.0)
    # A few per cent for checkpoints, the log and what else the machine does.
    steps = int(0.96 * max(left - previews, 0.5 * left) / speed.step)
    if steps < 1:
        raise UserError(
            f"A budget of {budget} is too short: one step takes {speed.step:.2f} s here.",
            "Give more time, smaller items, or a smaller train.batch_size.",
        )
    return steps, f"what fits into {budget}"


def time_left(budget: float, began: float, after: float = AFTERWARDS) -> float:
    """Seconds of a budget that are left to train; at least half, even where a slow disk or a busy machine took long
    over the data and the measuring.

    began: of time.monotonic()      after: seconds that what comes after training takes
    """
    return max(budget - (time.monotonic() - began) - after, budget / 2)


def _has_compiler(world: World) -> bool:
    return world.device.type == "cuda" or any(shutil.which(name) for name in ("c++", "g++", "clang++"))


def _compiled(
    model: Model, train: TrainConfig, world: World, batch: Batch, plain: Speed, notify: Callable[[str], None]
) -> Speed | None:
    """How fast it is compiled, where that is worth it."""
    train = train.model_copy(update={"fewer_multiplications": plain.fewer})
    compiled.begin(notify)
    try:
        with stage("compiling"):
            speed = replace(timed(model, train, batch, world, plain.precision, compiled=True), fewer=plain.fewer)
        compiled.done()
    except Exception as error:  # a model that cannot be compiled (double backward, say) simply is not
        compiled.done()  # but not after Ctrl-C, which may have left something half-written
        torch._dynamo.reset()
        reason = str(error).strip() or type(error).__name__
        notify(f"Not compiled, which failed: {reason.splitlines()[0][:SAID]}")
        return None
    return speed if speed.step < 0.95 * plain.step else None
