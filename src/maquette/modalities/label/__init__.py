"""Labels: the name of a class <-> its number, i64[]. See core/modality.py for what a modality is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from pydantic import BaseModel, ConfigDict

from maquette.core.about import About
from maquette.core.files import write_json, write_text
from maquette.core.modality import Examined, Notes, Unreadable
from maquette.core.spec import ClassSpec, ColumnSpec, plain
from maquette.modalities.label.claims import is_whole

if TYPE_CHECKING:  # it takes a second to import, which a specification can do without
    from torch import Tensor

KIND = "label"
NOUN = ("label", "labels")
SUFFIXES: tuple[str, ...] = ()
PREVIEW_SUFFIX = ".txt"
MISSING = "(missing)"  # the class of rows that have none


class Config(BaseModel):
    """data.label: nothing to set."""

    model_config = ConfigDict(extra="forbid")


class Spec(ClassSpec):
    """i64[]."""

    kind: str = "label"


def examine(cell: Any, config: Config) -> str:
    """The name of a class, as it is shown; raises Unreadable for none."""
    bare = _name(cell)
    if not bare:
        raise Unreadable("empty")
    return bare


def fit(
    cells: Sequence[Any], facts: Sequence[str | None], config: Config, known: ColumnSpec | None, notes: Notes
) -> ColumnSpec:
    """The classes of training rows: whole numbers by value, others by letter, "(missing)" last."""
    if known is not None:
        return known
    found = {name for name in facts if name is not None}
    # "07" and "7" are two classes of one value: their order must not be that of a set.
    names = sorted(found, key=lambda name: (int(name), name)) if all(map(is_whole, found)) else sorted(found)
    return complete(Spec(classes=(*names, MISSING) if None in facts else tuple(names)), None, facts, None)


def widen(spec: ColumnSpec, facts: Sequence[str | None]) -> ColumnSpec:
    """With the classes that only other rows have, of share 0."""
    known = cast(Spec, spec)
    share, every = dict(zip(known.classes, known.shares, strict=True)), fit((), facts, Config(), None, Notes())
    classes = cast(Spec, every).classes
    return known.model_copy(update={"classes": classes, "shares": tuple(share.get(name, 0.0) for name in classes)})


def complete(
    spec: ColumnSpec, lengths: np.ndarray | None, facts: Sequence[str | None], known: ColumnSpec | None
) -> ColumnSpec:
    """With the share of each class in the training split."""
    if known is not None:
        return spec
    counts = Counter(MISSING if name is None else name for name in facts)
    shares = tuple(counts[name] / max(len(facts), 1) for name in cast(Spec, spec).classes)
    return spec.model_copy(update={"shares": shares})


def encode(cells: Sequence[Any], spec: ColumnSpec, config: Config) -> list[np.ndarray | Unreadable]:
    """Numbers of classes i32[]; a class that is not known is Unreadable."""
    number = {name: np.int32(i) for i, name in enumerate(cast(Spec, spec).classes)}
    names = [_name(cell) or MISSING for cell in cells]
    return [number[name] if name in number else Unreadable(f"unknown class '{name}'") for name in names]  # type: ignore[misc]


def describe(column: Examined, notes: Notes) -> dict[str, Any]:
    """How many classes there are."""
    count = cast(Spec, column.spec).num_classes
    return {"classes": count, "rows": [["classes", f"{count:,}"]]}


def _name(cell: Any) -> str:
    from maquette.data.names import shown  # with torch

    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return shown(plain(str(cell)))


def canonical(stored: np.ndarray) -> Tensor:
    """Numbers of classes [B] -> i64[B]."""
    import torch

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
    """Writes the names of the classes, one a line."""
    write_text(path, sheet(items, spec) + "\n")
    write_json(Path(path).with_suffix(".json"), about.fields)
    return Path(path)


def made_up(spec: ColumnSpec, items: int, seed: int = 0) -> Tensor:
    """All classes in turn."""
    import torch

    return (torch.arange(items) + seed) % max(cast(Spec, spec).num_classes, 1)
