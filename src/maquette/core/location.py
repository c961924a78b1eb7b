"""Where on this machine a thing lies that a run folder only names: kept in the user's own cache, since a run folder is
made to be given away and holds no path of anybody's machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from maquette.core.cache import cache_folder
from maquette.core.errors import UserError
from maquette.core.files import expanded, ready, write_json
from maquette.core.shown import shown

_known: dict[str, Path] = {}  # of this process, for machines on which no cache can be written


def remember(key: str, path: str | Path) -> None:
    """Notes that what the key stands for (a fingerprint, a digest) lies there."""
    _known[key] = expanded(path).resolve()
    with contextlib.suppress(OSError, UserError):
        write_json(ready(_file(key)), {"path": str(_known[key])})


def recall(key: str | None) -> Path | None:
    """The path that was noted last, whether or not something is there still."""
    path = _known.get(key) if key else None
    with contextlib.suppress(OSError, UserError, ValueError, KeyError, TypeError):
        # Ours alone, and a path may have bytes that are no UTF-8, which no file that is given away may hold.
        path = Path(str(json.loads(_file(key).read_text("utf-8"))["path"])) if key else None
    return path


def shared_name(source: str) -> str:
    """A path as a run folder may hold it: as it was given where it is relative, its last part where it is absolute; of
    bytes that are no UTF-8 their numbers."""
    path = expanded(source)
    return shown(path.name if path.is_absolute() else source)


def digest_of(file: Path) -> str:
    """Digest of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _file(key: str) -> Path:
    return cache_folder("locations", f"{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.json")
