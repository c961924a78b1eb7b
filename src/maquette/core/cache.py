"""Where what can be made again is kept: prepared data, feature networks, measured speeds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from maquette.core.files import expanded, explained, ready, stats_within, write_text
from maquette.core.held import is_open_at
from maquette.core.leftovers import STALE_SECONDS, free, is_leftover, marked, remove, remove_abandoned
from maquette.core.sizes import as_bytes

HOUR = 3600.0


def cache_folder(*parts: str) -> Path:
    """`MAQUETTE_CACHE`, or the user's cache folder as the system has it; not made yet."""
    if named := os.environ.get("MAQUETTE_CACHE"):
        return expanded(named).joinpath(*parts)
    from platformdirs import user_cache_path

    return user_cache_path("maquette", appauthor=False).joinpath(*parts)


# What is kept, by the folders of it. Where data and codecs lie is known here alone, so it goes only when it is named.
KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "data": ("prepared data", ("prepared", "keys", "locks")),
    "downloads": ("data sets fetched by name", ("downloads",)),
    "networks": ("networks that measures see with", ("evaluation",)),
    "speeds": ("measured speeds of this machine", ("speeds", "precision")),
    "compiled": ("networks as this machine runs them, compiled", ("compiled",)),
    "locations": ("where the data of runs lies", ("locations",)),
    "leftovers": ("half-written by commands that were killed", ()),
}
LASTING = ("locations",)
LIMIT, NONE = "MAQUETTE_CACHE_LIMIT", "none"
# What others leave of a download that was cut off: pooch and `datasets`.
_FETCHING = re.compile(r"tmp[a-z0-9_]{8}|.*\.incomplete")

_in_use: dict[Path, int] = {}  # entry -> descriptor with its lock, until this process ends


@dataclass(frozen=True)
class Kept:
    """A file, or a folder that is whole or not there at all. size: bytes    used: last, in seconds since 1970"""

    kind: str
    path: Path
    size: int
    used: float


def use(path: Path) -> None:
    """Notes that an entry is used now, and keeps it from being cleared until this process ends."""
    with contextlib.suppress(OSError):
        os.utime(path)
        if path not in _in_use or not is_open_at(path, _in_use[path]):
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # whoever has it writes it, or is clearing it away
            except OSError:
                os.close(handle)
                raise
            _in_use[path] = handle


def kept() -> list[Kept]:
    """All that is kept of each kind; what else may lie in the folder is not ours."""
    found = []
    for kind, (_, folders) in KINDS.items():
        for folder in folders:
            for path in sorted(cache_folder(folder).glob("*")):
                under_way = [path] if is_leftover(path) else []
                if kind == "downloads" and not under_way:
                    under_way = [one for one in sorted(path.rglob("*")) if _FETCHING.fullmatch(one.name)]
                found += [_kept("leftovers", one, ()) for one in under_way]
                found += [] if path in under_way else [_kept(kind, path, under_way)]
    return found


def _kept(kind: str, path: Path, without: Collection[Path]) -> Kept:
    aside = [file for one in without for file in stats_within(one)]
    files = [file for file in stats_within(path) if file not in aside]
    with contextlib.suppress(OSError):
        return Kept(kind, path, sum(f.st_size for f in files), max(f.st_mtime for f in (path.lstat(), *files)))
    return Kept(kind, path, 0, 0.0)


def clear(kinds: Collection[str] = (), older: float = 0.0) -> tuple[list[Kept], list[Kept]]:
    """Removes what is kept and not in use; returns what is gone, and what is in use and stays.

    kinds: those to remove; () all but what cannot be made again    older: seconds; what was used since then stays
    """
    gone, stays = list[Kept](), list[Kept]()
    for one in kept():
        meant = one.kind in kinds or (not kinds and one.kind not in LASTING)
        if meant and time.time() - one.used >= older:
            (gone if _removed(one) else stays).append(one)
    return gone, stays


def limit() -> int | None:
    """Bytes that the cache may take: MAQUETTE_CACHE_LIMIT, or what `set_limit` kept; None: as much as there is."""
    named, what = os.environ.get(LIMIT), LIMIT
    if named is None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            named, what = _limit_file().read_text(encoding="utf-8").strip(), f"'{_limit_file()}'"
    return as_bytes(named, what) if named and named != NONE else None


def set_limit(size: str) -> None:
    """Keeps the cache below a size from now on, such as 20GB; "none": as large as it gets."""
    if size == NONE:
        with explained(_limit_file()):
            _limit_file().unlink(missing_ok=True)
    else:
        as_bytes(size, "The limit")
        write_text(ready(_limit_file()), f"{size}\n")


def trim() -> list[Kept]:
    """Removes what was used longest ago and is not in use, until the cache keeps its limit; returns what is gone."""
    most, gone = limit(), list[Kept]()
    if most is None:
        return gone
    found = sorted(kept(), key=lambda one: (one.kind != "leftovers", one.used))
    size = sum(one.size for one in found)
    for one in found:
        if size > most and one.kind not in LASTING and _removed(one):
            size -= one.size
            gone.append(one)
    return gone


def _removed(one: Kept) -> bool:
    """Removes an entry that nobody uses, in one step; whether it did."""
    if is_leftover(one.path):
        return remove_abandoned(one.path)
    if one.kind == "leftovers":
        if time.time() - one.used < HOUR:  # who fetches it holds no lock, and writes all the time
            return False
        remove(one.path)
        return True
    with contextlib.suppress(OSError):
        handle = os.open(one.path, os.O_RDONLY)
        try:
            if free(handle) or time.time() - one.used > STALE_SECONDS:
                remove(one.path.rename(marked(one.path.parent, one.path.name)))
                return True
        finally:
            os.close(handle)
    return False


def _limit_file() -> Path:
    return cache_folder() / "limit"
