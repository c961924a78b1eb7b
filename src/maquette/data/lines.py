"""The lines of one file, for use rather than for training: as many as it has, in their order."""

from __future__ import annotations

from pathlib import Path

from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data.decode import Decoder, parted
from maquette.data.raw import Notify


def read_lines(path: Path, notify: Notify = lambda message: None) -> list[str]:
    """Lines of a file, plain or .gz, in any encoding that can be told; empty ones included.

    notify: is told what was guessed of it or taken out
    """
    try:
        return lines_of(path.read_bytes(), path.name, notify)
    except FileNotFoundError:
        raise UserError(f"There is no file '{path}'.", "Name a file of one item a line.") from None
    except (OSError, Unreadable) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"'{path}' cannot be read: {reason}.", "Save it as UTF-8, if possible.") from None


def lines_of(data: bytes, name: str, notify: Notify) -> list[str]:
    """The lines of a file's bytes; raises Unreadable with the place of the first byte that is no character."""
    decoder = Decoder()
    characters = decoder.decode(data, name)
    for note in decoder.notes():
        notify(f"Note: {note}")
    return [parted(line, " ") for line in characters.removesuffix("\n").split("\n")] if characters else []
