"""Where functions that numba compiles are kept from one process to the next.

What is kept is executed when it is read. So it is kept in a folder that this user alone can write to, and nowhere else:
by default that would be beside the package.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Any

from numba.core import config


def keep(function: Any, folder: Path | None) -> None:
    """Keeps what `function` is compiled to in the folder, or in one that the user named (NUMBA_CACHE_DIR); without one
    of them it is compiled again in each process."""
    if named := config.CACHE_DIR or (str(folder) if folder is not None and _is_ours(folder) else ""):
        before, config.CACHE_DIR = config.CACHE_DIR, named
        function.enable_caching()
        config.CACHE_DIR = before
        _forgive(function._cache)


def _forgive(cache: Any) -> None:
    """What was cut off, by a full disk say, is compiled anew, where numba would fail ever after; and a full disk ends
    nothing that is under way."""
    load, save = cache.load_overload, cache.save_overload

    def whole(*asked: Any) -> Any:
        try:
            return load(*asked)
        except Exception:  # whatever pickle makes of half a file
            cache.flush()
            return None

    def kept(*made: Any) -> None:
        with contextlib.suppress(OSError):
            save(*made)

    cache.load_overload, cache.save_overload = whole, kept


def _is_ours(folder: Path) -> bool:
    """Whether this user alone can write to it; made if it is not there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
    except OSError:
        return False
    ours = about.st_uid == os.getuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return ours and os.access(folder, os.W_OK)
