"""Names: many of them in little memory, a few of them on one line; and digests of anything."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import overload

from maquette.core.shown import shown

LISTED = 12  # names in one message


class Names(Sequence[str]):
    """Names that are put together when they are asked for."""

    @abstractmethod
    def name(self, row: int) -> str:
        """The name of a row, 0 <= row < N."""

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self.name(k) for k in range(*row.indices(len(self)))]
        place = row + len(self) if row < 0 else row
        if not 0 <= place < len(self):
            raise IndexError(row)
        return self.name(place)


def digest(parts: Iterable[object], size: int = 16) -> str:
    """Hexadecimal BLAKE2b of the parts, told apart from one another."""
    state = hashlib.blake2b(digest_size=size)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few names, on one line."""
    listed = [shown(name) for name in names]
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(f"'{name}'" for name in listed[:most]) + more
