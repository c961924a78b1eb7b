"""How soon things begin: `maquette --help`, and the first step of a training on prepared data; its peak memory.

    MAQUETTE_DATA=... python benchmarks/startup.py
    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=1 python benchmarks/startup.py    # of a slow core

Seconds by the clock and of the CPU, from the command to the end of the first step; the median of three, after a first
one that prepares the data and measures how fast the recipe trains.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

import _run
from maquette.core.errors import MaquetteError

LENGTHS = (["--steps", "100000"], ["--budget", "5m"])
MAQUETTE = [sys.executable, "-m", "maquette"]


def help_seconds() -> float:
    times = []
    for _ in range(7):
        began = time.perf_counter()
        subprocess.run([*MAQUETTE, "--help"], capture_output=True, check=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def first_step(recipe: str, data: str, length: list[str], out: Path, env: dict[str, str]) -> tuple[float, float, float]:
    """Seconds from the command to the end of the first step, by the clock and of the CPU, and peak memory in GiB."""
    command = [*MAQUETTE, "train", recipe, "--data", data, "-o", str(out), *length, "-q",
               "train.log_every=1", "train.trackers=[]"]  # fmt: skip
    began = time.perf_counter()
    process = subprocess.Popen(command, env=env)
    log = out / "log.jsonl"
    while not (log.exists() and any(json.loads(x).get("step") == 1 for x in log.read_text().splitlines()[:4])):
        if process.poll() is not None:
            raise MaquetteError("The training ended before its first step.")
        time.sleep(0.005)
    seconds, watched = time.perf_counter() - began, psutil.Process(process.pid)
    cpu = watched.cpu_times()
    memory = watched.memory_info().rss / 2**30
    process.send_signal(signal.SIGINT)
    process.wait()
    return seconds, cpu.user + cpu.system, memory


def main() -> None:
    args = _run.Parser(__doc__).parse_args()
    text = str(_run.data("tinyshakespeare", "input.txt"))
    cases, lengths, times = (("image/gan", "mnist"), ("image/flow", "mnist"), ("text/lm", text)), LENGTHS, 4
    if args.smoke:
        cases, lengths, times = cases[:1], LENGTHS[:1], 2
    print(f"{_run.machine()}\nmaquette --help  {help_seconds():.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "MAQUETTE_CACHE": f"{folder}/cache"}
        for recipe, data in cases:
            for length in lengths:
                name = Path(folder) / f"{recipe}{length[0]}".replace("/", "-")
                first, *later = (first_step(recipe, data, length, Path(f"{name}-{i}"), env) for i in range(times))
                clock, cpu, memory = (statistics.median(values) for values in zip(*later, strict=True))
                print(f"{recipe:10} {' '.join(length):14}  first {first[0]:5.2f} s (CPU {first[1]:5.2f})  "
                      f"later {clock:5.2f} s (CPU {cpu:5.2f})  memory {memory:.2f} GiB", flush=True)  # fmt: skip


if __name__ == "__main__":
    _run.command(main)
