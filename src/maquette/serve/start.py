"""Starts the processes that answer, and ends them in order."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.supervisors import Multiprocess

from maquette.core.run import run_paths
from maquette.serve.settings import Settings

GRACE = 30  # seconds that what is in flight may take once the server is told to end
IDLE = 30  # seconds that a connection is kept open, and in which the head of a request must have come
CONNECTIONS = 1024


def serve(host: str, port: int, settings: Settings) -> None:
    """Serves until it is told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # once uvicorn is done it sends itself the signal again
    with tempfile.TemporaryDirectory(prefix="maquette-serve-") as spool:
        settings = settings.model_copy(update={"spool": spool})
        if settings.workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = spool  # read when its package is imported
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // settings.workers)))
        # Of what is sent: a small file must not become large.
        os.environ.setdefault("MAQUETTE_DECODE_LIMIT", str(4 * settings.pixels))
        settings.hand_on()
        config = uvicorn.Config(
            "maquette.serve.app:create", factory=True, host=host, port=port, workers=settings.workers, http=Impatient,
            access_log=False, log_level="warning", server_header=False, timeout_graceful_shutdown=GRACE,
            timeout_keep_alive=IDLE, limit_concurrency=CONNECTIONS, h11_max_incomplete_event_size=16_384,
        )  # fmt: skip
        bound = config.bind_socket()
        bound.listen(config.backlog)  # who comes before all is loaded waits
        address = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
        runs = len(list(run_paths(Path(settings.folder))))
        print(f"{runs} run{'s' * (runs != 1)} on {address}; what can be asked: {address}/docs", file=sys.stderr)
        with contextlib.suppress(KeyboardInterrupt):
            if settings.workers > 1:
                Multiprocess(config, [bound]).run()
            else:
                uvicorn.Server(config).run([bound])


class Impatient(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """A connection that ends where it begins no request for IDLE seconds: who says nothing takes nobody's place."""

    def connection_made(self, transport: Any) -> None:
        """Of asyncio."""
        super().connection_made(transport)
        self._silence: Any = None  # a timer
        self._listen()

    def connection_lost(self, exc: Exception | None) -> None:
        """Of asyncio."""
        super().connection_lost(exc)
        if self._silence is not None:
            self._silence.cancel()

    def on_response_complete(self) -> None:
        """Of uvicorn: the next request may come, slowly or not at all."""
        super().on_response_complete()
        self._listen()

    def _listen(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
        self._silence = self.loop.call_later(IDLE, self._heard)

    def _heard(self) -> None:
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()
