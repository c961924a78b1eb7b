"""Runs the command line as a user would: in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def maquette(*args: str | Path, cwd: Path | None = None, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "maquette", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=cwd, check=False)


def fails_clearly(*args: str | Path, says: str, code: int = 2) -> str:
    """The command fails with the code, says the word, gives a remedy, and shows no traceback."""
    done = maquette(*args)
    text = done.stderr
    assert done.returncode == code, f"exit {done.returncode}: {text}"
    assert says in text, text
    assert "Traceback" not in text and "fault of ours" not in text, text
    return text
