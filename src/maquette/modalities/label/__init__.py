"""Labels: the name of a class <-> its number, i64[]. See core/modality.py for what a modality is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from maquette.core.about import About
from maquette.core.files import write_json, write_text
from maquette.core.spec import ClassSpec, ColumnSpec

KIND = "label"
NOUN = ("label", "labels")
SUFFIXES: tuple[str, ...] = ()
PREVIEW_SUFFIX = ".txt"


class Config(BaseModel):
    """data.label: nothing to set."""

    model_config = ConfigDict(extra="forbid")


class Spec(ClassSpec):
    """i64[]."""

    kind: str = "label"


def canonical(stored: np.ndarray) -> Tensor:
    """Numbers of classes [B] -> i64[B]."""
    return torch.from_numpy(np.array(stored, dtype=np.int64))


def write(item: Tensor, path: Path, spec: ColumnSpec, about: About) -> Path:
    """Writes the name of the class; `about` goes into a .json of the same name."""
    path = Path(path)
    write_text(path, cast(Spec, spec).classes[int(item)] + "\n")
    write_json(path.with_suffix(".json"), about.fields)
    return path


def sheet(items: Tensor, spec: ColumnSpec, captions: Sequence[str] = ()) -> str:
    """The names, one a line."""
    return "\n".join(cast(Spec, spec).classes[int(item)] for item in items)


def preview(items: Tensor, path: Path, spec: ColumnSpec, captions: Sequence[str], about: About) -> Path:
    write_text(path, sheet(items, spec) + "\n")
    write_json(Path(path).with_suffix(".json"), about.fields)
    return Path(path)


def made_up(spec: ColumnSpec, items: int, seed: int = 0) -> Tensor:
    """All classes in turn."""
    return (torch.arange(items) + seed) % max(cast(Spec, spec).num_classes, 1)
