"""Lines of standard input as they arrive, read as a file of texts is: encodings told, control characters taken out."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader
from typing import BinaryIO, cast

from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data.sources import Say
from maquette.data.texts.lines import lines_of

MOST = 2**16  # bytes that are taken at once, as many as a pipe holds
NAME = "standard input"


def blocks(stream: BinaryIO, say: Say = lambda text: None) -> Iterator[list[str]]:
    """All lines of a redirected file at once. Of a terminal or a pipe, the whole lines that are there, as they come.

    What is not UTF-8 is read to its end first: its encoding is told from all of it. say: is told which one it is.
    """
    if stream.isatty() or not stream.seekable():
        yield from _arriving(cast(BufferedReader, stream), say)
    elif data := stream.read():
        yield _lines(data, say)


def _arriving(stream: BufferedReader, say: Say) -> Iterator[list[str]]:
    rest = b""
    while data := stream.read1(MOST):
        lines, newline, rest = (rest + data).rpartition(b"\n")
        if not _is_utf8(lines):
            rest = lines + newline + rest + stream.read()
            break
        if newline:
            yield _lines(lines + newline, say)
    if rest:
        yield _lines(rest, say)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in data  # plain letters in UTF-16 are no error in UTF-8


def _lines(data: bytes, say: Say) -> list[str]:
    try:
        return lines_of(data, NAME, say)
    except Unreadable as error:
        raise UserError(f"What came by {NAME} cannot be read: {error}.", "Give text, UTF-8 if possible.") from None
