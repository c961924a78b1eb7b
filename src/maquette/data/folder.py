"""A folder of pictures. A second open costs one walk of the folder and reads no picture."""

from __future__ import annotations

import bisect
import os
from collections.abc import Sequence
from pathlib import Path

from maquette.core.errors import UserError
from maquette.data.archive import ArchiveFiles
from maquette.data.layout import arrange, hidden
from maquette.data.sources import ARCHIVES, Arrays, Encoded, Files, Payload, Say, content
from maquette.data.text import digest

_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")


class FolderFiles:
    """Files below a folder, read by the workers themselves."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root, self.names = str(root), names

    def payloads(self, indices: Sequence[int]) -> list[Payload]:
        return [f"{self.root}/{self.names[i]}" for i in indices]

    def read(self, i: int) -> bytes:
        (payload,) = self.payloads([i])
        return content(payload)

    def reading_order(self) -> Sequence[int]:
        return range(len(self.names))

    def looks_like_picture(self, i: int) -> bool:
        """Whether a file with an unknown suffix begins as a picture does."""
        try:
            with open(f"{self.root}/{self.names[i]}", "rb") as file:  # noqa: PTH123 - names may not be UTF-8
                head = file.read(16)
        except OSError:
            return False
        return head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


class Joined:
    """Several archives in one folder, each under the name it has there (train.zip -> train/...)."""

    def __init__(self, parts: Sequence[tuple[str, Files]]) -> None:
        self.parts = parts
        self.names: Sequence[str] = [f"{prefix}/{name}" for prefix, files in parts for name in files.names]
        self.starts = [0]
        for _, files in parts:
            self.starts.append(self.starts[-1] + len(files.names))

    def payloads(self, indices: Sequence[int]) -> list[Payload]:
        made: list[Payload] = []
        for i in indices:
            part = bisect.bisect_right(self.starts, i) - 1
            made += self.parts[part][1].payloads([i - self.starts[part]])
        return made

    def reading_order(self) -> Sequence[int]:
        return [
            start + i for start, (_, files) in zip(self.starts, self.parts, strict=False) for i in files.reading_order()
        ]

    def read(self, i: int) -> bytes:
        (payload,) = self.payloads([i])
        return content(payload)


class Folder:
    """A folder of pictures, or of archives of pictures."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries = _walk(root)

    def key(self) -> str:
        lines = "\0".join([f"{name}\0{size}\0{stamp}" for name, size, stamp in self.entries])
        return digest(["folder", self.root.resolve(), lines])

    def has_pictures(self) -> bool:
        """Whether a file without a picture's suffix begins as a picture does; looks into some files of all kinds."""
        files = FolderFiles(self.root, [name for name, _, _ in self.entries])
        step = max(1, len(files.names) // 200)
        return any(files.looks_like_picture(i) for i in range(0, len(files.names), step))

    def load(self, say: Say) -> Encoded | Arrays:
        files = FolderFiles(self.root, [name for name, _, _ in self.entries])
        made = arrange("folder", files, files.read, files.looks_like_picture)
        archives = [name for name in made.ignored if name.lower().endswith(ARCHIVES) and "/" not in name]
        if not made.rows and not made.left_out and archives:
            parts: list[tuple[str, Files]] = []
            for name in archives:
                say(f"Reading the list of {name}")
                parts.append((name[: name.index(".")], ArchiveFiles(self.root / name)))
            joined = Joined(parts)
            return arrange("folder of archives", joined, joined.read)
        if not made.rows and not made.left_out:
            what = f"{len(self.entries):,} files, none of them a picture" if self.entries else "nothing"
            raise UserError(
                f"There are no pictures in '{self.root}': it holds {what}.",
                "Name a folder with PNG, JPEG, WebP, BMP, GIF or TIFF files; sub-folders become classes.",
            )
        return made


def _walk(root: Path) -> list[tuple[str, int, int]]:
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
                    except OSError:
                        found.append((name, -1, 0))  # a link to nowhere: the doctor will say so
        except OSError as error:
            if not inner:
                raise UserError(f"'{root}' cannot be read: {error.strerror}.", "Check its permissions.") from None
            found.append((inner, -1, 0))
    found.sort()
    return found
