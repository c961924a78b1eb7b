"""The plan: measure a few steps, then fix precision, compilation, micro-batches and the number of steps.

The plan is written into the run's recipe, so that the run can be resumed and repeated.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import platform
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from maquette.core.batch import Batch
from maquette.core.cache import cache_folder
from maquette.core.counts import counted
from maquette.core.errors import UserError
from maquette.core.files import ready, temporary_folder, write_json
from maquette.core.hardware import multiplies_bf16
from maquette.core.model import Model, Phase
from maquette.core.needs import outlook
from maquette.core.progress import stage
from maquette.core.recipe import Leg, Recipe, TrainConfig, seconds_of
from maquette.core.rng import ItemRng, derive
from maquette.engine.job import Batches, Job
from maquette.engine.loop import Loop
from maquette.engine.schedule import Course
from maquette.engine.state import State
from maquette.engine.world import World

PREVIEWS = 30
_DEFAULT_BUDGET = "10m"
_AFTERWARDS = 1.0  # seconds that the animation and the model card take, about
# Compilation takes about a minute; below this it cannot pay for itself.
_COMPILE_FROM_SECONDS = 1200.0


def make_plan(job: Job, world: World, notify: Callable[[str], None]) -> Recipe:
    """The job's recipe with everything that was left to measure now fixed."""
    began = time.monotonic() if job.began is None else job.began
    train = job.recipe.train
    loader = job.batches(train.batch_size, world.rank, world.size)
    # Measured by the leader alone, on its own share: the others wait and must not be waited for.
    size, world = world.size, World(str(world.device))
    batch = _usual(loader).to(world.device, train.channels_last)
    loader.close()
    budget = seconds_of(train.budget or _DEFAULT_BUDGET) if _needs_budget(train) else None

    candidates: list[str] = [train.precision] if train.precision != "auto" else _precisions(world.device)
    memory = _Memory(job, world, size)
    if budget is None and (remembered := memory.precision()) in candidates:
        candidates = [remembered]
    # With a fixed number of steps and nothing to choose between, there is nothing to measure.
    timings: dict[str, _Timing] = {}
    if budget is not None or len(candidates) > 1:
        limit = min(6.0, max(0.5, 0.01 * budget)) if budget else 1.0
        with stage("timing some steps"):
            timings = {name: _measure(job, world, batch, name, False, limit) for name in candidates}
    # By the best times: on a busy machine the usual ones say more about the other programs.
    precision = min(timings, key=lambda name: timings[name].best_seconds) if timings else candidates[0]
    if len(timings) > 1:
        memory.keep(precision)
    micro = timings[precision].micro_batch if timings else None
    compiled = train.compile == "on"
    if train.compile == "auto" and budget is not None and budget >= _COMPILE_FROM_SECONDS and _has_compiler(world):
        with stage("compiling"):
            trial = _try_compiled(job, world, batch, precision)
        if trial is not None and trial.best_seconds < 0.95 * timings[precision].best_seconds:
            compiled, timings[precision] = True, trial

    previews = _previews(budget, timings.get(precision))
    steps, why = _steps(job, train, budget, began, timings.get(precision))
    course = train.course  # of the run that the recipe comes from, which is repeated
    if budget is not None:
        course = (Leg(step=0, steps=steps, until=round(time_left(budget, began), 3)),)
    changes = {
        "steps": steps,
        "course": course,
        "precision": precision,
        "compile": "on" if compiled else "off",
        "micro_batch": micro or train.micro_batch,
        "preview_every": max(5, steps // previews) if train.preview_every == "auto" else train.preview_every,
        "log_every": min(100, max(1, steps // 500)) if train.log_every == "auto" else train.log_every,
    }
    notify(_describe(job, train, steps, why, precision, compiled, timings))

    def step_seconds() -> float:
        return timings[precision].step_seconds if timings else _glance(job, world, batch, precision)

    passes = steps * train.batch_size / max(job.items, 1)
    if not job.quiet and (words := outlook(job.recipe, job.spec, steps, passes, step_seconds, budget)):
        notify(words)
    return job.recipe.model_copy(update={"train": train.model_copy(update=changes)})


def _usual(loader: Batches) -> Batch:
    """A batch of middling size: where items differ in length, or batches in items, the first one may be of the largest.

    Of empty batches alone, which leave nothing to measure, it is one.
    """
    some = sorted((loader.batch(step) for step in range(15)), key=lambda b: sum(x.numel() for x in b.target.values()))
    some = [batch for batch in some if batch.size] or some
    return some[len(some) // 2]


def is_planned(train: TrainConfig) -> bool:
    """True when nothing is left to measure, as in the recipe of a run that has begun."""
    settled = "auto" not in (train.precision, train.compile, train.preview_every, train.log_every)
    return train.steps is not None and settled


class _Memory:
    """The precision that was faster for this model on this machine: with a fixed number of steps, measured once."""

    def __init__(self, job: Job, world: World, processes: int) -> None:
        what = {
            "family": job.recipe.family,
            "model": job.recipe.config.model_dump(mode="json"),
            "spec": job.spec.model_dump(mode="json"),
            "batch": job.recipe.train.batch_size,
            "processes": processes,
            "threads": torch.get_num_threads(),
            "machine": [platform.node(), str(world.device), torch.__version__],
        }
        key = f"{derive(0, json.dumps(what, sort_keys=True)):x}"
        self._file = cache_folder("precision", f"{key}.json")

    def precision(self) -> str:
        """Empty when it was never measured."""
        try:
            return str(json.loads(self._file.read_text())["precision"])
        except (OSError, ValueError, KeyError):
            return ""

    def keep(self, precision: str) -> None:
        with contextlib.suppress(OSError, UserError):  # a cache that cannot be written costs a second next time
            write_json(ready(self._file), {"precision": precision})


@dataclass(frozen=True)
class _Timing:
    """Seconds of one step of all phases: by the medians of each, and by the best of each."""

    step_seconds: float
    best_seconds: float
    preview_seconds: float
    micro_batch: int | None


def _measure(job: Job, world: World, batch: Batch, precision: str, compiled: bool, seconds: float) -> _Timing:
    """Times each phase, and a preview."""
    state, loop = _trial(job, world, batch, precision, compiled)
    step_seconds = best_seconds = 0.0
    share = seconds / len(state.phases)
    for phase in state.phases:
        loop.phase(phase, batch)
        loop.phase(phase, batch)
        times: list[float] = []
        # Five say more than one; where steps are long, the budget is not spent on measuring them.
        while len(times) < 200 and sum(times) < (share if len(times) >= 5 else 2 * share):
            times.append(_timed(loop, phase, batch))
        step_seconds += statistics.median(times) / phase.every
        best_seconds += min(times) / phase.every
    began = time.perf_counter()
    for _ in range(5):
        state.ema.update(0)
    step_seconds += (time.perf_counter() - began) / 5
    preview_seconds = math.inf
    for _ in range(2):  # the first one imports what it writes with
        began = time.perf_counter()
        with temporary_folder(job.folder.path, "preview") as folder:
            samples = preview_samples(state.model, job.reference, job.recipe.train.seed, world)
            job.preview(samples, folder / "preview")
        preview_seconds = min(preview_seconds, time.perf_counter() - began)
        if preview_seconds > seconds:
            break
    return _Timing(step_seconds, best_seconds, preview_seconds, loop.micro_batch)


def _glance(job: Job, world: World, batch: Batch, precision: str) -> float:
    """Seconds of a step of all phases, roughly: a second of them, or the first one where that takes longer."""
    state, loop = _trial(job, world, batch, precision, False)
    ends, total = time.monotonic() + 1.0, 0.0
    for phase in state.phases:
        times: list[float] = []
        while not times or (len(times) < 5 and time.monotonic() < ends):
            times.append(_timed(loop, phase, batch))
        total += min(times) / phase.every
    return total


def _trial(job: Job, world: World, batch: Batch, precision: str, compiled: bool) -> tuple[State, Loop]:
    """A copy of the model that can be trained for a while, so that training starts from the same weights."""
    train = job.recipe.train
    model = prepare_model(copy.deepcopy(job.model), world, train, compiled)
    state = State(model, train.ema_decay)
    micro = train.micro_batch if isinstance(train.micro_batch, int) else None
    # A total beyond any step keeps schedules in their first, constant part while we measure.
    return state, Loop(state, world, train.seed, Course.of(10**9), batch.size, precision, micro)


def _timed(loop: Loop, phase: Phase, batch: Batch) -> float:
    """Seconds of one update."""
    began = time.perf_counter()
    loop.phase(phase, batch)
    _wait(loop.world)
    return time.perf_counter() - began


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


def prepare_model(model: Model, world: World, train: TrainConfig, compiled: bool) -> Model:
    """Moves a model to the device and memory format that it trains in."""
    model = model.to(world.device).train()
    if train.channels_last:
        # Only 4-D weights have this format; asking it of a 5-D one is an error.
        for p in model.parameters():
            if p.ndim == 4:
                p.data = p.data.to(memory_format=torch.channels_last)
    if compiled:
        for net in _networks(model):
            net.compile()
    return model


def _networks(model: Model) -> Iterator[nn.Module]:
    """The children of a model, and of a child that is a model itself its children: what is called as a function."""
    for child in model.children():
        yield from _networks(child) if isinstance(child, Model) else (child,)


def _previews(budget: float | None, timing: _Timing | None) -> int:
    """As many previews as a twentieth of the budget allows, 2 to 30."""
    if budget is None or timing is None:
        return PREVIEWS
    return max(2, min(PREVIEWS, int(0.05 * budget / max(timing.preview_seconds, 1e-6))))


def _needs_budget(train: TrainConfig) -> bool:
    return train.steps is None and train.epochs is None


def _steps(job: Job, train: TrainConfig, budget: float | None, began: float, timing: _Timing | None) -> tuple[int, str]:
    if train.steps is not None:
        return train.steps, "as asked"
    if train.epochs is not None:
        return max(1, math.ceil(train.epochs * job.items / train.batch_size)), f"{train.epochs:g} epochs"
    assert budget is not None and timing is not None
    left = time_left(budget, began) - _previews(budget, timing) * timing.preview_seconds
    # A few per cent for checkpoints, the log and what else the machine does.
    steps = int(0.96 * left / timing.step_seconds)
    if steps < 1:
        raise UserError(
            f"A budget of {budget:g} s is too short: one step takes {timing.step_seconds:.2f} s here.",
            "Give more time, smaller items, or a smaller train.batch_size.",
        )
    return steps, f"what fits into {train.budget or _DEFAULT_BUDGET}"


def time_left(budget: float, began: float) -> float:
    """Seconds of a budget that are left to train; at least half, even where a slow disk or a busy machine took long
    over the data and the measuring."""
    return max(budget - (time.monotonic() - began) - _AFTERWARDS, budget / 2)


def _describe(
    job: Job, train: TrainConfig, steps: int, why: str, precision: str, compiled: bool, timings: dict[str, _Timing]
) -> str:
    epochs = steps * train.batch_size / max(job.items, 1)
    planned = counted(steps, "step", "steps")
    line = f"Plan: {planned} of {train.batch_size} ({why}), {epochs:.3g} passes over the data, {precision}"
    if len(timings) > 1:
        speeds = ", ".join(f"{name} {train.batch_size / t.step_seconds:,.0f}" for name, t in timings.items())
        line += f" (items/s measured: {speeds})"
    return line + (", compiled" if compiled else "")


def _precisions(device: torch.device) -> list[str]:
    """What there is to choose from. On a GPU bf16 needs no measuring; on a CPU a small model may lose by it."""
    if not multiplies_bf16(device):
        return ["fp32"]
    return ["bf16"] if device.type == "cuda" else ["fp32", "bf16"]


def _has_compiler(world: World) -> bool:
    return world.device.type == "cuda" or any(shutil.which(name) for name in ("c++", "g++", "clang++"))


def _try_compiled(job: Job, world: World, batch: Batch, precision: str) -> _Timing | None:
    try:
        return _measure(job, world, batch, precision, True, 5.0)
    except Exception:  # a model that cannot be compiled (double backward, say) simply is not
        torch._dynamo.reset()
        return None


def _wait(world: World) -> None:
    if world.device.type == "cuda":
        torch.cuda.synchronize()
