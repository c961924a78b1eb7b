"""What a modality is: the only code that knows files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from maquette.core.files import atomic, write_text
from maquette.core.find import find_modality
from maquette.core.spec import ColumnSpec


@runtime_checkable
class Modality(Protocol):
    """Files <-> canonical tensors, for one kind of column. Modules of `maquette.modalities` meet this.

    The stored form is the compact array kept in the cache (u8[C, H, W] for an image).
    """

    KIND: str
    SUFFIXES: tuple[str, ...]
    PREVIEW_SUFFIX: str

    def probe(self, data: bytes, name: str) -> Any:
        """Facts about one encoded item without a full decode; raises Unreadable with the reason."""
        ...

    def read(self, data: bytes, spec: ColumnSpec, **policy: Any) -> np.ndarray:
        """One encoded item -> stored form with the shape of `spec`; raises Unreadable with the reason."""
        ...

    def canonical(self, stored: np.ndarray) -> Tensor:
        """Stored items [B, ...] -> canonical tensor [B, ...]."""
        ...

    def write(
        self, item: Tensor, path: Path, about: dict[str, str] | None = None, spec: ColumnSpec | None = None
    ) -> Path:
        """Writes one canonical item as a file, with `about` in its metadata; returns the path."""
        ...

    def preview(
        self, items: Tensor, columns: int | None = None, captions: Sequence[str] = (), spec: ColumnSpec | None = None
    ) -> Any:
        """Several items as one thing that a person can look at: a PIL picture for images, a str for texts.

        spec: of the column; texts need it, for its tokenizer.
        """
        ...


def write_preview(items: Tensor, spec: ColumnSpec, stem: Path, captions: Sequence[str] = ()) -> Path:
    """Writes several items as one file that a person can look at; `stem` is its path without a suffix."""
    modality = find_modality(spec.kind)
    shown = modality.preview(items, captions=captions, spec=spec)
    path = stem.with_name(stem.name + modality.PREVIEW_SUFFIX)
    if isinstance(shown, str):
        return write_text(path, shown + "\n")
    with atomic(path) as temporary:
        shown.save(temporary)
    return path


class Unreadable(ValueError):
    """One item that cannot be used; the message is the reason, as the doctor lists it."""
