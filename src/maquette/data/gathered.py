"""Files that together are one item, such as numbered frames: gathered into one file, where that is what was asked for.

A modality says which (`gathers` of its claims.py; see data/typing.py) and takes them apart again (`parts_of`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from maquette.core import limits
from maquette.core.modality import Unreadable
from maquette.data.raw import Payload
from maquette.data.trees import Tree

MAGIC = b"\0gathered\0"  # what such an item begins with

Gathers = Callable[[Sequence[str], Callable[[int], bytes]], Mapping[str, Sequence[int]]]


def together(files: Sequence[bytes]) -> bytes:
    """Several files as one item."""
    sizes = struct.pack(f"<{len(files)}Q", *map(len, files))
    return b"".join((MAGIC, struct.pack("<Q", len(files)), sizes, *files))


def parts_of(data: bytes) -> list[bytes]:
    """The files of one item; Unreadable where it is cut off."""
    view, start = memoryview(data), len(MAGIC) + 8
    try:
        (count,) = struct.unpack_from("<Q", data, len(MAGIC))
        sizes = struct.unpack_from(f"<{count}Q", data, start) if count < len(data) else (len(data),)
    except struct.error:
        sizes = (len(data),)
    start += 8 * len(sizes)
    if start + sum(sizes) != len(data):
        raise Unreadable("truncated")
    made = []
    for size in sizes:
        made.append(bytes(view[start : start + size]))
        start += size
    return made


class Gathered:
    """A tree in which some files are gathered: each item stands under its own name, in the place of its files."""

    def __init__(self, tree: Tree, groups: Mapping[str, Sequence[int]]) -> None:
        self.tree, inside = tree, {i for numbers in groups.values() for i in numbers}
        of: list[tuple[str, Sequence[int]]] = [(tree.names[i], [i]) for i in range(len(tree.names)) if i not in inside]
        self._of = sorted([*of, *groups.items()], key=lambda entry: entry[0])
        self._groups = set(groups)

    @property
    def form(self) -> str:
        return self.tree.form

    @cached_property
    def names(self) -> Sequence[str]:
        return [name for name, _ in self._of]

    def payloads(self, numbers: Sequence[int]) -> list[Payload]:
        return [self._payload(*self._of[number]) for number in numbers]

    def _payload(self, name: str, files: Sequence[int]) -> Payload:
        payloads = self.tree.payloads(files)
        if name not in self._groups:
            return payloads[0]
        try:
            limits.check(sum(map(self.tree.size, files)))
            made = []
            for payload in payloads:
                if isinstance(payload, Unreadable):
                    raise payload
                made.append(payload if isinstance(payload, bytes) else limits.contents(payload))
            return together(made)
        except Unreadable as error:
            return error

    def reading(self) -> Sequence[int] | None:
        order = self.tree.reading()
        return None if order is None else [order[files[0]] for _, files in self._of]

    def size(self, number: int) -> int:
        return sum(map(self.tree.size, self._of[number][1]))

    def head(self, number: int, size: int) -> bytes:
        name, files = self._of[number]
        return MAGIC[:size] if name in self._groups else self.tree.head(files[0], size)
