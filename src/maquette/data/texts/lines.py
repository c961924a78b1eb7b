"""The lines of one file, for use rather than for training: as many as it has, in their order."""

from __future__ import annotations

from pathlib import Path

from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data.sources import Say
from maquette.data.texts.decode import Decoder


def read_lines(path: Path, say: Say = lambda text: None) -> list[str]:
    """Lines of a text file, plain or .gz, in any encoding that can be told; empty ones included.

    say: is told what was guessed of it or taken out
    """
    try:
        return lines_of(path.read_bytes(), path.name, say)
    except FileNotFoundError:
        raise UserError(f"There is no file '{path}'.", "Name a file of one text a line.") from None
    except (OSError, Unreadable) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"'{path}' cannot be read: {reason}.", "Give a text file, UTF-8 if possible.") from None


def lines_of(data: bytes, name: str, say: Say) -> list[str]:
    """The lines of a file's bytes; raises Unreadable with the place of the first byte that is no text."""
    decoder = Decoder()
    text = decoder.text(data, name)
    for note in decoder.notes():
        say(f"Note: {note}")
    return text.removesuffix("\n").split("\n") if text else []
