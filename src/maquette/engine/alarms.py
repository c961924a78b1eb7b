"""Alarms: logged values that stay beyond a limit, named with what was seen and what to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.model import Watch
from maquette.core.spec import DataSpec

DIVERSITY = "preview/diversity"
# Every model looks collapsed before it has learned anything; no run is judged by its first steps.
SOONEST_STEP = 300

# True of any generator, so it lives here and not with a family.
COLLAPSE = Watch(
    name="mode collapse",
    key=DIVERSITY,
    below=0.35,
    patience=0.05,
    after=0.2,
    saw="samples of the same class hardly differ, compared with the real ones (ratio of spreads)",
    advice="a lower learning rate, a stronger penalty, or a more stable recipe (maquette recipes)",
)


@dataclass(frozen=True)
class Alarm:
    name: str
    step: int
    saw: str
    advice: str


class Alarms:
    """Follows the log and raises each watch at most once in a run."""

    def __init__(self, watches: Sequence[Watch], total: int, raised: Sequence[str] = ()) -> None:
        self._watches = [w for w in (*watches, COLLAPSE) if w.name not in raised]
        self._total = total
        self._since: dict[str, int] = {}

    def check(self, step: int, values: Mapping[str, float]) -> list[Alarm]:
        """Alarms that these values, logged at this step, bring to a head."""
        out = []
        for watch in list(self._watches):
            if watch.key not in values or step < max(watch.after * self._total, SOONEST_STEP):
                continue
            value = values[watch.key]
            beyond = (watch.above is not None and value > watch.above) or (
                watch.below is not None and value < watch.below
            )
            if not beyond:
                self._since.pop(watch.name, None)
                continue
            since = self._since.setdefault(watch.name, step)
            if step - since >= watch.patience * self._total:
                out.append(
                    Alarm(watch.name, step, f"{watch.saw}: {watch.key} = {value:.3g} since step {since}", watch.advice)
                )
                self._watches.remove(watch)
        return out


@torch.no_grad()
def diversity(samples: Mapping[str, Tensor], reference: Batch, spec: DataSpec) -> float:
    """Spread of the samples over spread of the real items, within classes where there are labels.

    Spread is the root mean squared distance of an item to the mean of its class. 1 is as diverse as
    the data; 0 is one picture for each class.
    """
    labels = reference.given[spec.label] if spec.label else torch.zeros(reference.size, dtype=torch.long)
    ratios = []
    for name, fake in samples.items():
        real = reference.target[name].float()
        if not fake.is_floating_point():
            continue  # tokens have no mean
        ratios.append(_spread(fake.float(), labels) / max(_spread(real, labels), 1e-12))
    return sum(ratios) / len(ratios) if ratios else 1.0


def _spread(x: Tensor, labels: Tensor) -> float:
    flat, labels = x.flatten(1).cpu(), labels.cpu()
    groups = [flat[labels == label] for label in labels.unique()]
    squares = [(group - group.mean(0)).square().sum(1) for group in groups if len(group) > 1]
    return float(torch.cat(squares).mean().sqrt()) if squares else 0.0
