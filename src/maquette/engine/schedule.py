"""How far a run is at each step, and the learning rate there: pure functions of what was decided."""

from __future__ import annotations

import math
from collections.abc import Sequence

from maquette.core.model import Optim
from maquette.core.recipe import Leg, TrainConfig


class Course:
    """The legs of a run in order: of how many steps it is, and where its schedules stand, at each step.

    Legs are stored in the run's recipe before they are begun, so a resumed run takes the same ones at the same steps.
    """

    def __init__(self, legs: Sequence[Leg]) -> None:
        self.legs = tuple(legs)

    @classmethod
    def of(cls, steps: int) -> Course:
        """A run of so many steps whose length never changes."""
        return cls((Leg(step=0, steps=steps),))

    @classmethod
    def planned(cls, train: TrainConfig) -> Course:
        """That of a run whose steps have been planned."""
        assert train.steps is not None
        return cls(train.course) if train.course else cls.of(train.steps)

    def leg(self, step: int) -> Leg:
        """The leg that the step after `step` done ones belongs to."""
        return next(leg for leg in reversed(self.legs) if leg.step <= step)

    def total(self, step: int) -> int:
        """Steps of the whole run, as planned at this one."""
        return self.leg(step).steps

    def progress(self, step: int) -> float:
        """From 0 to 1, where schedules stand."""
        leg = self.leg(step)
        return leg.progress + (1.0 - leg.progress) * (step - leg.step) / max(leg.steps - leg.step, 1)

    def then(self, leg: Leg) -> Course:
        """With one more leg, instead of those that would have begun where it does or later."""
        return Course((*(known for known in self.legs if known.step < leg.step), leg))

    def into(self, train: TrainConfig) -> TrainConfig:
        """The section of the recipe that holds this course."""
        return train.model_copy(update={"steps": self.legs[-1].steps, "course": self.legs})


def learning_rate(optim: Optim, progress: float, total: int) -> float:
    """Linear warm-up, then constant, then `optim.schedule` down to `optim.final * optim.lr`.

    progress: from 0 to 1      total: steps of the run
    Cosine: Loshchilov & Hutter 2017, eq. 5, without restarts.
    """
    if progress < optim.warmup:
        return optim.lr * (progress * total + 1) / (optim.warmup * total + 1)
    start = max(optim.warmup, optim.constant_until)
    if optim.schedule == "constant" or progress < start:
        return optim.lr
    share = min((progress - start) / max(1.0 - start, 1e-12), 1.0)
    fall = 0.5 * (1 + math.cos(math.pi * share)) if optim.schedule == "cosine" else 1.0 - share
    return optim.lr * (optim.final + (1.0 - optim.final) * fall)
