"""Where what can be made again is kept: prepared data, feature networks, measured speeds."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from maquette.core.files import stats_within


def cache_folder(*parts: str) -> Path:
    """`MAQUETTE_CACHE`, or the user's cache folder as the system has it; not made yet."""
    if named := os.environ.get("MAQUETTE_CACHE"):
        return Path(named).expanduser().joinpath(*parts)
    from platformdirs import user_cache_path

    return user_cache_path("maquette", appauthor=False).joinpath(*parts)


# What is kept, by the folders of it. Where data and codecs lie is known here alone, so it goes only when it is named.
KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "data": ("prepared data", ("prepared", "keys", "locks")),
    "downloads": ("data sets fetched by name", ("downloads",)),
    "networks": ("networks that measures see with", ("evaluation",)),
    "speeds": ("measured speeds of this machine", ("precision",)),
    "locations": ("where the data of runs lies", ("locations",)),
}
LASTING = ("locations",)


@dataclass(frozen=True)
class Kept:
    """A file, or a folder that is whole or not there at all. size: bytes    made: seconds since 1970"""

    kind: str
    path: Path
    size: int
    made: float


def kept() -> list[Kept]:
    """All that is kept of each kind; what else may lie in the folder is not ours."""
    found = []
    for kind, (_, folders) in KINDS.items():
        for folder in folders:
            for path in sorted(cache_folder(folder).glob("*")):
                files = stats_within(path)
                made = max((file.st_mtime for file in files), default=0.0)
                found.append(Kept(kind, path, sum(file.st_size for file in files), made))
    return found


def clear(kinds: Collection[str] = (), older: float = 0.0) -> list[Kept]:
    """Removes what is kept, and returns it.

    kinds: those to remove; () all but what cannot be made again    older: seconds; what was made since then stays
    """
    gone = []
    for one in kept():
        meant = one.kind in kinds or (not kinds and one.kind not in LASTING)
        if meant and time.time() - one.made >= older:
            if one.path.is_dir() and not one.path.is_symlink():
                shutil.rmtree(one.path)
            else:
                one.path.unlink(missing_ok=True)
            gone.append(one)
    return gone
