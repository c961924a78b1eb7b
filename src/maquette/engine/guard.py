"""What protects a run from people and from other processes: the lock on its folder, and Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

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


class CtrlC:
    """Within the block, the first Ctrl-C (or SIGTERM) only sets `pressed`; a second leaves at once."""

    def __init__(self) -> None:
        self.pressed = False
        self._before: dict[int, object] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            os._exit(130)
        self.pressed = True

    def __enter__(self) -> CtrlC:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
