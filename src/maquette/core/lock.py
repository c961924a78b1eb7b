"""What protects a run from other processes: the lock on its folder."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from maquette.core.errors import UserError
from maquette.core.files import explained, write_text
from maquette.core.held import held
from maquette.core.leftovers import clear_leftovers


@contextlib.contextmanager
def sole_owner(lock_file: Path) -> Iterator[None]:
    """Holds the run folder for this process; the system frees it even after kill -9. What killed processes left in it
    half-written is cleared away.

    Raises UserError naming the process that holds it.
    """
    folder, owner = lock_file.parent, lock_file.with_name(".owner")
    lock = FileLock(lock_file)
    with held(folder) as handle:
        try:
            with explained(lock_file):
                lock.acquire(timeout=0)
        except Timeout:
            who = owner.read_text() if owner.exists() else "another process"
            raise UserError(
                f"'{folder}' is being trained by {who}.", "Wait for it or stop it; `maquette watch` follows it."
            ) from None
        try:
            write_text(owner, f"process {os.getpid()} on {socket.gethostname()}")
            clear_leftovers(folder, below=True)
            yield
        finally:
            with contextlib.suppress(OSError):
                os.unlink(owner.name, dir_fd=handle)  # wherever the folder is by now
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
