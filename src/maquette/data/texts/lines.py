"""The lines of one file, for use rather than for training: as many as it has, in their order."""

from __future__ import annotations

from pathlib import Path

from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data.texts.decode import Decoder


def read_lines(path: Path) -> list[str]:
    """Lines of a text file, plain or .gz, in any encoding that can be told; empty ones included."""
    try:
        text = Decoder().text(path.read_bytes(), path.name)
    except FileNotFoundError:
        raise UserError(f"There is no file '{path}'.", "Name a file of one text a line.") from None
    except (OSError, Unreadable) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"'{path}' cannot be read: {reason}.", "Give a text file, UTF-8 if possible.") from None
    return text.removesuffix("\n").split("\n") if text else []
