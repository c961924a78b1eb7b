"""Folders that are worked in: of one that is moved, removed or replaced meanwhile, nothing more is written."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from maquette.core.errors import UserError

_held: dict[Path, int] = {}  # folder -> its descriptor, which stays with it wherever it goes
_holders = Counter[Path]()  # blocks that hold it: within one another, or in threads, where the first may end first


class Gone(UserError):
    """A folder is no more where it was when the work in it began. moved: where it is now, if that can be told"""

    def __init__(self, folder: Path, moved: Path | None) -> None:
        self.moved = moved
        how = f"was moved to '{moved}'" if moved else "was removed, or is another folder now"
        super().__init__(
            f"'{folder}' {how} meanwhile; nothing more was written.",
            f"Name it where it is now: {moved}" if moved else "Leave it in its place until the work is done.",
        )


@contextlib.contextmanager
def held(folder: Path) -> Iterator[int]:
    """Remembers the folder itself for the block, not its name alone. Yields its descriptor."""
    if folder not in _held:
        try:
            _held[folder] = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            raise Gone(folder, None) from None
    _holders[folder] += 1
    try:
        yield _held[folder]
    finally:
        _holders[folder] -= 1
        if not _holders[folder]:
            os.close(_held.pop(folder))


def check_held(path: Path) -> Path | None:
    """The folder that is worked in and holds the path, if one does. Raises Gone where it is no more in its place."""
    base = next((folder for folder in (path, *path.parents) if folder in _held), None)
    if base is not None and not in_place(base):
        raise Gone(base, moved_to(_held[base]))
    return base


def in_place(folder: Path) -> bool:
    """Whether what has the name of a folder that is worked in is that very folder."""
    return is_open_at(folder, _held[folder])


def is_open_at(path: Path, handle: int) -> bool:
    """Whether what a descriptor was opened on has this path, now."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except OSError:
        return False


def moved_to(handle: int) -> Path | None:
    """Where what was opened is by now; None where it was removed, and where the system does not tell."""
    with contextlib.suppress(OSError):
        path = Path(f"/proc/self/fd/{handle}").readlink()
        if is_open_at(path, handle):
            here = Path.cwd()
            return path.relative_to(here) if path.is_relative_to(here) else path
    return None
