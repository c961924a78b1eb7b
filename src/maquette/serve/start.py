"""Starts the processes that answer, and ends them in order."""

from __future__ import annotations

import os
import tempfile

import uvicorn

from maquette.serve.settings import Settings

GRACE = 30  # seconds that what is in flight may take once the server is told to end
IDLE = 30  # seconds that a connection is kept open
CONNECTIONS = 1024


def serve(host: str, port: int, settings: Settings) -> None:
    """Serves until it is told to end."""
    with tempfile.TemporaryDirectory(prefix="maquette-serve-") as spool:
        settings = settings.model_copy(update={"spool": spool})
        if settings.workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = spool  # read when its package is imported
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // settings.workers)))
        # Of what is sent: a small file must not become large.
        os.environ.setdefault("MAQUETTE_DECODE_LIMIT", str(4 * settings.pixels))
        settings.hand_on()
        uvicorn.run(
            "maquette.serve.app:create", factory=True, host=host, port=port, workers=settings.workers,
            access_log=False, log_level="warning", server_header=False, timeout_graceful_shutdown=GRACE,
            timeout_keep_alive=IDLE, limit_concurrency=CONNECTIONS, h11_max_incomplete_event_size=16_384,
        )  # fmt: skip
