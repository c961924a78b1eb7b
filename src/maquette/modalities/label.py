"""Labels: the name of a class <-> its number, i64[]."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maquette.core.files import write_text
from maquette.core.modality import Unreadable
from maquette.core.spec import ColumnSpec

KIND = "label"
SUFFIXES: tuple[str, ...] = ()
PREVIEW_SUFFIX = ".txt"


def probe(data: bytes, name: str) -> str:
    """The name of the class that the bytes spell."""
    try:
        return data.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise Unreadable("not the name of a class: not UTF-8 text") from None


def read(data: bytes, spec: ColumnSpec, **policy: Any) -> np.ndarray:
    """The name of a class -> its number, i64[]."""
    name = probe(data, "")
    if name not in spec.classes:
        raise Unreadable(f"no such class: {name!r}")
    return np.asarray(spec.classes.index(name), np.int64)


def canonical(stored: np.ndarray) -> Tensor:
    """Numbers of classes [B] -> i64[B]."""
    return torch.from_numpy(np.array(stored, dtype=np.int64))


def write(item: Tensor, path: Path, about: dict[str, str] | None = None, spec: ColumnSpec | None = None) -> Path:
    """Writes the number of a class as text; `about` follows as comments."""
    lines = [str(int(item)), *(f"# {key}: {value}" for key, value in (about or {}).items())]
    return write_text(Path(path), "\n".join(lines) + "\n")


def preview(
    items: Tensor, columns: int | None = None, captions: Sequence[str] = (), spec: ColumnSpec | None = None
) -> str:
    """The numbers (or the captions in their place) as lines of text, `columns` to a line."""
    words = list(captions) or [str(int(item)) for item in items.flatten()]
    columns = columns or max(len(words), 1)
    return "\n".join(" ".join(words[i : i + columns]) for i in range(0, len(words), columns))
