"""What an evaluation of text has found so far: metrics, what was left out, and how things were measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from maquette.core.rng import derive
from maquette.evaluation.bootstrap import Estimate, TooFew
from maquette.evaluation.results import Better, Metric
from maquette.modalities.text.measures.readings import reading


class Ledger:
    """seed: of the sample and of every resample: the same seed gives the same numbers."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.metrics: list[Metric] = []
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def rng(self, *words: str) -> np.random.Generator:
        return np.random.default_rng(derive(self.seed, "evaluate", *words))

    def add(
        self,
        name: str,
        title: str,
        value: Estimate,
        floor: Estimate | None = None,
        better: Better = "lower",
        *,
        of: tuple[int, int],
        unit: str = "",
        features: str | None = None,
        signature: str = "",
    ) -> None:
        """of: how many real texts and how many samples it was measured on; signature: of a score that has one."""
        metric = Metric(
            name=name, title=title, value=value.value, low=value.low, high=value.high,
            floor=floor.value if floor else None, floor_low=floor.low if floor else None,
            floor_high=floor.high if floor else None, better=better, p_value=value.p_value,
            n_real=of[0], n_fake=of[1], unit=unit, features=features,
        )  # fmt: skip
        said = f"{reading(metric)} Signature: {signature}." if signature else reading(metric)
        self.metrics.append(metric.model_copy(update={"reading": said}))

    def attempt(self, title: str, measure: Callable[[], Estimate]) -> Estimate | None:
        """What the measure gives, or None, and a warning by name, where there is too little to measure."""
        try:
            return measure()
        except TooFew as reason:
            self.left_out(title, reason)
            return None

    def left_out(self, title: str, reason: object) -> None:
        text = f"Left out: {title}: {reason}."
        if text not in self.warnings:
            self.warnings.append(text)
