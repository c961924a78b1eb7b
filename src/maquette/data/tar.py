"""Archives of tar, packed or not, whose lists of members are read with care.

What stands before a member (a long name, attributes, the holes of a sparse file) tarfile reads as a whole, however long
it says to be; and zeros pack to a thousandth of their bytes.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from maquette.core import limits

MEMBER = 2**10  # bytes that a member takes to be known of
HEAD = 2**20  # bytes that may stand before one
_PACKED: Mapping[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}


def opened(path: Path) -> tarfile.TarFile:
    """The archive, of which no more than the first head has been read; raises what tarfile and decoders do."""
    with path.open("rb") as file:
        unpacking = _PACKED.get(file.read(2), open)
    return tarfile.TarFile(fileobj=_Heads(unpacking(path, "rb")), encoding="utf-8", errors="surrogateescape")


def members(tar: tarfile.TarFile, size: int) -> Iterator[tarfile.TarInfo]:
    """Its members one by one, to stop early at a bomb: limits.TooMuch. size: bytes of its file"""
    heads, total = tar.fileobj, 0
    assert isinstance(heads, _Heads)
    while (member := tar.next()) is not None:
        if member.size < 0:  # where to go on is then before it, for ever
            raise tarfile.ReadError("a member of less than no bytes")
        total += member.size + MEMBER + HEAD - int(heads.left)
        limits.check(total, of=size)
        heads.left = HEAD
        yield member
    if 0 < heads.tell() - tar.offset < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it is cut off")
    heads.left = math.inf


class _Heads:
    """A stream of which only so many bytes may be read, until somebody sets `left` anew."""

    def __init__(self, stream: Any) -> None:
        self._stream, self.left = stream, float(HEAD)

    def read(self, size: int = -1) -> bytes:
        self.left -= size if size >= 0 else math.inf
        if self.left < 0:
            raise tarfile.ReadError("more stands before a member than any has")
        made: bytes = self._stream.read(size)
        return made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
