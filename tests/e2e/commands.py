"""Runs the command line: in this process, as a user sees it; or in one of its own, where that is the point."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from maquette.cli.main import main

Done = subprocess.CompletedProcess[str]


def maquette(*args: str | Path, cwd: Path | None = None) -> Done:
    """The command line within this process, through everything that `maquette` does: exit code, output, messages."""
    words = [str(arg) for arg in args]

    with contextlib.chdir(cwd or Path.cwd()), CliRunner().isolation() as (out, err, *_):
        before, sys.argv = sys.argv, ["maquette", *words]
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
        finally:
            sys.argv = before
            sys.stdout.flush()
            sys.stderr.flush()
        return subprocess.CompletedProcess(words, code, *(stream.getvalue().decode() for stream in (out, err)))


def process(*args: str | Path, cwd: Path | None = None, timeout: float = 240, **kwargs: str) -> Done:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "maquette", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=cwd, check=False, **kwargs)


def fails_clearly(*args: str | Path, says: str, code: int = 2) -> str:
    """The command fails with the code, says the word, gives a remedy, and shows no traceback."""
    done = maquette(*args)
    said = done.stderr
    assert done.returncode == code, f"exit {done.returncode}: {said}"
    assert says in said, said
    assert "Traceback" not in said and "fault of ours" not in said, said
    return said
