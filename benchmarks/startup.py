"""How soon things begin: `maquette --help`, and the first step of a training on 60,000 pictures; its peak memory.

MAQUETTE_DATA=... python benchmarks/startup.py
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

MAQUETTE = [sys.executable, "-m", "maquette"]


def help_seconds() -> float:
    times = []
    for _ in range(7):
        began = time.perf_counter()
        subprocess.run([*MAQUETTE, "--help"], capture_output=True, check=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def first_step_seconds(out: Path, env: dict[str, str]) -> tuple[float, float]:
    """Seconds from the command to the end of the first step, and the peak memory in GiB after half a minute."""
    command = [*MAQUETTE, "train", "image/gan", "--data", "mnist", "-o", str(out), "--steps", "100000", "-q",
               "train.log_every=1", "train.trackers=[]"]  # fmt: skip
    began = time.perf_counter()
    process = subprocess.Popen(command, env=env)
    log = out / "log.jsonl"
    while not (log.exists() and any(json.loads(x).get("step") == 1 for x in log.read_text().splitlines()[:4])):
        if process.poll() is not None:
            raise SystemExit("training ended before its first step")
        time.sleep(0.005)
    seconds = time.perf_counter() - began
    time.sleep(30)
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 2**20
    process.send_signal(signal.SIGINT)
    process.wait()
    return seconds, peak


def main() -> None:
    print(f"maquette --help                     {help_seconds():.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "MAQUETTE_CACHE": f"{folder}/cache"}
        first, _ = first_step_seconds(Path(folder) / "first", env)
        later = [first_step_seconds(Path(folder) / f"later-{i}", env) for i in range(3)]
        print(f"MNIST by name, first time to step 1  {first:.2f} s")
        print(f"MNIST by name, later to step 1       {statistics.median(s for s, _ in later):.2f} s")
        print(f"peak memory of that training         {max(m for _, m in later):.2f} GiB")


if __name__ == "__main__":
    main()
