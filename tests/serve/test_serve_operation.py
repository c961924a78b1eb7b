"""How a server behaves: keys, its line, clients that leave, memory, runs that change, and its end."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from served import Server, refused

PICTURES, TEXTS = "/v1/images/generations", "/v1/completions"


def until(true: Callable[[], object], seconds: float = 20) -> None:
    """Waits for it."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_health_metrics_and_docs(server: Server) -> None:
    assert server.http.get("/health").json() == {"status": "ok"}
    assert server.http.get("/ready").json()["status"] == "ready"
    server.post(PICTURES, model="flow", prompt="")
    counts = server.http.get("/metrics").text
    assert 'maquette_items_total{model="flow"}' in counts and "maquette_batch_size_bucket" in counts
    page = server.http.get("/docs").text
    assert "POST /v1/images/generations" in page and "://" not in page and "src=" not in page


def test_a_key_is_asked_for(serve: Callable[..., Server], runs: Path) -> None:
    server = serve(runs, api_key="secret")
    refused(server.http.get("/v1/models"), 401, "The API key is missing or wrong.")
    refused(server.http.get("/v1/models", headers={"Authorization": "Bearer secre"}), 401, "missing or wrong")
    assert server.http.get("/health").status_code == 200
    assert next(iter(server.openai.models.list())).id == "flow"


def test_what_is_over_the_line_is_refused_at_once(serve: Callable[..., Server], runs: Path) -> None:
    server = serve(runs, queue=8)
    threads = [threading.Thread(target=server.post, args=(TEXTS,), kwargs={"model": "lm", "max_tokens": 4000, "n": 8})]
    threads[0].start()
    until(lambda: [job.state for job in server.room.engine.jobs.values()] == ["in_progress"])
    began = time.monotonic()
    answer = server.post(PICTURES, model="flow", prompt="", n=4)
    refused(answer, 429, "try again in")
    for path, model in ((PICTURES, "flow"), (TEXTS, "lm")):
        server.refuses(path, 429, "try again in", model=model, n=4, stream=True)
    assert int(answer.headers["Retry-After"]) >= 1 and time.monotonic() - began < 5
    (job,) = server.http.get("/v1/jobs").json()["data"]  # those that were refused are not in it
    assert job["status"] == "in_progress" and job["size"] == 8 and job["place"] == 0
    assert server.http.delete(f"/v1/jobs/{job['id']}").json()["cancelled"]
    until(lambda: server.room.engine.depth == 0)
    threads[0].join(20)
    assert server.post(PICTURES, model="flow", prompt="", n=4).status_code == 200


@pytest.mark.parametrize(("path", "body"), [(TEXTS, {"model": "lm", "max_tokens": 4000}),
                                            (PICTURES, {"model": "flow", "steps": 1000, "n": 64})])  # fmt: skip
def test_what_is_stopped_is_no_success(server: Server, path: str, body: dict[str, object]) -> None:
    got: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: got.append(server.post(path, **body)))
    thread.start()
    until(lambda: server.room.engine.jobs)
    for job in list(server.room.engine.jobs):
        server.http.delete(f"/v1/jobs/{job}")
    thread.join(20)
    refused(got[0], 409, "The request was stopped.")


def test_a_client_that_leaves_frees_its_place(server: Server) -> None:
    engine = server.room.engine
    with server.http.stream("POST", TEXTS, json={"model": "lm", "max_tokens": 4000, "stream": True, "n": 4}) as answer:
        next(answer.iter_bytes())
        assert engine.depth == 4
    until(lambda: not engine.jobs)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(server.url + TEXTS, json={"model": "lm", "max_tokens": 4000, "n": 4}, timeout=0.5)
    until(lambda: not engine.jobs)
    until(lambda: not engine._lines)


def test_a_request_has_its_time(serve: Callable[..., Server], runs: Path) -> None:
    server = serve(runs, seconds=0.3)
    server.refuses(TEXTS, 504, "It took longer than 0.3 s.", model="lm", max_tokens=4000, n=64)
    until(lambda: not server.room.engine.jobs)


def test_who_says_nothing_takes_no_place(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from maquette.serve import start

    monkeypatch.setattr(start, "IDLE", 0.2)
    place = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    ask = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
    for said in (b"", ask, ask + b"\r\n" + ask):  # nothing; a head without its end; the same after an answer
        with socket.create_connection(place, timeout=20) as one:
            one.sendall(said)
            while one.recv(4096):  # until it is closed
                pass


def test_a_clip_that_is_deleted_leaves_no_file_and_has_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    from maquette.serve import clips
    from maquette.serve.settings import Settings

    settings = Settings(folder="", spool=str(tmp_path), seconds=0.1)
    room = SimpleNamespace(settings=settings, engine=SimpleNamespace(leave=lambda job: None))
    job = SimpleNamespace(id=f"video_{'0' * 32}", cancel=lambda: None)

    async def deleted(*_: object) -> AsyncIterator[tuple[int, bytes, dict[str, object]]]:
        clips._facts(settings, job.id).unlink()  # as another process does
        yield 0, b"GIF89a", {}

    async def endless(*_: object) -> AsyncIterator[tuple[int, bytes, dict[str, object]]]:
        await asyncio.sleep(60)
        yield 0, b"", {}

    def made(files: Callable[..., object]) -> None:
        facts = {"id": job.id, "output_format": "gif"}
        monkeypatch.setattr(clips.pictures, "files", files)
        clips._write(settings, facts)
        asyncio.run(clips._made(room, None, job, facts))  # type: ignore[arg-type]

    made(deleted)
    assert not list(tmp_path.iterdir())
    made(endless)
    assert clips._read(settings, job.id)["error"]["code"] == "timeout"


def test_bodies_have_a_limit(serve: Callable[..., Server], runs: Path) -> None:
    server = serve(runs, upload=1000)
    server.refuses(PICTURES, 413, "larger than 1,000 bytes", model="flow", prompt="x" * 2000)
    chunks = (b" " * 600 for _ in range(4))
    refused(server.http.post(PICTURES, content=chunks, headers={"Content-Type": "application/json"}), 413, "larger")


def test_runs_leave_memory_and_come_again(serve: Callable[..., Server], runs: Path) -> None:
    sizes = {name: (runs / name / "weights.safetensors").stat().st_size for name in ("flow", "more/gan", "lm")}
    server = serve(runs, memory=max(sizes.values()) + 1)
    for name in ("flow", "more/gan", "flow"):
        assert server.post(PICTURES, model=name, prompt="").status_code == 200
        assert server.room.catalogue.loaded[-1] == name
        assert server.room.catalogue.held <= server.room.settings.memory
    small = serve(runs, memory=100)
    small.refuses(PICTURES, 503, "larger than the memory", model="flow", prompt="")


def test_a_run_that_changes_is_read_again(
    serve: Callable[..., Server], runs: Path, trained: object, tmp_path: Path
) -> None:  # fmt: skip
    from maquette.core.run import RunFolder

    copied = trained.copy(runs / "flow", tmp_path / "flow")  # type: ignore[attr-defined]
    server = serve(tmp_path)
    before = server.post(PICTURES, model="flow", prompt="").json()["data"]
    folder = RunFolder(copied)
    folder.write_weights({name: value * 1.1 for name, value in folder.weights().items()}, step=20)
    assert server.post(PICTURES, model="flow", prompt="").json()["data"] != before


def test_the_log_has_no_prompts(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from maquette.serve import watch

    log = io.StringIO()
    monkeypatch.setattr(watch, "_OUT", log)
    server.post(TEXTS, model="lm", prompt="The cat", max_tokens=2)
    until(lambda: log.getvalue().endswith("\n"))
    line = json.loads(log.getvalue())
    assert line["path"] == TEXTS and line["model"] == "lm" and line["status"] == 200 and "The cat" not in str(line)


@pytest.mark.slow
def test_the_command_serves_and_ends_in_order(runs: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "maquette", "serve", str(runs), "--port", str(port)]
    (tmp_path / "spool").mkdir()
    here = {"OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path / "spool")}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **here})
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/ready", timeout=60).status_code == 200
        except httpx.TransportError:
            return False

    got: list[httpx.Response] = []

    def ask() -> None:
        got.append(httpx.post(url + TEXTS, json={"model": "lm", "max_tokens": 1500}, timeout=120))

    try:
        until(answers, 180)
        thread = threading.Thread(target=ask)
        thread.start()
        until(lambda: httpx.get(f"{url}/v1/jobs", timeout=60).json()["data"], 30)
        process.send_signal(signal.SIGTERM)
        thread.join(120)
        assert process.wait(40) == 0 and not list((tmp_path / "spool").glob("maquette-serve-*"))
        assert f"3 runs on {url}; what can be asked: {url}/docs" in (tmp_path / "log").read_text()
    finally:
        process.kill()
    assert got[0].status_code == 200 and got[0].json()["usage"]["completion_tokens"] == 1500
    refusal = subprocess.run([*command, "--host", "0.0.0.0"], capture_output=True, text=True)
    assert refusal.returncode == 2 and "Give one: --api-key" in refusal.stderr
