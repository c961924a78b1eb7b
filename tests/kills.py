"""kill -9 at every kind of moment: whether the next command goes on as if nothing had been, and nothing stays behind.

    python tests/kills.py --kills 120          prints a table: kills and faults, by family and verb

A command runs in a forked process that kills itself before its n-th change of the disk (a rename, a new file or folder,
a removal, an fsync), n drawn at random; or it is killed from outside at a random moment. A killed training is resumed,
perhaps killed again, and must come to the weights of one that nobody killed, bit by bit; any other verb is said again.
Afterwards a sample can be made, and no file or folder of ours that was under way is left in the run or the cache.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

QUICK = ("train.trackers=[]", "train.precision=fp32", "train.compile=off", "train.preview_items=4", "train.device=cpu",
         "train.checkpoint_seconds=0.001", "train.log_every=2", "train.preview_every=3",
         "train.batch_size=16")  # fmt: skip
SMALL = ("model.width=16", "model.layers=1", "model.heads=2")
STEPS = 4
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.ENOTEMPTY, errno.ESTALE)
CHANGES = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.link", "os.truncate"}
RECIPES = {
    "gan": ("image/gan-mlp", "digits", ()),
    "vae": ("image/vae-mlp", "digits", ()),
    "flow": ("image/flow", "digits", ("model.width=16", "model.deep=16", "model.deep_blocks=1")),
    "lm": ("text/lm", "story.txt", SMALL),
}


@dataclass
class Ended:
    """A command that ended. changes: of the disk, as many as there were"""

    code: int
    said: str
    changes: int = 0

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


@dataclass
class Failing:
    """A disk that fails at its at-th change, and with `on` at all that follow."""

    at: int
    error: int
    on: bool


def command(
    *words: str | Path, kill_at: int | None = None, kill_after: float | None = None, fail: Failing | None = None
) -> Ended:
    """The command line in a forked process. kill_at: before which change of the disk; kill_after: seconds"""
    with tempfile.TemporaryFile("w+b") as said, tempfile.TemporaryFile("w+b") as counted:
        pid = os.fork()
        if not pid:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            _watch(kill_at, counted.fileno(), fail)
            _run([str(word) for word in words])
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said.seek(0)
        return Ended(code, said.read().decode(errors="replace"), os.fstat(counted.fileno()).st_size)


def _watch(kill_at: int | None, counted: int, fail: Failing | None) -> None:
    """Counts the changes of the disk, by a byte for each, and ends this process before one of them, or lets it fail."""
    own = os.getpid()

    def change(name: object) -> None:
        if os.getpid() == own:
            os.write(counted, b".")
            number = os.fstat(counted).st_size
            if number == kill_at:
                os.kill(own, signal.SIGKILL)
            if fail and (number == fail.at or (fail.on and number > fail.at)):
                raise OSError(fail.error, os.strerror(fail.error), name)

    def heard(event: str, args: tuple[object, ...]) -> None:
        if event in CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & os.O_CREAT):
            change(args[0])

    sync = os.fsync

    def fsync(handle: int) -> None:
        change(None)
        sync(handle)

    os.fsync = fsync
    sys.addaudithook(heard)


def _run(words: list[str]) -> None:
    code = 1
    try:
        code = here(*words)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def here(*words: str | Path) -> int:
    """The command line in this process, which has imported what it needs then."""
    from maquette.cli.main import main

    sys.argv = ["maquette", *map(str, words)]
    try:
        main()
    except SystemExit as left:
        return int(left.code or 0)


# -- one run, and what is to be true of it afterwards ------------------------------------------------


class Shelf:
    """A family with a run that nobody killed, which others are compared with."""

    def __init__(self, family: str, folder: Path) -> None:
        recipe, data, settings = RECIPES[family]
        self.family, self.folder, self.number = family, folder / family, itertools.count()
        self.folder.mkdir()
        if data == "story.txt":
            source = self.folder / data
            words = random.Random(0).choices(
                ("the", "old", "house", "stood", "by", "a", "river", "and", "nobody"), k=3000
            )
            source.write_text(" ".join(words) + ".\n")
            data = str(source)
        self.train = ("train", recipe, "--data", data, "--steps", str(STEPS), "-q", *QUICK, *settings)
        self.whole = self.folder / "whole"
        with contextlib.redirect_stdout(io.StringIO()):
            here(*self.train, "-o", self.folder / "first")
            for verb in ("sample", "evaluate", "report"):
                here(verb, self.folder / "first", "-q", *(["-n", "64"] if verb == "evaluate" else []))
        self.changes = {"train": done(command(*self.train, "-o", self.whole)).changes}
        self.weights = digest(self.whole)

    def copy(self, of: Path | None = None) -> Path:
        return Path(shutil.copytree(of or self.whole, self.folder / f"run-{next(self.number)}"))

    def new(self) -> Path:
        return self.folder / f"run-{next(self.number)}"

    def check(self, run: Path) -> None:
        """Raises AssertionError where a run is not as if nobody had killed anything."""
        assert digest(run) == self.weights, "other weights"
        done(command("sample", run, "-n", "1", "-q", "-o", run.with_name(f"{run.name}-samples")))
        left = [path for root in (run, cache()) for path in under_way(root)]
        assert not left, f"left behind: {left}"


def done(ended: Ended) -> Ended:
    assert ended.code == 0, f"exit {ended.code}: {ended.said[-600:]}"
    return ended


def digest(run: Path) -> str:
    """Of the tensors of the weights and the newest checkpoint."""
    import hashlib

    from safetensors.numpy import load_file

    found = hashlib.sha256()
    for file in (run / "weights.safetensors", sorted(run.glob("checkpoints/step-*"))[-1] / "state.safetensors"):
        for name, value in sorted(load_file(file).items()):
            found.update(name.encode() + value.tobytes())
    return found.hexdigest()


def cache() -> Path:
    return Path(os.environ["MAQUETTE_CACHE"])


def under_way(root: Path) -> Iterator[Path]:
    from maquette.core.leftovers import is_leftover

    return (path for path in root.rglob("*") if is_leftover(path))


# -- the trials --------------------------------------------------------------------------------------


def killed_training(shelf: Shelf, draw: random.Random, verb: str = "train") -> int:
    """Kills a training once to three times, at changes of the disk; returns how often."""
    run, kills = shelf.new(), 0
    ended = command(*shelf.train, "-o", run, kill_at=draw.randint(1, shelf.changes["train"]))
    for _ in range(draw.randint(0, 2) if verb == "train" else 2):
        if not ended.killed or not (run / "recipe.yaml").exists():
            break
        kills += 1
        ended = command("resume", run, "-q", kill_at=draw.randint(1, shelf.changes["train"]))
    if ended.killed and not (run / "recipe.yaml").exists():  # there was no run yet
        kills += 1
        shutil.rmtree(run, ignore_errors=True)
        ended = command(*shelf.train, "-o", run)
    kills += ended.killed
    done(command("resume", run, "-q"))
    shelf.check(run)
    return kills


def killed_at_a_moment(shelf: Shelf, draw: random.Random) -> int:
    """Kills a training at any moment, from outside."""
    run = shelf.new()
    ended = command(*shelf.train, "-o", run, kill_after=draw.uniform(0.2, 3.0))
    if not (run / "recipe.yaml").exists():
        shutil.rmtree(run, ignore_errors=True)
        done(command(*shelf.train, "-o", run))
    done(command("resume", run, "-q"))
    shelf.check(run)
    return int(ended.killed)


def killed_verb(verb: str, *words: str) -> Callable[[Shelf, random.Random], int]:
    """Kills another verb at a change of the disk, and says it again."""

    def trial(shelf: Shelf, draw: random.Random) -> int:
        run = shelf.copy()
        asked = [verb, run, *words, *([shelf.whole, "-o", run / "page.html"] if verb == "compare" else [])]
        if verb == "sample":
            asked += ["-o", run / "made"]
        if verb not in shelf.changes:
            shelf.changes[verb] = done(command(*asked)).changes
            shutil.rmtree(run)
            shutil.copytree(shelf.whole, run)
        ended = command(*asked, kill_at=draw.randint(1, shelf.changes[verb]))
        done(command("resume", run, "-q"))
        done(command(*asked))
        shelf.check(run)
        return int(ended.killed)

    return trial


def killed_preparation(shelf: Shelf, draw: random.Random) -> int:
    """Kills the preparation of data with an empty cache, and prepares it again."""
    before, source = os.environ["MAQUETTE_CACHE"], shelf.train[3]
    os.environ["MAQUETTE_CACHE"] = str(shelf.folder / f"cache-{next(shelf.number)}")
    try:
        asked = ("data", "inspect", source)
        if "data" not in shelf.changes:
            shelf.changes["data"] = done(command(*asked)).changes
            shutil.rmtree(os.environ["MAQUETTE_CACHE"])
        ended = command(*asked, kill_at=draw.randint(1, shelf.changes["data"]))
        done(command(*asked))
        assert not list(under_way(cache())), "left behind in the cache"
        return int(ended.killed)
    finally:
        os.environ["MAQUETTE_CACHE"] = before


def killed_together(shelf: Shelf, draw: random.Random) -> int:
    """Kills one of two processes, both, or the one that started them; goes on with two."""
    run, words = shelf.new(), [str(word) for word in shelf.train]
    words[words.index("--steps") + 1] = "200"
    line = [sys.executable, "-m", "maquette", *words, "-o", str(run), "--processes", "2"]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    while not list(run.glob("checkpoints/step-*")) and process.poll() is None:
        time.sleep(0.05)
    time.sleep(draw.uniform(0, 1.5))
    workers = subprocess.run(["pgrep", "-f", f"maquette resume {run}"], capture_output=True, text=True).stdout.split()
    victims = draw.choice((workers[:1], workers[1:2], workers, [str(process.pid)], [*workers, str(process.pid)]))
    for victim in victims:
        os.kill(int(victim), signal.SIGKILL)
    process.communicate(timeout=90)
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "a process goes on alone"
        time.sleep(0.1)
    again = subprocess.run([*line[:3], "resume", str(run), "-q", "--processes", "2"], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-600:]
    straight = shelf.folder / "together"
    if not straight.exists():
        line[line.index("-o") + 1] = str(straight)
        subprocess.run(line, check=True, capture_output=True)
    assert digest(run) == digest(straight), "other weights"
    left = [*under_way(run), *under_way(cache())]
    assert not left, f"left behind: {left}"
    return len(victims)


def failing_disk(shelf: Shelf, draw: random.Random) -> int:
    """Lets a change of the disk fail while a run is trained: one clear line, and it goes on as if nothing had been."""
    run = shelf.new()
    fail = Failing(draw.randint(1, shelf.changes["train"]), draw.choice(ERRORS), draw.random() < 0.5)
    ended = command(*shelf.train, "-o", run, fail=fail)
    assert ended.code in (0, 2) and "fault of ours" not in ended.said, f"{fail}, exit {ended.code}: {ended.said[-400:]}"
    if not (run / "recipe.yaml").exists():
        shutil.rmtree(run, ignore_errors=True)
        done(command(*shelf.train, "-o", run))
    done(command("resume", run, "-q"))
    shelf.check(run)
    return 0


TRIALS: dict[str, Callable[[Shelf, random.Random], int]] = {
    "train": killed_training,
    "resume": lambda shelf, draw: killed_training(shelf, draw, "resume"),
    "at any moment": killed_at_a_moment,
    "evaluate": killed_verb("evaluate", "-q", "-n", "64"),
    "report": killed_verb("report"),
    "sample": killed_verb("sample", "-n", "3", "-q"),
    "compare": killed_verb("compare"),
    "data inspect": killed_preparation,
    "two processes": killed_together,
    "disk errors": failing_disk,
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=120, help="as many in all, at least")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--verbs", nargs="+", choices=TRIALS, default=list(TRIALS))
    args = parser.parse_args(argv)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    kills, faults = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MAQUETTE_CACHE"] = f"{folder}/cache"
        shelves = [Shelf(family, Path(folder)) for family in args.families]
        rounds = itertools.count(args.seed)
        for seed, shelf, verb in ((seed, *one) for seed in rounds for one in product(shelves, args.verbs)):
            if sum(kills.values()) >= args.kills or sum(faults.values()) > 20:
                break
            try:
                kills[shelf.family, verb] += TRIALS[verb](shelf, random.Random(f"{seed} {shelf.family} {verb}"))
            except KeyboardInterrupt:  # what was tried is told
                break
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                faults[shelf.family, verb] += 1
                print(f"--seed {seed} --families {shelf.family} --verbs '{verb}': {error}", flush=True)
    print(f"{'kills (faults)':16}" + "".join(f"{family:>12}" for family in args.families))
    for verb in args.verbs:
        cells = (f"{kills[f, verb]} ({faults[f, verb]})" for f in args.families)
        print(f"{verb:16}" + "".join(f"{cell:>12}" for cell in cells))
    print(f"{sum(kills.values())} kills, {sum(faults.values())} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
