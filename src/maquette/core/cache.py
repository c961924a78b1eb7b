"""Where what can be made again is kept: prepared data, feature networks, measured speeds."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """`MAQUETTE_CACHE`, or the user's cache folder as the system has it; not made yet."""
    if named := os.environ.get("MAQUETTE_CACHE"):
        return Path(named).expanduser().joinpath(*parts)
    from platformdirs import user_cache_path

    return user_cache_path("maquette", appauthor=False).joinpath(*parts)
