"""Files by name, wherever they lie: a folder, a file alone, archives in a folder (an archive: see archive.py)."""

from __future__ import annotations

import bisect
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

from maquette.core.errors import UserError
from maquette.data.raw import Payload


class Tree(Protocol):
    """Files by name; names use '/' and are sorted.

    form: what it is, for people: "folder"      names: of all files, hidden ones left out
    """

    @property
    def form(self) -> str: ...
    @property
    def names(self) -> Sequence[str]: ...

    def payloads(self, numbers: Sequence[int]) -> list[Payload]:
        """What is needed to get at these files."""
        ...

    def reading(self) -> Sequence[int] | None:
        """Place of each file in the order in which files are quickest to read; None: any order is."""
        ...

    def size(self, number: int) -> int:
        """Bytes of a file, unpacked."""
        ...

    def head(self, number: int, size: int) -> bytes:
        """The first bytes of a file; b"" where it cannot be read, or where a look into it is dear."""
        ...


class Folder:
    """Files below a folder. `entries`: (name, bytes, time of change in ns) of each; a second open costs this walk."""

    form = "folder"

    def __init__(self, root: Path, names: Sequence[str] | None = None) -> None:
        """names: of the files that count, where it is not all of them."""
        self.root, self._names = str(root), names

    @cached_property
    def entries(self) -> list[tuple[str, int, int]]:
        return _walk(self.root)

    @cached_property
    def names(self) -> Sequence[str]:
        return [name for name, _, _ in self.entries] if self._names is None else self._names

    def payloads(self, numbers: Sequence[int]) -> list[Payload]:
        return [f"{self.root}/{self.names[i]}" for i in numbers]

    def reading(self) -> None:
        return None

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return {name: size for name, size, _ in self.entries}

    def size(self, number: int) -> int:
        return self._sizes[self.names[number]]

    def head(self, number: int, size: int) -> bytes:
        try:
            with open(f"{self.root}/{self.names[number]}", "rb") as file:  # noqa: PTH123 - names may not be UTF-8
                return file.read(size)
        except OSError:
            return b""


class OneFile(Folder):
    """One file, as if its folder held nothing else."""

    form = "file"

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent, [path.name])

    @cached_property
    def entries(self) -> list[tuple[str, int, int]]:
        status = Path(self.root, self.names[0]).stat()
        return [(self.names[0], status.st_size, status.st_mtime_ns)]


class Joined:
    """Several trees in one folder, each under the name it has there (train.zip -> train/...); "" for its own files."""

    form = "folder of archives"

    def __init__(self, parts: Sequence[tuple[str, Tree]]) -> None:
        self.parts = parts
        self.names: Sequence[str] = [
            f"{prefix}/{name}" if prefix else name for prefix, tree in parts for name in tree.names
        ]
        self.starts = [0]
        for _, tree in parts:
            self.starts.append(self.starts[-1] + len(tree.names))

    def payloads(self, numbers: Sequence[int]) -> list[Payload]:
        return [payload for tree, i in map(self._of, numbers) for payload in tree.payloads([i])]

    def reading(self) -> Sequence[int]:
        made: list[int] = []
        for start, (_, tree) in zip(self.starts, self.parts, strict=False):
            made += [start + place for place in tree.reading() or range(len(tree.names))]
        return made

    def size(self, number: int) -> int:
        tree, i = self._of(number)
        return tree.size(i)

    def head(self, number: int, size: int) -> bytes:
        tree, i = self._of(number)
        return tree.head(i, size)

    def _of(self, number: int) -> tuple[Tree, int]:
        part = bisect.bisect_right(self.starts, number) - 1
        return self.parts[part][1], number - self.starts[part]


def hidden(part: str) -> bool:
    """Whether a file or folder is a system's own and never anybody's data."""
    return part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini")


def stamp(path: Path) -> str:
    """Name, size and time of change of a file: enough to notice that it was replaced."""
    status = path.stat()
    return f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"


def _walk(root: str) -> list[tuple[str, int, int]]:
    """(name, bytes, time of change in ns) of every file below `root`, sorted; each folder is entered once."""
    found: list[tuple[str, int, int]] = []
    seen: set[tuple[int, int]] = set()
    stack = [""]
    while stack:
        inner = stack.pop()
        try:
            status = os.stat(f"{root}/{inner}")  # noqa: PTH116 - names may not be UTF-8; and this is the hot path
            if (status.st_dev, status.st_ino) in seen:  # a link that leads back
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(f"{root}/{inner}") as entries:
                for entry in entries:
                    if hidden(entry.name):
                        continue
                    name = f"{inner}/{entry.name}" if inner else entry.name
                    try:
                        if entry.is_dir():
                            stack.append(name)
                        elif entry.is_file():
                            s = entry.stat()
                            found.append((name, s.st_size, s.st_mtime_ns))
                        elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110 - as above
                            found.append((name, -1, 0))  # a link to nowhere: it is left out by name later
                    except OSError:  # a link to itself
                        found.append((name, -1, 0))
        except OSError as error:
            if not inner:
                raise UserError(f"'{root}' cannot be read: {error.strerror}.", "Check its permissions.") from None
            found.append((inner, -1, 0))
    found.sort()
    return found
