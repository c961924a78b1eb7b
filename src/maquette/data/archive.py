"""Pictures inside a .zip or .tar, read in place: nothing is ever unpacked to the disk."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data.layout import arrange, hidden
from maquette.data.sources import MAX_FILE_BYTES, Arrays, Encoded, Payload, Say, content, stamp
from maquette.data.text import digest

BOMB_BYTES = 2**30  # less than this is never called a bomb
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


class ArchiveFiles:
    """Members of an archive by name. Reading in order is quick; a compressed .tar cannot be read backwards cheaply."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # A picture hardly compresses, so an archive that unpacks to 200 times its size is a bomb.
        self.limit = max(BOMB_BYTES, 200 * path.stat().st_size)
        try:
            if path.name.lower().endswith(".zip"):
                self.zip: zipfile.ZipFile | None = zipfile.ZipFile(path)
                members: list[Any] = [m for m in self.zip.infolist() if not m.is_dir()]
                sizes = [m.file_size for m in members]
                listed = [m.filename for m in members]
            else:
                self.zip = None
                self.tar = tarfile.open(path)  # noqa: SIM115 - stays open as long as this object
                members, sizes, listed, total = [], [], [], 0
                for member in self.tar:  # one by one, to stop early at a bomb
                    total += member.size
                    if total > self.limit:
                        break
                    if member.isfile():
                        members.append(member)
                        sizes.append(member.size)
                        listed.append(member.name)
        except (*_DAMAGE, RuntimeError, NotImplementedError) as error:
            raise UserError(f"'{path}' is not a readable archive: {error}", "Pack it again as .zip or .tar.") from None
        if sum(sizes) > self.limit or (self.zip is None and total > self.limit):
            raise UserError(
                f"'{path}' is refused: it would unpack to more than {self.limit / 2**20:,.0f} MiB.",
                "It looks like a decompression bomb; unpack it yourself and name the folder.",
            )
        by_name = {name.removeprefix("./"): m for name, m in zip(listed, members, strict=True)}
        self.names: Sequence[str] = sorted(name for name in by_name if not any(map(hidden, name.split("/"))))
        self.members = [by_name[name] for name in self.names]

    def payloads(self, indices: Sequence[int]) -> list[Payload]:
        return [self._read(i) for i in indices]

    def read(self, i: int) -> bytes:
        return content(self._read(i))

    def reading_order(self) -> list[int]:
        """Numbers of the members as they lie in the file: a compressed .tar is then read once, forwards."""
        if self.zip is not None:
            return sorted(range(len(self.members)), key=lambda i: self.members[i].header_offset)
        return sorted(range(len(self.members)), key=lambda i: self.members[i].offset)

    def _read(self, i: int) -> Payload:
        member = self.members[i]
        try:
            if self.zip is not None:
                if member.file_size > MAX_FILE_BYTES:
                    return Unreadable(f"larger than {MAX_FILE_BYTES // 2**20} MiB")
                with self.zip.open(member) as file:
                    return file.read(MAX_FILE_BYTES + 1)
            if member.size > MAX_FILE_BYTES:
                return Unreadable(f"larger than {MAX_FILE_BYTES // 2**20} MiB")
            stream = self.tar.extractfile(member)
            data = stream.read(MAX_FILE_BYTES + 1) if stream else b""
            return data if len(data) == member.size else Unreadable("truncated inside the archive")
        except RuntimeError:
            return Unreadable("locked by a password")
        except (*_DAMAGE, NotImplementedError) as error:
            return Unreadable(f"damaged inside the archive ({error})")


class Archive:
    """A .zip or .tar of what a folder of pictures may hold."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def key(self) -> str:
        return digest(["archive", stamp(self.path)])

    def load(self, say: Say) -> Encoded | Arrays:
        say(f"Reading the list of {self.path.name}")
        files = ArchiveFiles(self.path)
        made = arrange("archive", files, files.read)
        if not made.rows and not made.left_out:
            raise UserError(
                f"There are no pictures in '{self.path}' ({len(files.names):,} files).",
                "It may hold PNG, JPEG, WebP, BMP, GIF or TIFF files; folders become classes.",
            )
        return made
