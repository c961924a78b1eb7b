"""What a server does beside what it serves: `maquette serve` over a run of pictures and one of texts, asked over HTTP.

    python benchmarks/serving.py --pictures runs/flow --texts runs/lm
    python benchmarks/serving.py --pictures runs/flow --texts runs/lm --only bytes
    MAQUETTE_EXAMPLES=200 python -m pytest tests/serve/test_serve_schema.py      # every operation, by schemathesis

bytes     requests with mixed labels, numbers and seeds, 16 at a time, beside `Run.sample` alone
pictures  a second, one request at a time and 16 (n = 1 each), beside one batch of 64 in process
texts     characters a second, one stream and 16
first     seconds to the first picture, and to the first token, of an idle server
overhead  64 pictures asked for at once, beside making and writing them in process
load      clients that ask for four times as much as there is room for: what is refused, and how fast; what is answered
abuse     sockets that send a byte a second, bodies that are too large, streams that are left: what good clients see of
          it, and what is left of it: files that are open, memory, files on the disk

Seconds of a processor are the server's (all of its threads); those by the clock depend on what else the machine does.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

import _run
import maquette

RUNS = """maquette train image/flow --data mnist --budget 5m -o runs/flow
maquette train text/lm --data "$MAQUETTE_DATA/tinyshakespeare" --budget 3m -o runs/lm"""
CLIENTS = 16
PICTURES, TEXTS = "/v1/images/generations", "/v1/completions"
CONNECTION = threading.local()


class Server:
    """A server in a process of its own."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], spool: Path) -> None:
        self.port, self.process, self.spool = port, psutil.Process(process.pid), spool

    def ask(self, path: str, **body: Any) -> tuple[int, bytes, float]:
        """Status, body, and seconds; over the connection of this thread."""
        began = time.perf_counter()
        for again in (True, False):
            kept = getattr(CONNECTION, "kept", None) or http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            CONNECTION.kept = kept
            try:
                kept.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
                answer = kept.getresponse()
                return answer.status, answer.read(), time.perf_counter() - began
            except (http.client.HTTPException, OSError):
                CONNECTION.kept = None
                if not again:
                    raise
        raise AssertionError

    def pictures(self, **body: Any) -> list[bytes]:
        status, content, _ = self.ask(PICTURES, model="flow", **body)
        assert status == 200, content
        return [base64.b64decode(one["b64_json"]) for one in json.loads(content)["data"]]

    def first(self, path: str, **body: Any) -> float:
        """Seconds to the first piece of a stream, which is then read to its end."""
        one = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        began = time.perf_counter()
        one.request("POST", path, json.dumps({**body, "stream": True}), {"Content-Type": "application/json"})
        answer = one.getresponse()
        answer.read1(1)
        took = time.perf_counter() - began
        answer.read()
        one.close()
        return took

    @property
    def seconds(self) -> float:
        """Of a processor, so far."""
        return sum(self.process.cpu_times()[:2])


@contextmanager
def served(runs: dict[str, Path], *options: str) -> Iterator[Server]:
    """A server over these runs."""
    with tempfile.TemporaryDirectory() as folder:
        for name, path in runs.items():
            shutil.copytree(path, Path(folder, "runs", name), ignore=shutil.ignore_patterns("checkpoints", "tracking"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        spool = Path(folder, "spool")
        spool.mkdir()
        command = [sys.executable, "-m", "maquette", "serve", f"{folder}/runs", "--port", str(port), *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(spool)})
        try:
            server = Server(port, process, spool)
            while True:
                try:
                    server.ask(PICTURES, model="flow", prompt="")
                    break
                except OSError:
                    assert process.poll() is None, "the server ended"
                    time.sleep(0.2)
            server.ask(TEXTS, model="lm", max_tokens=8)  # compiled once
            yield server
        finally:
            process.terminate()
            process.wait(60)


def rate(server: Server, jobs: list[Callable[[], int]], clients: int) -> str:
    """What so many clients get done."""
    began, cpu = time.perf_counter(), server.seconds
    with ThreadPoolExecutor(clients) as pool:
        made = sum(pool.map(lambda job: job(), jobs))
    took, cpu = time.perf_counter() - began, server.seconds - cpu
    return f"{made / took:9.1f} a second, {made / max(cpu, 1e-9):9.1f} a second of a processor"


def same_bytes(server: Server, flow: maquette.Run, lm: maquette.Run, few: int) -> None:
    asked = [("" if k % 5 == 4 else str(k % 10), 1 + k % 3, k % 97) for k in range(few)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        made = list(pool.map(lambda a: server.pictures(prompt=a[0], n=a[1], seed=a[2]), asked))
    right = 0
    with tempfile.TemporaryDirectory() as folder:
        for k, (label, n, seed) in enumerate(asked):
            given = {"label": label} if label else {}
            paths = flow.sample(n, seed=seed, quiet=True, **given).save(f"{folder}/{k}")
            right += made[k] == [path.read_bytes() for path in paths]
    print(f"bytes: pictures as `sample` writes them: {right:,} of {few:,} requests")

    def how(k: int) -> dict[str, Any]:
        return {"prompt": ("The ", "A", "")[k % 3], "max_tokens": 16 + k % 32, "temperature": (1.0, 0.7)[k % 2]}

    def write(k: int) -> str:
        return str(json.loads(server.ask(TEXTS, model="lm", echo=True, seed=k, **how(k))[1])["choices"][0]["text"])

    with ThreadPoolExecutor(CLIENTS) as pool:
        texts = list(pool.map(write, range(few)))
    alone = sum(write(k) == texts[k] for k in range(few))
    sampled = sum(lm.sample(1, seed=k, quiet=True, **how(k)).objects[0] == texts[k] for k in range(few))
    print(f"bytes: texts as alone: {alone:,}, as `sample` writes them: {sampled:,} of {few:,} requests")


def pictures(server: Server, flow: maquette.Run, few: int) -> None:
    def one() -> int:
        return len(server.pictures(prompt="", n=1))

    print(f"pictures: one at a time  {rate(server, [one] * max(few // 8, 2), 1)}")
    print(f"pictures: 16 clients     {rate(server, [one] * few, CLIENTS)}")
    began = time.process_time()
    flow.sample(64, quiet=True)
    print(f"pictures: in process, 64 {64 / (time.process_time() - began):9.1f} a second of a processor")


def texts(server: Server, few: int) -> None:
    def stream(seed: int) -> Callable[[], int]:
        def read() -> int:
            server.ask(TEXTS, model="lm", max_tokens=few, seed=seed, stream=True)
            return few

        return read

    print(f"texts: one stream        {rate(server, [stream(0)], 1)}")
    print(f"texts: 16 streams        {rate(server, [stream(k) for k in range(CLIENTS)], CLIENTS)}")


def first(server: Server, few: int) -> None:
    shown = [server.first(PICTURES, model="flow", prompt="", n=1) for _ in range(few)]
    written = [server.first(TEXTS, model="lm", prompt="The", max_tokens=4) for _ in range(few)]
    print(f"first: picture {1000 * statistics.median(shown):.0f} ms, token {1000 * statistics.median(written):.0f} ms")


def overhead(server: Server, flow: maquette.Run, few: int) -> None:
    cpu = server.seconds
    for seed in range(few):
        server.pictures(prompt="", n=64, seed=seed)
    cpu, began = server.seconds - cpu, time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(few):
            flow.sample(64, seed=seed, quiet=True).save(f"{folder}/{seed}")
    alone = time.process_time() - began
    print(f"overhead: {few} requests of 64: {cpu:.2f} s of a processor, in process {alone:.2f} s: {cpu / alone:.2f}")


def load(runs: dict[str, Path], seconds: float) -> None:
    with served(runs, "--queue", "16") as server:
        began, memory = time.monotonic(), server.process.memory_info().rss
        found: list[tuple[int, float]] = []

        def client(_: int) -> None:
            while time.monotonic() - began < seconds:
                status, _, took = server.ask(PICTURES, model="flow", prompt="", n=1)
                found.append((status, took))
                time.sleep(0.02 if status == 429 else 0)

        with ThreadPoolExecutor(4 * CLIENTS) as pool:
            list(pool.map(client, range(4 * CLIENTS)))
        grown = server.process.memory_info().rss - memory
    good, over = ([took for status, took in found if status == one] for one in (200, 429))
    odd = len(found) - len(good) - len(over)
    print(f"load: {len(good):,} answered, p99 {1000 * percentile(good):.0f} ms; {len(over):,} refused, p99 "
          f"{1000 * percentile(over):.0f} ms; {odd} other; memory {grown / 2**20:+.0f} MiB")  # fmt: skip


def abuse(server: Server, few: int) -> None:
    def good() -> list[float]:
        return [server.ask(PICTURES, model="flow", prompt="", n=1)[2] for _ in range(20)]

    quiet, stop = percentile(good(), 0.95), threading.Event()
    files, memory = server.process.num_fds(), server.process.memory_info().rss
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(min(200, few))]
    for one in slow:
        one.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")

    def drip() -> None:
        while not stop.wait(1):
            for one in slow:
                try:
                    one.sendall(b" ")
                except OSError:
                    continue

    threading.Thread(target=drip, daemon=True).start()
    busy = percentile(good(), 0.95)
    stop.set()
    for one in slow:
        one.close()

    def bad(k: int) -> None:
        if k % 3 == 0:
            server.ask(TEXTS, model="lm", prompt="x" * 10**6)
            return
        with socket.create_connection(("127.0.0.1", server.port)) as one:
            body = json.dumps({"model": "lm", "max_tokens": 500, "stream": True, "seed": k})
            one.sendall(f"POST {TEXTS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        f"Content-Length: {len(body)}\r\n\r\n{body}".encode())  # fmt: skip
            one.recv(100 if k % 3 == 1 else 1)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(bad, range(few)))
    time.sleep(2)
    left = [path for path in server.spool.rglob("*") if path.is_file()]
    print(f"abuse: good clients' p95 {1000 * quiet:.0f} ms, beside slow sockets {1000 * busy:.0f} ms; after {few:,} "
          f"bad requests: open files {server.process.num_fds() - files:+}, memory "
          f"{(server.process.memory_info().rss - memory) / 2**20:+.0f} MiB, files left {len(left)}")  # fmt: skip


def percentile(took: list[float], share: float = 0.99) -> float:
    return sorted(took)[min(len(took) - 1, int(share * len(took)))] if took else float("nan")


def main() -> None:
    parser = _run.Parser(__doc__, RUNS)
    parser.add_argument("--pictures", type=Path, default=Path("runs/flow"), help="a run of image/flow")
    parser.add_argument("--texts", type=Path, default=Path("runs/lm"), help="a run of text/lm")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=120, help="of load")
    parser.add_argument("--only", help="one of the above")
    args = parser.parse_args()
    flow, lm = (_run.opened(path, RUNS, args.smoke) for path in (args.pictures, args.texts))
    few, seconds = (12, 1.0) if args.smoke else (args.requests, args.seconds)
    runs = {"flow": flow.folder.path, "lm": lm.folder.path}
    print(_run.machine())
    asked = [args.only] if args.only else ["bytes", "pictures", "texts", "first", "overhead", "abuse", "load"]
    with served(runs) as server:
        for what, do in (
            ("bytes", lambda: same_bytes(server, flow, lm, few)),
            ("pictures", lambda: pictures(server, flow, min(few, 320))),
            ("texts", lambda: texts(server, min(few, 250))),
            ("first", lambda: first(server, min(few, 20))),
            ("overhead", lambda: overhead(server, flow, min(few, 8))),
            ("abuse", lambda: abuse(server, few)),
        ):
            if what in asked:
                do()
    if "load" in asked:
        load(runs, seconds)


if __name__ == "__main__":
    _run.command(main)
