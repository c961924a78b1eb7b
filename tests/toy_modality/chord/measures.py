"""What is measured of chords beyond what is general: how many of their intervals are consonant."""

from __future__ import annotations

from typing import Any

import chord
import numpy as np
from torch import Tensor

from maquette.core.measure import Found, Measure, TooFew
from maquette.evaluation.bootstrap import Array, mean
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.results import Metric

CONSONANT = (0, 3, 4, 5, 7, 8, 9)  # semitones


def consonance(item: Tensor) -> float | None:
    """Share of the steps from one pitch to the next that are consonant; None where there is no step."""
    steps = np.abs(np.diff(chord.pitches(item))) % 12
    return float(np.isin(steps, CONSONANT).mean()) if len(steps) else None


def _shares(items: Any) -> Array:
    found = [share for item in items if (share := consonance(item)) is not None]
    if not found:
        raise TooFew("no chord has two pitches")
    return np.array(found)


def _measured(evidence: Evidence) -> Found:
    ours, theirs = _shares(evidence.made.items), _shares(evidence.real.items)
    value, floor = mean(ours, evidence.rng("consonance")), mean(theirs, evidence.rng("consonance", "floor"))
    return Found(value, floor, len(theirs), len(ours))


def _says(metric: Metric) -> str:
    return f"{metric.show(metric.value)} of the steps of {{items}} are consonant; of real ones, {metric.show(metric.floor)}."


MEASURES = (
    Measure("consonance", "Consonant steps", "floor", "share",
            "How many steps from one pitch to the next are consonant intervals.", _measured, _says),
)  # fmt: skip
