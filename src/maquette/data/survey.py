"""What is known of a source before anything is prepared: one row a picture, and how to get its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maquette.core.spec import ColumnSpec


@dataclass
class Chunk:
    """Some prepared pictures: their rows, u8[n, C, H, W], and the rows that failed with the reason."""

    rows: list[int]
    pixels: np.ndarray
    failed: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class Survey:
    """Rows that can be used as far as their headers tell.

    facts:   modalities.image.Facts, one a row      content: digests of the encoded bytes, or of the arrays
    chunks:  (spec, fit, rows) -> the pictures of these rows, prepared, in order
    found:   pictures that were looked at, those left out included
    """

    kind: str
    names: list[str]
    splits: list[str | None]
    values: dict[str, list[str | None]]
    facts: list[Any]
    content: list[bytes]
    chunks: Callable[[ColumnSpec, str, list[int]], Iterator[Chunk]]
    found: int
    left_out: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def keep(self, rows: list[int]) -> None:
        """Forgets all rows but these."""
        self.names = [self.names[i] for i in rows]
        self.splits = [self.splits[i] for i in rows]
        self.values = {name: [column[i] for i in rows] for name, column in self.values.items()}
        self.facts = [self.facts[i] for i in rows]
        if len(self.content) > 1:
            self.content = [self.content[i] for i in rows]
        chunks = self.chunks
        numbers = list(rows)

        def renumbered(spec: ColumnSpec, fit: str, wanted: list[int]) -> Iterator[Chunk]:
            back = {numbers[new]: new for new in wanted}
            for made in chunks(spec, fit, [numbers[i] for i in wanted]):
                failed = [(back[i], reason) for i, reason in made.failed]
                yield Chunk([back[i] for i in made.rows], made.pixels, failed)

        self.chunks = renumbered
