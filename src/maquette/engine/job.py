"""What the engine is asked to do, what it reports on the way, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.model import Model, Watch
from maquette.core.recipe import Recipe
from maquette.core.run import RunFolder
from maquette.core.spec import DataSpec
from maquette.engine.alarms import Alarm

if TYPE_CHECKING:  # it needs what is here
    from maquette.engine.speed import Speed


class Batches(Protocol):
    """The training data in an order derived from the step: what a resumed run needs to be exact."""

    waited_seconds: float

    def batch(self, step: int) -> Batch:
        """This process's share of the global batch of a step, on the CPU; of any size, none included."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Progress:
    """Where a running job is.

    items, seconds:   seen and spent so far, over all sessions of the run
    items_per_second: of late
    values:           the newest means of what the phases log, by `<phase>/<part>`
    alarms:           raised so far, over all sessions of the run
    eta_seconds:      until the last step at the pace of this session; None before its first step
    """

    step: int
    total: int
    items: int
    seconds: float
    items_per_second: float
    values: Mapping[str, float]
    alarms: tuple[Alarm, ...]
    eta_seconds: float | None


@dataclass(frozen=True)
class Job:
    """One training run.

    batches:   (batch_size, rank, processes) -> the loader of this process's share
    items:     items in the training split, which turns epochs into steps
    reference: real items, whose given columns the previews share; their diversity is the yardstick for collapse
    preview:   writes canonical samples as files that a person can look at (or hear) to the path, adding the suffix
    inspect:   (model, samples of a preview) -> further values to log and to watch
    watches:   alarms over these values and others that the model's own watches do not cover
    progress:  receives each logged line as values, each alarm, and the step several times a second
    stop:      asked after each step; once it is true, everything is saved and training ends
    trackers:  those that are started, whatever the recipe names
    quiet:     prints nothing
    began:     time.monotonic() at which its budget began; None: as it starts
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
    watches: Sequence[Watch] = ()
    progress: Callable[[Progress], None] = lambda progress: None
    stop: Callable[[], bool] = lambda: False
    trackers: tuple[str, ...] = ()
    quiet: bool = False
    began: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a training run ended.

    steps, items: done and seen, over all sessions of the run
    seconds: spent in training, over all sessions of the run
    waited_seconds: of this session, spent waiting for data
    leads: whether this process is the one that writes, the first of those that trained together
    alarms: names of those raised
    stopped: whether the job was asked to stop before its last step; it can be gone on with
    speed: of this session, where it was long enough to tell      processes: that trained together
    """

    steps: int
    items: int
    seconds: float
    waited_seconds: float
    leads: bool = True
    alarms: tuple[str, ...] = ()
    stopped: bool = False
    speed: Speed | None = None
    processes: int = 1
