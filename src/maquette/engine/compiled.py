"""The cache of torch's compiler: a folder of our own, and whole.

A compile that is killed leaves a library cut short, which every later one takes for whole: compiling fails from then
on, or ends the process. So what is whole is listed, and a cache that is not as it was listed is made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

import torch

from maquette.core.cache import cache_folder
from maquette.core.errors import UserError
from maquette.core.files import ready, write_json
from maquette.core.leftovers import remove

NAMED = "TORCHINDUCTOR_CACHE_DIR"
WHOLE = "whole.json"  # file -> bytes
_in_use: dict[Path, int] = {}  # folder -> descriptor with its lock, until this process ends


def begin(notify: Callable[[str], None]) -> None:
    """Before anything is compiled. A folder that the user named is left as it is; so is one in which another process
    compiles, which has looked before."""
    folder = _folder()
    if os.environ.get(NAMED, str(folder)) != str(folder) or folder in _in_use:
        return
    try:
        handle = os.open(ready(folder / WHOLE).parent, os.O_RDONLY)
    except (OSError, UserError):
        return
    if not os.access(folder, os.W_OK):  # a cache that cannot be written: torch has a place of its own
        os.close(handle)
        return
    _in_use[folder] = handle
    with contextlib.suppress(OSError):  # another process has it, or the disk knows no locks
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _listed(folder) != _there(folder):
            for path in folder.iterdir():
                remove(path)
            notify("What a killed command left half-compiled was removed; it is compiled anew.")
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_SH)
    os.environ[NAMED] = str(folder)


def done() -> None:
    """After something was compiled: all that is there by now is whole."""
    if (folder := _folder()) in _in_use:
        with contextlib.suppress(OSError, UserError):  # what is not listed is compiled anew next time
            os.utime(folder)
            write_json(folder / WHOLE, _there(folder))


def _folder() -> Path:
    return cache_folder("compiled", f"torch-{torch.__version__}")


def _there(folder: Path) -> dict[str, int]:
    """The locks are torch's own, and empty. Others compile meanwhile: what is seen may be gone the next moment."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if path.suffix != ".lock" and name != WHOLE:
                with contextlib.suppress(FileNotFoundError):
                    found[str(path.relative_to(folder))] = path.stat().st_size
    return found


def _listed(folder: Path) -> object:
    try:
        return json.loads((folder / WHOLE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
