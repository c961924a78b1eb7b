"""Writing files so that nothing good is ever lost: same-folder temporary file, fsync, rename."""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.core.held import check_held
from maquette.core.leftovers import claimed, clear_leftovers
from maquette.core.shown import cleaned


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder, which has to be there, that becomes `path` on success and vanishes
    otherwise."""
    path = Path(path)
    with explained(path):
        clear_leftovers(path.parent)
        with claimed(path.parent, path.name, folder=False) as temporary:
            yield temporary
            sync(temporary)
            check_held(path)
            temporary.replace(path)
            sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path` that becomes `path` on success, in the place of what was there, and
    vanishes otherwise. What is in it has to be synced."""
    with explained(path), temporary_folder(path.parent, path.name) as temporary:
        yield temporary
        check_held(path)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
        sync(path.parent)


@contextlib.contextmanager
def temporary_folder(parent: Path, name: str = "folder") -> Iterator[Path]:
    """A folder of its own in `parent`, gone afterwards; those of processes that were killed are cleared away."""
    clear_leftovers(parent)
    with claimed(parent, name, folder=True) as path:
        yield path


def make_folder(folder: Path) -> Path:
    """The folder, once it is there; below one that is worked in, nothing is made that leads to that."""
    with explained(folder):
        if (base := check_held(folder)) is None:
            folder.mkdir(parents=True, exist_ok=True)
        else:
            for part in reversed([one for one in (folder, *folder.parents) if base in one.parents]):
                part.mkdir(exist_ok=True)
    return folder


def expanded(path: str | Path) -> Path:
    """The path, `~` in it replaced; where nobody is of that name, as it is: a received file may say anything."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - that of pathlib raises


def ready(path: Path) -> Path:
    """The path, once the folder that it lies in is there."""
    make_folder(path.parent)
    return path


def write_text(path: Path, content: str) -> Path:
    """Writes UTF-8, packed where the name ends in .gz."""
    data = content.encode("utf-8")
    with atomic(path) as temporary:
        temporary.write_bytes(gzip.compress(data, mtime=0) if path.suffix.lower() == ".gz" else data)
    return path


def write_json(path: Path, value: Any) -> Path:
    """Writes a JSON-able value, indented, as UTF-8; returns the path."""
    return write_text(path, to_json(value))


def to_json(value: Any) -> str:
    """A JSON-able value as our files have it: indented, every letter as it is."""
    return cleaned(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=True)) + "\n"


def stats_within(path: Path) -> list[os.stat_result]:
    """What the system says of a file, or of each file in a folder and below it; not of what goes meanwhile."""
    found = []
    for file in (path, *path.rglob("*")):
        with contextlib.suppress(OSError):
            found.append(file.lstat())
    return [one for one in found if not stat.S_ISDIR(one.st_mode)]


def sync(path: Path) -> None:
    """Flushes a file or a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what a disk or a system says into UserError: no room, no rights, a folder that is gone, a disk that fails.

    What is raised about other files passes, and what has no number of the system's.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        check_held(path)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"The disk is full: '{path}' was not written.", "Free some space; what was there before is untouched."
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(
                f"'{path}' cannot be written: {error.strerror}.",
                "Name a folder you may write in: -o, or MAQUETTE_CACHE for what is kept.",
            ) from None
        if error.filename is None or Path(str(error.filename)).parent in (path, path.parent, path.parent.parent):
            raise UserError(
                f"'{path}' was not written: {error.strerror}.",
                "Look after that folder and its disk; what was there before is untouched.",
            ) from None
        raise
