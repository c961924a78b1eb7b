"""What protects a run from people: Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType

from maquette.core.errors import SAID

SAME_PRESS = 0.2  # seconds


class CtrlC:
    """Within the block, the first Ctrl-C (or SIGTERM) only sets `pressed`; a second leaves at once.

    Of several processes each hears of one press twice: from the terminal, and from the one that started them; where
    that was killed, it is as if Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        self._pressed = False
        self._heard = 0.0
        self._parent = os.getppid() if SAID in os.environ else None
        self._before: dict[int, object] = {}

    @property
    def pressed(self) -> bool:
        """Whether training is to stop, with everything saved."""
        return self._pressed or (self._parent is not None and os.getppid() != self._parent)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._pressed and time.monotonic() - self._heard > SAME_PRESS:
            os._exit(130)
        if not self._pressed:
            self._pressed, self._heard = True, time.monotonic()

    def __enter__(self) -> CtrlC:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
