"""Writing files so that nothing good is ever lost: same-folder temporary file, fsync, rename."""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.core.shown import cleaned


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder that becomes `path` on success and vanishes otherwise."""
    path = Path(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def ready(path: Path) -> Path:
    """The path, once the folder that it lies in is there."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
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
    """Turns the errors of a full disk and of missing rights into UserError; others pass."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"The disk is full: '{path}' was not written.", "Free some space; what was there before is untouched."
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(
                f"'{path}' cannot be written: {error.strerror}.", "Choose a folder you own with -o."
            ) from None
        raise
