"""What protects a run from other processes: the lock on its folder."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from maquette.core.errors import UserError


@contextlib.contextmanager
def sole_owner(lock_file: Path) -> Iterator[None]:
    """Holds the run folder for this process; the system frees it even after kill -9.

    Raises UserError naming the process that holds it.
    """
    owner = lock_file.with_name(".owner")
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = owner.read_text() if owner.exists() else "another process"
        raise UserError(
            f"'{lock_file.parent}' is being trained by {who}.", "Wait for it or stop it; `maquette watch` follows it."
        ) from None
    try:
        owner.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def is_owned(lock_file: Path) -> bool:
    """Whether a process holds a run folder; changes nothing."""
    if not lock_file.with_name(".owner").is_file():
        return False
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lock.release()
    return False  # the process was killed, and could not clear away
