"""The smallest modality that meets the contract: curves f32[1, N], a number a line in `.curve` files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from maquette.core.about import About
from maquette.core.modality import Notes, Unreadable
from maquette.core.spec import ColumnSpec, GridSpec
from maquette.data.raw import Cell, File

KIND = "toy_kind"
NOUN = ("curve", "curves")
PREVIEW_SUFFIX = ".curve"


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")

    points: int = 8


class Spec(GridSpec):
    kind: str = "toy_kind"
    high: float = 1.0


def claims(name: str, head: bytes) -> bool:
    return name.endswith(".curve")


def examine(cell: Cell, config: Config) -> float:
    if not isinstance(cell, File):
        raise Unreadable("no file")
    return float(np.abs(values(cell)).max())


def values(cell: File) -> np.ndarray:
    lines = [line for line in cell.read().decode("utf-8", "replace").splitlines() if not line.startswith("#")]
    try:
        found = np.array([float(line) for line in lines], np.float32)
    except ValueError:
        raise Unreadable("not numbers") from None
    if not len(found):
        raise Unreadable("empty")
    return found


def fit(
    cells: Sequence[Cell], facts: Sequence[float], config: Config, known: ColumnSpec | None, notes: Notes
) -> ColumnSpec:
    return known or Spec(shape=(1, config.points), high=max(facts))


def encode(cells: Sequence[File], spec: Spec, config: Config) -> list[np.ndarray | Unreadable]:
    made: list[np.ndarray | Unreadable] = []
    for cell in cells:
        try:
            x = np.interp(np.linspace(0, 1, config.points), np.linspace(0, 1, len(values(cell))), values(cell))
            made.append((x[None] / spec.high).clip(-1, 1).astype(np.float32))
        except Unreadable as error:
            made.append(error)
    return made


def canonical(stored: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(stored))


def write(item: Tensor, path: Path, spec: Spec, about: About) -> Path:
    path.write_text(text(item[None], spec, about), encoding="utf-8")
    return path


def preview(items: Tensor, path: Path, spec: Spec, captions: Sequence[str], about: About) -> Path:
    path.write_text(text(items, spec, about), encoding="utf-8")
    return path


def text(items: Tensor, spec: Spec, about: About) -> str:
    head = [f"# {json.dumps(about.fields, ensure_ascii=False)}"]
    return "\n".join([*head, *(str(x) for x in (items.flatten() * spec.high).tolist())])


def made_up(spec: ColumnSpec, items: int, seed: int = 0) -> Tensor:
    return torch.linspace(-1, 1, spec.shape[1]).expand(items, *spec.shape).clone()


def made_up_cells(items: int, seed: int = 0) -> list[Cell]:
    draws = np.random.default_rng(seed)
    numbers = draws.normal(0, 1 if seed == 0 else 9, (items, 8))
    return [File(f"{i}.curve", "\n".join(map(str, x)).encode()) for i, x in enumerate(numbers)]


def broken_cells() -> list[Cell]:
    return [File("words.curve", b"a curve, in words")]
