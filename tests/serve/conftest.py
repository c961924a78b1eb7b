"""A server on a free port of this machine, over runs of a few steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="maquette[serve] is not installed")
pytest.importorskip("openai", reason="openai is not installed")

import uvicorn
from served import Server

from maquette.serve.app import create
from maquette.serve.settings import Settings
from maquette.serve.start import Impatient
from trained import Trained

STORY = "The cat sleeps by the sea. A dog runs by the river.\nOur horse waits in the old town, and sings.\n" * 60


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long text."""
    path = tmp_path_factory.mktemp("serve") / "story.txt"
    path.write_text(STORY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def runs(trained: Trained, story: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: pictures by two families, and texts."""
    folder = tmp_path_factory.mktemp("serve") / "runs"
    small = ("model.width=32", "model.layers=1", "model.heads=2", "train.batch_size=8", "data.text.context=32")
    trained.copy(trained("image/flow", "digits", "model.width=16", steps=4), folder / "flow")
    trained.copy(trained("image/gan", "digits", "model.width=8", steps=4), folder / "more" / "gan")
    trained.copy(trained("text/lm", story, *small, steps=4), folder / "lm")
    return folder


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts a server over a folder of runs, with these settings."""
    began: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(runs: Path, **settings: Any) -> Server:
        app = create(Settings(folder=str(runs), spool=str(tmp_path_factory.mktemp("spool")), **settings))
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False, http=Impatient))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        began.append((server, thread))
        until = time.monotonic() + 30
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        return Server(f"http://127.0.0.1:{port}", app.app.state.room, runs)

    yield start
    for server, thread in began:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server], runs: Path) -> Server:
    """One over all of the runs."""
    server = serve(runs)
    server.http.post("/v1/completions", json={"model": "lm"}, timeout=300)  # the first token of all is compiled
    return server
