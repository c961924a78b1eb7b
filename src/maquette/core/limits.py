"""How much may be decoded: one limit for every form of file, so that a small file cannot fill the memory.

The limit holds for what lies in memory at once: one item, an array, the bytes of a file as it is or unpacked, a member
of an archive. What is taken a few at a time (members of an archive, pages, rows of tables and of Parquet), and
characters, may come to more in all, but not to more than SWOLLEN times the bytes that it is decoded from: a large file
may hold much, a small one may not.
"""

from __future__ import annotations

import io
import math
import os
import stat
from pathlib import Path
from typing import Protocol

from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.core.sizes import as_bytes

VARIABLE = "MAQUETTE_DECODE_LIMIT"
DEFAULT = 2**30  # bytes
SWOLLEN = 20
STEP = 2**20  # bytes that are unpacked at a time


class TooMuch(Unreadable):
    """What is beyond the limit."""

    def __init__(self) -> None:
        super().__init__()
        self.args = ()  # goes from one process to another, and is made anew there
        self.what = f"more than {os.environ.get(VARIABLE, '').strip() or '1 GiB'} once decoded"

    def __str__(self) -> str:
        return f"{self.what}; raise {VARIABLE} if it is meant"

    def refusal(self, name: str) -> UserError:
        """What is said where nothing is left without it."""
        return UserError(f"'{name}' is {self.what}.", f"Raise {VARIABLE} if it is meant: {VARIABLE}=4GiB, say.")


class Readable(Protocol):
    """What bytes come from, one part after the other."""

    def read(self, size: int, /) -> bytes: ...


def limit() -> int:
    """Bytes that may be decoded at once. UserError where the variable that sets it says no size."""
    said = os.environ.get(VARIABLE, "").strip()
    if not said:
        return DEFAULT
    size = as_bytes(said[:40], VARIABLE)
    if not size:
        raise UserError(f"{VARIABLE} is 0: nothing could be read.", "Write it as 500MB or 4GiB.")
    return size


def check(size: float, of: float = 0) -> None:
    """TooMuch where so many bytes are beyond the limit.

    of: bytes that they are decoded from, of what is taken a few at a time
    """
    if size > max(limit(), SWOLLEN * of):
        raise TooMuch


def read(stream: Readable, size: float = math.inf) -> bytes:
    """As many bytes of a stream as there are, or as `size` says; TooMuch as soon as they are beyond the limit."""
    made = io.BytesIO()
    while part := stream.read(int(min(STEP, size - made.tell()))):
        check(made.tell() + len(part))
        made.write(part)
    return made.getvalue()


def contents(path: str | Path) -> bytes:
    """The bytes of a file; Unreadable, with the reason, where it cannot be read or is beyond the limit."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - a pipe would be waited for, a device has no end
            raise Unreadable("no file")
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs a third of reading a small file
            check(os.fstat(file.fileno()).st_size)
            return file.read()
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from None
