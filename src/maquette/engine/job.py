"""What the engine is asked to do, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.model import Model
from maquette.core.recipe import Recipe
from maquette.core.run import RunFolder
from maquette.core.spec import DataSpec


class Batches(Protocol):
    """The training data in an order derived from the step: what a resumed run needs to be exact."""

    waited_seconds: float

    def batch(self, step: int) -> Batch:
        """This process's share of the global batch of a step, on the CPU."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Job:
    """One training run.

    batches:   (batch_size, rank, processes) -> the loader of this process's share
    items:     items in the training split, which turns epochs into steps
    reference: real items, whose given columns the previews share; their diversity is the yardstick for collapse
    preview:   writes canonical samples as one picture (or sound, or text) to the path, adding the suffix
    inspect:   (model, samples of a preview) -> further values to log and to watch
    """

    folder: RunFolder
    recipe: Recipe
    spec: DataSpec
    model: Model
    batches: Callable[[int, int, int], Batches]
    items: int
    reference: Batch
    preview: Callable[[dict[str, Tensor], Path], None]
    inspect: Callable[[Model, dict[str, Tensor]], dict[str, float]] = lambda model, samples: {}
    quiet: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a training run ended.

    seconds: spent in training, over all sessions of the run
    waited_seconds: of this session, spent waiting for data
    leads: whether this process is the one that writes, the first of those that trained together
    """

    steps: int
    items: int
    seconds: float
    waited_seconds: float
    leads: bool = True
    alarms: tuple[str, ...] = ()
