"""What a modality is: the only code that knows files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from maquette.core.spec import ColumnSpec


@runtime_checkable
class Modality(Protocol):
    """Files <-> canonical tensors, for one kind of column. Modules of `maquette.modalities` meet this.

    The stored form is the compact array kept in the cache (u8[C, H, W] for an image).
    """

    KIND: str
    SUFFIXES: tuple[str, ...]

    def probe(self, data: bytes, name: str) -> Any:
        """Facts about one encoded item without a full decode; raises Unreadable with the reason."""
        ...

    def read(self, data: bytes, spec: ColumnSpec, **policy: Any) -> np.ndarray:
        """One encoded item -> stored form with the shape of `spec`; raises Unreadable with the reason."""
        ...

    def canonical(self, stored: np.ndarray) -> Tensor:
        """Stored items [B, ...] -> canonical tensor [B, ...]."""
        ...

    def write(self, item: Tensor, path: Path, about: dict[str, str] | None = None) -> Path:
        """Writes one canonical item as a file, with `about` in its metadata; returns the path."""
        ...

    def preview(self, items: Tensor, columns: int | None = None, captions: Sequence[str] = ()) -> Any:
        """Several items as one thing that a person can look at (a PIL picture for images)."""
        ...


class Unreadable(ValueError):
    """One item that cannot be used; the message is the reason, as the doctor lists it."""
