"""One try after another in a process of its own: what came of each, what it took, and what it touched."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from click import Abort, ClickException
from click.testing import CliRunner

from fuzz.mutations import mutated
from maquette.core.errors import Interrupted, UserError
from maquette.core.run import RunFolder

CPU_SECONDS, MEMORY = 10, 2 << 30
DETAIL = 10_000  # characters that are kept of an error
# Other ways to move a cursor, to turn the order of letters, or to end a line, than those that people expect.
_UNCLEAN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_MARKS = ("<script>alert(1)", "<img src=x onerror")


LOADING = ("load", "sample")  # verbs that make things of all that they read


@dataclass(frozen=True)
class Try:
    """One mutation of one file of a run, and the verb that meets it. sealed: the run's manifest is left as it is"""

    run: str
    file: str
    verb: str
    index: int
    seed: int

    def __str__(self) -> str:
        return f"{self.run}:{self.file}:{self.verb}:{self.index}"

    @property
    def sealed(self) -> bool:
        return self.index % 3 == 2


@dataclass(frozen=True)
class Outcome:
    """fault: what was wrong, "" where nothing was; detail: how it came about; peak: bytes of memory"""

    fault: str = ""
    detail: str = ""
    peak: int = 0
    seconds: float = 0.0


def serve(runs: Path, work: Path, tries: list[Try], channel: Connection) -> None:
    """Sends ("begins", try) before each try and ("ended", outcome) after it. One that takes too long on the processor
    ends this process by SIGPROF, whatever code it is in."""
    seen = _watch()
    with contextlib.suppress(OSError):
        _limit_memory()
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for one in tries:
        channel.send(("begins", one))
        seen.clear()
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        outcome = attempt(runs, work, one, seen)
        signal.setitimer(signal.ITIMER_PROF, 0)
        channel.send(("ended", outcome))


def attempt(runs: Path, work: Path, one: Try, seen: list[tuple[str, str]]) -> Outcome:
    """Mutates the file in a copy of the run, and gives that to the verb."""
    shutil.rmtree(work, ignore_errors=True)
    (shutil.copytree if (runs / one.run).is_dir() else shutil.copy)(runs / one.run, ready(work / one.run))
    folder = work / one.run
    content = (folder / one.file).read_bytes()
    listed = RunFolder(folder).manifest.listed() or {} if one.sealed else {}
    changed = mutated(content, one.file, Random(f"{one.seed}/{one}"))
    (folder / one.file).write_bytes(changed)
    if not one.sealed:
        for manifest in folder.rglob("manifest.json") if one.file != "manifest.json" else ():
            manifest.unlink()
    began = resource.getrusage(resource.RUSAGE_SELF)
    _forget_peak()
    seen.clear()
    said, error = "", None
    with contextlib.chdir(work), CliRunner().isolation() as streams:
        try:
            VERBS[one.verb](folder, runs / one.run, work)
        except (Exception, SystemExit) as raised:
            error = raised
        sys.stdout.flush()
        said = "".join(stream.getvalue().decode("utf-8", "replace") for stream in streams[:2])
    ended = resource.getrusage(resource.RUSAGE_SELF)
    fault = _fault(error, said, work, seen)
    if not fault and one.sealed and one.verb in LOADING and one.file in listed and _differs(content, changed):
        named = isinstance(error, UserError) or Path(one.file).name in said
        fault = "" if named else "changed beside its manifest, and nothing was said"
    detail = "".join(traceback.format_exception(error)) if error is not None else said
    spent = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    return Outcome(fault, detail[-DETAIL:] if fault else "", _peak(), spent)


def _fault(error: BaseException | None, said: str, work: Path, seen: list[tuple[str, str]]) -> str:
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate" in str(error)):
        return f"memory: {type(error).__name__} at {_place(error)}"
    if isinstance(error, UserError | Interrupted | ClickException | Abort | OSError | SystemExit):
        said += str(error)
    elif error is not None:
        return f"{type(error).__name__} at {_place(error)}"
    outside = [f"{event} {what}" for event, what in seen if not what.startswith(str(work))]
    if outside:
        return f"touched: {outside[0]}"
    if found := _UNCLEAN.search(said):
        return f"printed {found[0]!r}"
    page = next(work.glob("*/report.html"), None)
    text = page.read_text("utf-8") if page else ""
    return next((f"report holds {mark}" for mark in _MARKS if mark in text), "")


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "maquette" in frame.filename and "tests" not in Path(frame.filename).parts]
    last = (ours or frames)[-1]
    return f"{'/'.join(Path(last.filename).parts[-2:])}:{last.name}"


def _differs(content: bytes, changed: bytes) -> bool:
    """Whether more than line ends is another."""
    return content.replace(b"\r\n", b"\n") != changed.replace(b"\r\n", b"\n")


# -- what a verb does ------------------------------------------------------------------------------


def _line(*words: str) -> Callable[[Path, Path, Path], object]:
    """A command line: RUN, OTHER and OUT in it stand for the mutated run, the undamaged one, and a new path."""

    def verb(folder: Path, other: Path, work: Path) -> object:
        from maquette.cli.main import cli

        known = {"RUN": str(folder), "OTHER": str(other), "OUT": str(work / "out")}
        return cli.main([known.get(word, word) for word in words], prog_name="maquette", standalone_mode=False)

    return verb


def _load(folder: Path, other: Path, work: Path) -> object:
    import maquette

    run = maquette.load(folder, device="cpu")
    return run.recipe, run.spec, run.folder.data(), run.generator, run.history(), str(run)


def _resume(folder: Path, other: Path, work: Path) -> object:
    """Two steps, however many the recipe asks for."""
    import maquette

    steps = iter(range(9))
    return maquette.load(folder, device="cpu").resume(quiet=True, device="cpu", stop=lambda: next(steps) > 1)


VERBS: dict[str, Callable[[Path, Path, Path], object]] = {
    "load": _load,
    "sample": _line("sample", "RUN", "-n", "2", "-o", "OUT"),
    "report": _line("report", "RUN"),
    "watch": _line("watch", "RUN", "--once"),
    "resume": _resume,
    "compare": _line("compare", "RUN", "OTHER", "-o", "OUT/page.html"),
    "runs": _line("runs", "."),
    "evaluate": _line("evaluate", "RUN", "--samples", "16"),
    "inspect": _line("data", "inspect", "RUN"),
}


# -- what it took and touched ----------------------------------------------------------------------


def _watch() -> list[tuple[str, str]]:
    """A list that fills with what this process connects to, starts, executes, and writes."""
    seen: list[tuple[str, str]] = []
    changes = ("os.remove", "os.rename", "os.mkdir", "shutil.rmtree", "os.rmdir", "os.chmod")
    programs = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class")

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo"):
            seen.append((event, str(args[-1])))
            raise OSError("no network here")
        if event in programs:
            seen.append((event, str(args[0])))
        opened = event == "open" and isinstance(args[0], str) and (args[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        if opened or event in changes:
            path = str(Path(str(args[0])).absolute())
            if not path.startswith((os.environ["MAQUETTE_CACHE"], "/dev/", "/proc/self/")):
                seen.append((event, path))

    sys.addaudithook(hook)
    return seen


def _limit_memory() -> None:
    """Addresses that this process may take beyond those that it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Most bytes of memory since `_forget_peak`; where that is not known, of the whole process."""
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ready(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
