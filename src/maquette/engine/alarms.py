"""Alarms: logged values that stay beyond a limit, named with what was seen and what to try."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.model import Watch
from maquette.core.spec import ClassSpec, DataSpec
from maquette.core.watches import (
    DIVERSITY,
    FEWEST,
    HELD_OUT,
    OVER_FITTING,
    SOONEST_STEP,
    SPIKE,
    SPIKE_KEY,
    WATCHES,
)


@dataclass(frozen=True)
class Alarm:
    """A watch that was raised: at which step, what was seen, what to try."""

    name: str
    step: int
    saw: str
    advice: str


def per_unit(phase: str, names: Iterable[str]) -> str | None:
    """The part of a phase's loss that has a known unit, free of smoothing and of lengths: `<phase>/nats_per_<unit>`."""
    return next((name for name in names if name.startswith(f"{phase}/nats_per_")), None)


class History:
    """What has to be remembered of a log to judge a value: the best held-out loss, and what losses usually are.

    Derived values: `preview/over_fitting`, the held-out loss over its best, less 1; and `<phase>/loss_spike`, a
    loss over its running median where it lies well above all recent ones. Where a phase logs its loss per unit
    (`nats_per_<unit>`), it is that one: the sum over a batch of long items is large without anything being wrong.
    """

    WINDOW = 50

    def __init__(self) -> None:
        self._best = math.inf
        self._recent: dict[str, deque[float]] = {}

    def derive(self, values: Mapping[str, float]) -> dict[str, float]:
        """The derived values of one line of the log, which is remembered."""
        out = {}
        for key, value in values.items():
            if not math.isfinite(value):
                continue
            if key == HELD_OUT:
                self._best = min(self._best, value)
                if self._best > 0:
                    out[OVER_FITTING] = value / self._best - 1
            elif key == _judged(key, values):
                recent = self._recent.setdefault(key, deque(maxlen=self.WINDOW))
                usual = median(recent) if len(recent) >= FEWEST else math.inf
                # Losses that go below zero, and those that jump about all the time, have no spikes.
                if usual > 0 and min(recent, default=0.0) > 0 and value > 1.5 * max(recent, default=math.inf):
                    out[f"{key.rpartition('/')[0]}/{SPIKE_KEY}"] = value / usual
                recent.append(value)
        return out


def _judged(key: str, values: Mapping[str, float]) -> str:
    """The loss of the phase of this key that spikes are looked for in."""
    phase = key.rpartition("/")[0]
    return per_unit(phase, values) or f"{phase}/loss"


class Alarms:
    """Follows the log and raises each watch at most once in a run."""

    def __init__(self, watches: Sequence[Watch], total: int, raised: Sequence[str] = ()) -> None:
        self._watches = [w for w in (*watches, *WATCHES) if w.name not in raised]
        self.total = total
        self._since: dict[str, int] = {}
        self._history = History()

    def recall(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Reads the log of a run that goes on, so that what is usual, and the best so far, are known."""
        for line in lines:
            if "alarm" not in line:
                self._history.derive({k: float(v) for k, v in line.items() if isinstance(v, int | float)})

    def check(self, step: int, values: Mapping[str, float]) -> list[Alarm]:
        """Alarms that these values, logged at this step, bring to a head."""
        values = {**values, **self._history.derive(values)}
        out = []
        for watch in list(self._watches):
            found = self._value(watch, values)
            if found is None or step < max(watch.after * self.total, SOONEST_STEP):
                continue
            key, value = found
            beyond = (watch.above is not None and value > watch.above) or (
                watch.below is not None and value < watch.below
            )
            if not beyond:
                self._since.pop(watch.name, None)
                continue
            since = self._since.setdefault(watch.name, step)
            if step - since >= watch.patience * self.total:
                out.append(
                    Alarm(watch.name, step, f"{watch.saw}: {key} = {value:.3g} since step {since}", watch.advice)
                )
                self._watches.remove(watch)
        return out

    @staticmethod
    def _value(watch: Watch, values: Mapping[str, float]) -> tuple[str, float] | None:
        """The value that a watch looks at; a spike is looked for in the loss of every phase."""
        keys = [watch.key] if watch is not SPIKE else [key for key in values if key.endswith(SPIKE_KEY)]
        known = [(values[key], key) for key in keys if key in values]
        return max(known)[::-1] if known else None


def preview_diversity(samples: Mapping[str, Tensor], reference: Batch, spec: DataSpec) -> dict[str, float]:
    """The diversity of a preview by its key; nothing for tokens and classes, which have no mean to differ from."""
    if not any(fake.is_floating_point() for fake in samples.values()):
        return {}
    return {DIVERSITY: diversity(samples, reference, spec)}


@torch.no_grad()
def diversity(samples: Mapping[str, Tensor], reference: Batch, spec: DataSpec) -> float:
    """Spread of the samples over spread of the real items, within the given classes, the mean over the targets.

    Spread is the root mean squared distance of an item to the mean of its class. 1 is as diverse as
    the data; 0 is one item for each class.
    """
    classes = _classes(reference, spec)
    ratios = [
        _spread(fake.float(), classes) / max(_spread(reference.target[name].float(), classes), 1e-12)
        for name, fake in samples.items()
        if fake.is_floating_point()
    ]
    return sum(ratios) / len(ratios) if ratios else 1.0


def _classes(reference: Batch, spec: DataSpec) -> Tensor:
    """Which items belong together, i64[B]: those of the same given classes, as far as there are several of each."""
    given = [reference.given[name].cpu() for name in spec.givens(ClassSpec) if name in reference.given]
    while given:
        _, classes, counts = torch.stack(given, 1).unique(dim=0, return_inverse=True, return_counts=True)
        if counts.max() > 1:
            return classes
        given.pop()
    return torch.zeros(reference.size, dtype=torch.long)


def _spread(x: Tensor, classes: Tensor) -> float:
    flat = x.flatten(1).cpu()
    groups = [flat[classes == c] for c in classes.unique()]
    squares = [(group - group.mean(0)).square().sum(1) for group in groups if len(group) > 1]
    return float(torch.cat(squares).mean().sqrt()) if squares else 0.0
