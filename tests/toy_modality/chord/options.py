"""What can be asked of a sample of chords: to be moved up or down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import chord
import torch
from torch import Tensor

from maquette.core.option import Option, Plan, between

TRANSPOSE = Option("transpose", int, 0, "Semitones up, or down where it is below 0.", between(-24, 24))


def OPTIONS(model: Any, spec: Any) -> tuple[Option, ...]:
    return (TRANSPOSE,)


def plan(generator: Any, column: str, asked: Mapping[str, Any], given: Any, n: int, facts: Any) -> Plan:
    by = int(asked.get("transpose", 0))

    def moved(items: Tensor) -> Tensor:
        high = items + by
        return torch.where(items < chord.FIRST, items, high.clamp(chord.FIRST, chord.FIRST + chord.PITCHES - 1))

    return Plan(finish=moved)
