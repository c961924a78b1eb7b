"""Names of files as people may safely see them, and digests of anything."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def shown(name: str) -> str:
    """A file name that can be printed and written as UTF-8: what is no character, and controls, escaped."""
    made = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if made.isprintable():
        return made
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in made)


def digest(parts: Iterable[object], size: int = 16) -> str:
    """Hexadecimal BLAKE2b of the parts, told apart from one another."""
    state = hashlib.blake2b(digest_size=size)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few names, on one line."""
    listed = [shown(name) for name in names]
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(f"'{name}'" for name in listed[:most]) + more
