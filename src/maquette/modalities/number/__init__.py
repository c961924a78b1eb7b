"""Real numbers, f32[]. See core/modality.py for what a modality is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from maquette.core.about import About
from maquette.core.files import write_json, write_text
from maquette.core.modality import Examined, Notes, Unreadable
from maquette.core.spec import LARGEST, ColumnSpec, NumberSpec
from maquette.data.names import shown

KIND = "number"
NOUN = ("number", "numbers")
SUFFIXES: tuple[str, ...] = ()
PREVIEW_SUFFIX = ".txt"
STEPS = 100  # different values of a float32 within one standard deviation; fewer tell too little apart


class Config(BaseModel):
    """data.number: nothing to set."""

    model_config = ConfigDict(extra="forbid")


class Spec(NumberSpec):
    """f32[], in its own unit."""

    kind: str = "number"


def examine(cell: Any, config: Config) -> float:
    """A finite number; raises Unreadable for anything else."""
    try:
        value = float(cell)
    except (TypeError, ValueError):
        raise Unreadable(f"'{shown(str(cell))[:40]}' is not a number") from None
    if not math.isfinite(value):
        raise Unreadable(f"{value} is not a number")
    if abs(value) > LARGEST:
        raise Unreadable(f"larger than {LARGEST:g}: {value:g}")
    return value


def fit(
    cells: Sequence[Any], facts: Sequence[float], config: Config, known: ColumnSpec | None, notes: Notes
) -> ColumnSpec:
    """Mean, spread and range of training rows."""
    if known is not None:
        return known
    values = np.asarray(facts, np.float64)
    spread = float(values.std())
    if 0 < spread < STEPS * float(np.spacing(np.float32(np.abs(values).max()))):
        notes.warn(
            f"Numbers from {values.min():.10g} to {values.max():.10g} lie too close together for their size: kept as "
            "float32, they hardly differ. Subtract the smallest from each."
        )
    return Spec(
        mean=float(values.mean()), std=spread if spread > 0 else 1.0, low=float(values.min()), high=float(values.max())
    )


def encode(cells: Sequence[Any], spec: ColumnSpec, config: Config) -> list[np.ndarray | Unreadable]:
    """f32[] of each."""
    return [np.float32(cell) for cell in cells]  # type: ignore[misc]


def describe(column: Examined, notes: Notes) -> dict[str, Any]:
    """The range of the training rows, and their mean."""
    spec = cast(Spec, column.spec)
    made = {"low": spec.low, "high": spec.high, "mean": spec.mean, "std": spec.std}
    return {**made, "rows": [["range", f"{spec.low:g} to {spec.high:g}"], ["mean", f"{spec.mean:g} +/- {spec.std:g}"]]}


def canonical(stored: np.ndarray) -> Tensor:
    """Numbers [B] -> f32[B], in their own unit: networks standardise them by `mean` and `std`."""
    return torch.from_numpy(np.array(stored, dtype=np.float32))


def write(item: Tensor, path: Path, spec: ColumnSpec, about: About) -> Path:
    """Writes the number; `about` goes into a .json of the same name."""
    path = Path(path)
    write_text(path, f"{float(item):g}\n")
    write_json(path.with_suffix(".json"), about.fields)
    return path


def sheet(items: Tensor, spec: ColumnSpec, captions: Sequence[str] = ()) -> str:
    """The numbers, one a line; of an item without one the line is empty."""
    return "\n".join("" if item.isnan() else f"{float(item):g}" for item in items)


def preview(items: Tensor, path: Path, spec: ColumnSpec, captions: Sequence[str], about: About) -> Path:
    """Writes the numbers, one a line."""
    write_text(path, sheet(items, spec) + "\n")
    write_json(Path(path).with_suffix(".json"), about.fields)
    return Path(path)


def made_up(spec: ColumnSpec, items: int, seed: int = 0) -> Tensor:
    """Numbers spread evenly over three standard deviations."""
    known = cast(Spec, spec)
    return known.mean + known.std * torch.linspace(-1.5, 1.5, items)
