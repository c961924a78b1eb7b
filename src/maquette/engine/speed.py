"""How fast a model trains on this machine: glanced at the first time, remembered from each training for the next."""

from __future__ import annotations

import contextlib
import copy
import json
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import cast, get_args

import torch
from torch import Tensor, nn

from maquette.core.about import software
from maquette.core.batch import Batch
from maquette.core.budget import seconds_of
from maquette.core.cache import cache_folder
from maquette.core.errors import UserError
from maquette.core.files import ready, write_json
from maquette.core.hardware import multiplies_bf16
from maquette.core.model import Model
from maquette.core.progress import stage
from maquette.core.recipe import Recipe, TrainConfig
from maquette.core.rng import derive
from maquette.core.spec import DataSpec
from maquette.core.ways import When, settle, two_ways
from maquette.engine.job import Batches
from maquette.engine.loop import Loop
from maquette.engine.schedule import Course
from maquette.engine.state import State
from maquette.engine.world import World

DEFAULT_BUDGET = "10m"
COMPILE_FROM_SECONDS = 1200.0  # compilation takes about a minute; below this it cannot pay for itself
SECONDS, MOST = 0.3, 20  # of a glance, at least one step, and no more than so many
FEW, MANY = 2, 64  # items that tell what a layer sees; that it is timed on, at most


@dataclass(frozen=True)
class Speed:
    """How fast a model trains.

    step:         seconds of one, with all of its phases
    preview, end: seconds of a preview, and of what comes after training; None where only steps were timed
    precision, compiled, micro_batch: with which it was so fast
    fewer:        which layers took fewer multiplications, and when
    """

    step: float
    precision: str
    compiled: bool = False
    micro_batch: int | None = None
    preview: float | None = None
    end: float | None = None
    fewer: Mapping[str, When] | None = None


class Speeds:
    """Those of a recipe on such data, as this machine remembers them."""

    def __init__(self, recipe: Recipe, spec: DataSpec, device: torch.device, processes: int = 1) -> None:
        train = recipe.train
        compiles = train.compile if train.compile != "auto" or compiles_by_itself(train) else "off"
        what = {
            "family": recipe.family,
            "model": recipe.config.model_dump(mode="json"),
            "spec": spec.model_dump(mode="json"),
            "train": [train.batch_size, train.micro_batch, train.preview_items, train.precision, compiles,
                      train.channels_last, train.fewer_multiplications],
            "processes": processes,
            "threads": torch.get_num_threads(),
            "machine": [platform.node(), _named(device), torch.backends.cpu.get_cpu_capability()],
            "software": [software(), torch.__version__],
        }  # fmt: skip
        key = f"{derive(0, json.dumps(what, sort_keys=True)):x}"
        self._file = cache_folder("speeds", f"{key}.json")

    def recall(self) -> Speed | None:
        """None where it was never measured."""
        try:
            found = Speed(**json.loads(self._file.read_text()))
            return found if found.step > 0 and {*(found.fewer or {}).values()} <= {*get_args(When)} else None
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def keep(self, speed: Speed) -> None:
        with contextlib.suppress(OSError, UserError):  # a cache that cannot be written costs a second next time
            write_json(ready(self._file), asdict(speed))


def _named(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def timed(
    model: Model, train: TrainConfig, batch: Batch, world: World, precision: str, compiled: bool = False
) -> Speed:  # fmt: skip
    """A glance: the best of a few steps, for of a busy machine the others say more about other programs. The model is
    left as it is."""
    state = State(prepare_model(copy.deepcopy(model), world, train, compiled), train.ema_decay)
    micro = train.micro_batch if isinstance(train.micro_batch, int) else None
    # A total beyond any step keeps schedules in their first, constant part while we measure.
    loop = Loop(state, world, train.seed, Course.of(10**9), batch.size, precision, micro)
    step = 0.0
    for phase in state.phases:
        for _ in range(2 if compiled else 1):
            loop.phase(phase, batch)
        times: list[float] = []
        while len(times) < MOST and sum(times) < SECONDS / len(state.phases):
            began = time.perf_counter()
            loop.phase(phase, batch)
            if world.device.type in ("cuda", "mps"):  # which otherwise only say that they will
                getattr(torch, world.device.type).synchronize()
            times.append(time.perf_counter() - began)
        step += min(times) / phase.every * (1 - phase.after)
    return Speed(step, precision, compiled, loop.micro_batch)


def fastest(model: Model, train: TrainConfig, batch: Batch, world: World) -> Speed:
    """By a glance at each precision that there is to choose from, with the ways of layers that are faster here."""
    names = [train.precision] if train.precision != "auto" else precisions(world.device)
    with stage("timing some steps"):
        fewer = faster_ways(model, train, batch, world)
        train = train.model_copy(update={"fewer_multiplications": fewer})
        speed = min((timed(model, train, batch, world, name) for name in names), key=lambda speed: speed.step)
    return replace(speed, fewer=fewer)


def faster_ways(model: Model, train: TrainConfig, batch: Batch, world: World) -> dict[str, When]:
    """When each layer is faster with fewer multiplications, on what it sees in a step: by its name; what was fixed
    before is as it was. The model is left as it is."""
    if train.fewer_multiplications != "auto":
        return train.fewer_multiplications
    if world.device.type != "cpu":
        return {}
    state, few = State(prepare_model(copy.deepcopy(model), world, train, False), 0.0), batch.rows(0, FEW)
    layers, seen = two_ways(state.model), dict[str, tuple[int, ...]]()

    def look(name: str, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.setdefault(name, tuple(inputs[0].shape[1:]))

    for name, layer in layers.items():
        cast(nn.Module, layer).register_forward_pre_hook(partial(look, name))
    for phase in state.phases if layers else ():
        Loop(state, world, train.seed, Course.of(10**9), few.size, "fp32").phase(phase, few)
    found: dict[object, str | None] = {}
    for name, shape in seen.items():
        like = layers[name].weight.shape, shape
        if like not in found:
            found[like] = layers[name].faster(torch.empty(min(batch.size, MANY), *shape))
    each = {name: found[layers[name].weight.shape, shape] for name, shape in seen.items()}
    return {name: cast(When, when) for name, when in each.items() if when}


def precisions(device: torch.device) -> list[str]:
    """What there is to choose from. On a GPU bf16 needs no measuring; on a CPU a small model may lose by it."""
    if not multiplies_bf16(device):
        return ["fp32"]
    return ["bf16"] if device.type == "cuda" else ["fp32", "bf16"]


def compiles_by_itself(train: TrainConfig) -> bool:
    """Whether there is time to find out if compiling pays."""
    budget = budget_of(train)
    return train.compile == "auto" and budget is not None and budget >= COMPILE_FROM_SECONDS


def budget_of(train: TrainConfig) -> float | None:
    """Seconds that a training may take; None where its length is given otherwise."""
    by_time = train.steps is None and train.epochs is None and train.budget != "auto"
    return seconds_of(train.budget or DEFAULT_BUDGET) if by_time else None


def usual(batches: Batches) -> Batch:
    """A batch of middling size: where items differ in length, or batches in items, the first one may be of the largest.

    Of empty batches alone, which leave nothing to measure, it is one.
    """
    some = sorted((batches.batch(step) for step in range(15)), key=lambda b: sum(x.numel() for x in b.target.values()))
    some = [batch for batch in some if batch.size] or some
    return some[len(some) // 2]


def prepare_model(model: Model, world: World, train: TrainConfig, compiled: bool) -> Model:
    """Moves a model to the device and memory format that it trains in."""
    model = model.to(world.device).train()
    settle(model, train.fewer_multiplications)
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
