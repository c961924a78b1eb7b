"""Lines of standard input as they arrive, read as a file of texts is: encodings told, control characters taken out."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader
from typing import BinaryIO, cast

from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data.lines import lines_of
from maquette.data.raw import Notify

MOST = 2**16  # bytes that are taken at once, as many as a pipe holds
NAME = "standard input"


def blocks(stream: BinaryIO, notify: Notify = lambda message: None) -> Iterator[list[str]]:
    """All lines of a redirected file at once. Of a terminal or a pipe, the whole lines that are there, as they come.

    What is not UTF-8 is read to its end first: its encoding is told from all of it. notify: is told which one it is.
    """
    if stream.isatty() or not stream.seekable():
        yield from _arriving(cast(BufferedReader, stream), notify)
    elif data := stream.read():
        yield _lines(data, notify)


def _arriving(stream: BufferedReader, notify: Notify) -> Iterator[list[str]]:
    rest = b""
    while data := stream.read1(MOST):
        lines, newline, rest = (rest + data).rpartition(b"\n")
        if not _is_utf8(lines):
            rest = lines + newline + rest + stream.read()
            break
        if newline:
            yield _lines(lines + newline, notify)
    if rest:
        yield _lines(rest, notify)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in data  # plain letters in UTF-16 are no error in UTF-8


def _lines(data: bytes, notify: Notify) -> list[str]:
    try:
        return lines_of(data, NAME, notify)
    except Unreadable as error:
        raise UserError(f"What came by {NAME} cannot be read: {error}.", "Give text, UTF-8 if possible.") from None
