"""python -m fuzz: every file of small runs, mutated, against every verb that reads it; a table of what came of it."""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import Any

from fuzz import runs, worker
from fuzz.mutations import mutated
from fuzz.worker import Outcome, Try

WALL_SECONDS = 90  # of a try that sleeps, or shares its processor with many
# Which verbs read a file.
READ_BY = {
    "recipe.yaml": ("load", "sample", "report", "watch", "resume", "compare", "runs", "evaluate"),
    "spec.json": ("load", "sample", "report", "resume", "compare", "evaluate"),
    "assets/*": ("load", "sample", "report", "resume", "compare", "evaluate"),
    "weights.safetensors": ("load", "sample", "report", "compare", "runs", "evaluate"),
    "data.json": ("load", "sample", "report", "resume", "compare", "evaluate"),
    "metrics.json": ("report", "compare", "runs"),
    "log.jsonl": ("load", "report", "watch", "resume", "compare", "runs", "evaluate"),
    "checkpoints/*": ("resume",),
    "manifest.json": ("load", "sample", "report", "resume", "compare", "runs", "evaluate"),
    "samples/preview-*": ("report", "compare"),
}


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    options.add_argument("--tries", type=int, default=300, help="for each kind of file and verb")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--runs", default=",".join(runs.RUNS), help="which of the small runs")
    options.add_argument("--file", default="*", help="only files of such a name, e.g. 'log.jsonl'")
    options.add_argument("--verb", default="*", help="only this verb")
    options.add_argument("--only", default="", help="one try again, as it is named in a finding: RUN:FILE:VERB:INDEX")
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "maquette-fuzz")
    asked = options.parse_args()
    asked.work = asked.work.resolve()
    os.environ.setdefault("MAQUETTE_CACHE", str(asked.work / "cache"))
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "TORCHINDUCTOR_CACHE_DIR": os.environ["MAQUETTE_CACHE"]}
    began = time.monotonic()
    made = multiprocessing.get_context("spawn").Process(
        target=runs.make, args=(asked.work / "runs", asked.runs.split(","))
    )
    made.start()  # training leaves threads behind, which no process that is to fork may have
    made.join()
    if made.exitcode:
        return 1
    tries = _planned(asked)
    found: list[tuple[Try, Outcome]] = []
    try:
        for one, outcome in _all(tries, asked.work, asked.jobs):
            found.append((one, outcome))
            if len(found) % 500 == 0:
                print(f"{len(found):,} of {len(tries):,} tries", file=sys.stderr, flush=True)
            if outcome.fault:
                _keep(one, outcome, asked.work)
                print(f"{one}  {outcome.fault}", outcome.detail if asked.only else "", file=sys.stderr, flush=True)
    except KeyboardInterrupt:  # it takes hours: what was found until now counts
        print("Stopped.", file=sys.stderr)
    faults = [(one, outcome) for one, outcome in found if outcome.fault]
    print(_table(found))
    print(_kinds(faults))
    minutes = (time.monotonic() - began) / 60
    print(f"{len(found):,} tries, {len(faults):,} faults, {minutes:.1f} minutes; seed {asked.seed}.")
    if faults:
        print(f"Files and causes: {asked.work / 'findings'}. Again: python -m fuzz --seed {asked.seed} --only <name>")
    return 1 if faults else 0


def _planned(asked: Any) -> list[Try]:
    if asked.only:
        run, file, verb, index = asked.only.rsplit(":", 3)
        return [Try(run, file, verb, int(index), asked.seed)]
    files: dict[str, list[tuple[str, str]]] = defaultdict(list)  # by pattern: those of each run, in turn
    for run in asked.runs.split(","):
        folder = asked.work / "runs" / run
        for pattern in READ_BY:
            files[pattern] += [
                (run, str(path.relative_to(folder)))
                for path in sorted(folder.glob(pattern + "/*" * (pattern == "checkpoints/*")))
            ]
    return [
        Try(*found[index % len(found)], verb, index // len(found), asked.seed)
        for pattern, found in files.items()
        if found and (fnmatch(pattern, asked.file) or asked.file == "*")
        for verb in READ_BY[pattern]
        if fnmatch(verb, asked.verb)
        for index in range(asked.tries)
    ]


def _all(tries: list[Try], work: Path, jobs: int) -> Iterator[tuple[Try, Outcome]]:
    """What came of each try. Those that crash or hang take a process with them, and another one goes on."""
    _import_all()
    waiting = [deque(tries[n::jobs]) for n in range(jobs)]
    busy: dict[Connection, _Worker] = {}
    for n, own in enumerate(waiting):
        if own:
            started = _Worker(n, own, work)
            busy[started.channel] = started
    while busy:
        ready = wait(list(busy), timeout=1)
        for channel, one in list(busy.items()):
            if channel in ready:
                yield from one.receive()
            elif one.current and time.monotonic() - one.began > WALL_SECONDS:
                one.process.kill()
            if one.ended:
                del busy[channel]
                if one.tries:
                    started = _Worker(one.number, one.tries, work)
                    busy[started.channel] = started


class _Worker:
    """A process that goes through tries, until it is through or one ends it."""

    def __init__(self, number: int, tries: deque[Try], work: Path) -> None:
        self.number, self.tries = number, tries
        self.channel, theirs = multiprocessing.Pipe(duplex=False)
        args = (work / "runs", work / f"try-{os.getpid()}-{number}", list(tries), theirs)
        self.process = multiprocessing.get_context("fork").Process(target=worker.serve, args=args, daemon=True)
        self.process.start()
        theirs.close()
        self.current: Try | None = None
        self.began = 0.0
        self.ended = False

    def receive(self) -> Iterator[tuple[Try, Outcome]]:
        try:
            word, value = self.channel.recv()
        except EOFError:
            self.process.join()
            self.ended = True
            if self.current is not None:
                code = self.process.exitcode or 0
                hung = code in (-signal.SIGPROF, -signal.SIGKILL)
                yield self.tries.popleft(), Outcome("hang" if hung else f"crash: exit {code}")
            return
        if word == "begins":
            self.current, self.began = value, time.monotonic()
        else:
            self.current = None
            yield self.tries.popleft(), value


def _import_all() -> None:
    """What verbs import when they need it, once for all processes."""
    for name in ("accelerate", "matplotlib.pyplot", "plotly", "scipy.stats", "seaborn", "sklearn.decomposition",
                 "tokenizers", "maquette.api", "maquette.evaluation", "maquette.report"):  # fmt: skip
        importlib.import_module(name)


def _keep(one: Try, outcome: Outcome, work: Path) -> None:
    """The mutated file, and why it is kept."""
    folder = work / "findings" / str(one).replace("/", "_")
    folder.mkdir(parents=True, exist_ok=True)
    content = (work / "runs" / one.run / one.file).read_bytes()
    (folder / Path(one.file).name).write_bytes(mutated(content, one.file, Random(f"{one.seed}/{one}")))
    (folder / "why.txt").write_text(f"{one}\nseed {one.seed}\n{outcome.fault}\n\n{outcome.detail}", "utf-8", "replace")


def _table(found: Iterable[tuple[Try, Outcome]]) -> str:
    rows: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for one, outcome in found:
        pattern = next(pattern for pattern in READ_BY if fnmatch(one.file, pattern))
        rows[pattern, one.verb].append(outcome)
    lines = [f"{'file':22}{'verb':10}{'tries':>6}{'faults':>8}{'hangs':>7}{'peak MB':>9}{'slowest s':>11}"]
    for (file, verb), some in rows.items():
        hangs = sum(outcome.fault == "hang" for outcome in some)
        faults = sum(bool(outcome.fault) for outcome in some) - hangs
        peak, slowest = max(outcome.peak for outcome in some), max(outcome.seconds for outcome in some)
        lines.append(f"{file:22}{verb:10}{len(some):6}{faults:8}{hangs:7}{peak / 1e6:9.0f}{slowest:11.1f}")
    return "\n".join(lines)


def _kinds(faults: list[tuple[Try, Outcome]]) -> str:
    """Each kind of fault once: how often, and the first try that has it."""
    kinds: dict[str, list[Try]] = defaultdict(list)
    for one, outcome in faults:
        kinds[f"{one.file.rpartition('/')[2]}: {outcome.fault}"].append(one)
    some = sorted(kinds.items(), key=lambda item: -len(item[1]))
    return "\n".join(f"{len(tries):5}  {kind}    e.g. {tries[0]}" for kind, tries in some)


if __name__ == "__main__":
    sys.exit(main())
