"""What the checks of a family share: its model, as it is built and after some training on made-up data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.find import find_family
from maquette.core.generator import build_model
from maquette.core.modality import part
from maquette.core.model import Loss, Model, Phase, Step
from maquette.core.recipe import Recipe, TrainConfig
from maquette.core.rng import ItemRng, StepRng, derive
from maquette.core.spec import ClassSpec, ColumnSpec, DataSpec, GridSpec, NumberSpec, TokenSpec
from maquette.engine.loop import Loop
from maquette.engine.schedule import Course
from maquette.engine.state import State
from maquette.engine.world import World
from maquette.testing.specs import made_up_batch

ITEMS = 8  # of the batch that everything is checked with
BRIEFLY = 3  # steps after which no weight is zero any more


@dataclass(frozen=True)
class Bench:
    """A family, what it is to learn, and models of it. Nothing is built before it is asked for.

    steps: of training after which one batch must have been learned
    """

    family: str
    spec: DataSpec
    settings: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 120

    @cached_property
    def recipe(self) -> Recipe:
        spec = self.spec
        return Recipe(
            about="contract", family=self.family, target=spec.target, given=spec.given, model=dict(self.settings)
        )

    @cached_property
    def module(self) -> ModuleType:
        return find_family(self.family)

    @cached_property
    def batch(self) -> Batch:
        """Made up; every other item of a grid is moved along, so that items differ by more than noise."""
        batch = made_up_batch(self.spec, ITEMS)
        for name, value in batch.target.items():
            if isinstance(self.spec.columns[name], GridSpec):
                value[1::2] = value[1::2].roll(-(-value.shape[-1] // 4), -1)
        return batch

    def model(self) -> Model:
        """A new one, in training mode; its weights are the same each time."""
        return build_model(self.recipe, self.spec).train()

    def loop(self, model: Model | None = None, total: int = 60, micro: int | None = None) -> Loop:
        state = State(model or self.model(), TrainConfig().ema_decay)
        return Loop(state, World("cpu"), 0, Course.of(total), ITEMS, "fp32", micro)

    @torch.enable_grad()
    def trained(self, steps: int) -> Model:
        """One in evaluation mode, after so many steps on the batch."""
        loop = self.loop(total=max(steps, 60))
        for _ in range(steps):
            loop.step(self.batch)
        return loop.state.model.eval()

    @cached_property
    def fresh(self) -> Model:
        """As it was built. Not to be changed."""
        return self.model().eval()

    @cached_property
    def begun(self) -> Model:
        """After a few steps. Not to be changed."""
        return self.trained(BRIEFLY)

    @cached_property
    def learned(self) -> Model:
        """After as many steps as one batch must be learned in. Not to be changed."""
        return self.trained(self.steps)

    @torch.no_grad()
    def sample(self, model: Model, given: Mapping[str, Tensor] | None = None, **options: Any) -> dict[str, Tensor]:
        """ITEMS items of a model in evaluation mode, from the same seed each time. given: None: that of the batch."""
        return model.sample(ITEMS, self.batch.given if given is None else given, self.rng(), **options)

    def rng(self, items: int = ITEMS, seed: int = 1) -> ItemRng:
        return ItemRng(seed, range(items))

    def loss(self, model: Model, phase: Phase, batch: Batch, step: int = 0) -> Loss:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return phase.loss(batch, Step(step, self.steps, StepRng(derive(0, phase.name), batch.size)))


def distance(column: ColumnSpec, made: Tensor, real: Tensor) -> float:
    """How far samples are from a batch in what of their form is learned first; 0 at best.

    Of values, the squared error of the mean item, as their kind compares items; of tokens and classes, how differently
    often each is there (the total variation between their frequencies, in [0, 1]).
    """
    if isinstance(column, GridSpec | NumberSpec):
        return float((comparable(column, made).mean(0) - comparable(column, real).mean(0)).square().mean())
    if isinstance(column, TokenSpec | ClassSpec):
        values = column.vocab if isinstance(column, TokenSpec) else column.num_classes
        often = [x.flatten().bincount(minlength=values).double() / x.numel() for x in (made, real)]
        return float((often[0] - often[1]).abs().sum() / 2)
    raise TypeError(f"'{column.kind}' has none of the four forms")


def comparable(column: ColumnSpec, items: Tensor) -> Tensor:
    """Values f32[B, ...] by which items are near each other or not: their own, but where their kind has better ones."""
    found = part(column.kind, "comparable", "features")
    return (found(items) if found else items).float()
