"""Files and folders under way: named so that they can be told from everything else, and locked while they are written,
so that those which a killed process left behind can be told from those of a living one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from maquette.core.held import is_open_at, moved_to

MARK = ".maquette-"
# Ours, of earlier versions too: `.recipe.yaml.k3j_2h1x.yaml`, `.writing-k3j_2h1x` and `.part-k3j_2h1x`. By the names of
# our files alone, since other programs have names like these.
_OURS = re.compile(
    re.escape(MARK) + r"[0-9a-f]{8}-.+|\.(writing|part)-[a-z0-9_]{8}"
    r"|\.(recipe\.yaml|(spec|data|metrics)\.json|weights\.safetensors|log\.jsonl|report\.html|README\.md)\.[a-z0-9_]{8}\.\w+"
)
LONGEST = 200  # bytes of a name's end: with the mark it is a name that any system takes
STALE_SECONDS = 24 * 3600  # for what no lock tells of, such as on a network disk without locks
_cleared: set[Path] = set()


@contextlib.contextmanager
def claimed(parent: Path, name: str, folder: bool) -> Iterator[Path]:
    """A new file or folder in `parent`, with the rights that the user's new files have; gone afterwards, unless it was
    given another name."""
    handle = None
    while handle is None:
        path = marked(parent, name)
        if folder:
            path.mkdir()
        try:
            handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileNotFoundError:
            if folder:  # cleared away before it was open
                continue
            raise
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        if not is_open_at(path, handle):  # cleared away before it was locked
            os.close(handle)
            handle = None
    try:
        yield path
    finally:
        now = path if is_open_at(path, handle) else moved_to(handle)  # the folder around it may have been moved
        if now is not None and now.name == path.name:
            remove(now)
        os.close(handle)


def marked(parent: Path, name: str) -> Path:
    """A path in `parent` that nothing has, by which all know that what will have this name is under way, or going."""
    end = name.encode(errors="ignore")[-LONGEST:].decode(errors="ignore")
    return parent / f"{MARK}{secrets.token_hex(4)}-{end}"


def is_leftover(path: Path) -> bool:
    """Whether a path is one of ours under way, by its name; a living process may still write it."""
    return _OURS.fullmatch(path.name) is not None


def clear_leftovers(folder: Path, below: bool = False) -> None:
    """Removes what killed processes left half-written in a folder, once a process. below: in all folders in it, too"""
    if not below and folder in _cleared:
        return
    _cleared.add(folder)
    with contextlib.suppress(OSError):
        found = folder.rglob(".*") if below else folder.glob(".*")
        for path in [path for path in found if is_leftover(path)]:
            remove_abandoned(path)


def remove_abandoned(path: Path) -> bool:
    """Removes what is under way no more, and says whether it did. Whoever writes it holds its lock; where
    none tells, as on some network disks and of what earlier versions left, it has to be old."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_NOFOLLOW | (os.O_RDONLY if path.is_dir() else os.O_RDWR))
        try:
            if (path.name.startswith(MARK) and free(handle)) or time.time() - path.stat().st_mtime > STALE_SECONDS:
                remove(path)
                return True
        finally:
            os.close(handle)
    return False


def free(handle: int) -> bool:
    """Takes the lock of an open file or folder, and says whether it was to be had: not where the disk knows no locks.
    Raises BlockingIOError where somebody holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EBADF, errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            return False
        raise
    return True


def remove(path: Path) -> None:
    """Removes a file, a link or a folder with all that is in it; what is not there is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
