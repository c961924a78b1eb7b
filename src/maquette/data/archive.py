"""Files inside a .zip or .tar, read in place: nothing is ever unpacked to the disk."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maquette.core.counts import counted
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data import member_names
from maquette.data.decode import is_utf8
from maquette.data.raw import MAX_FILE_BYTES, Payload
from maquette.data.trees import hidden

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
BOMB_BYTES = 2**30  # less than this is never called a bomb
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


class Archive:
    """Members of an archive by name. Reading in order is quick; a compressed .tar cannot be read backwards cheaply.

    notes: what was guessed of their names
    """

    form = "archive"

    def __init__(self, path: Path) -> None:
        self.path = path
        # Files of data hardly compress, so an archive that unpacks to 200 times its size is a bomb.
        self.limit = max(BOMB_BYTES, 200 * path.stat().st_size)
        try:
            if path.name.lower().endswith(".zip"):
                self.zip: zipfile.ZipFile | None = zipfile.ZipFile(path)
                members: list[Any] = [m for m in self.zip.infolist() if not _is_folder(m)]
                sizes = [m.file_size for m in members]
                listed: list[str | bytes] = [_zip_name(m) for m in members]
            else:
                self.zip = None
                self.tar = tarfile.open(path, encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 - stays open
                members, sizes, listed, total = [], [], [], 0
                for member in self.tar:  # one by one, to stop early at a bomb
                    total += member.size
                    if total > self.limit:
                        break
                    if member.isfile():
                        members.append(member)
                        sizes.append(member.size)
                        raw = member.name.encode("utf-8", "surrogateescape")
                        listed.append(member.name if is_utf8(raw) else raw)
                if total <= self.limit and 0 < self._tail() < tarfile.BLOCKSIZE:
                    raise tarfile.ReadError(f"it is cut off after {counted(len(members), 'file', 'files')}")
        except (*_DAMAGE, RuntimeError, NotImplementedError) as error:
            why = str(error).partition(":\n")[0]
            raise UserError(
                f"'{path}' is not a readable archive: {why}.", "Fetch it again, or pack it again as .zip or .tar."
            ) from None
        if sum(sizes) > self.limit or (self.zip is None and total > self.limit):
            raise UserError(
                f"'{path}' is refused: it would unpack to more than {self.limit / 2**20:,.0f} MiB.",
                "It looks like a decompression bomb; unpack it yourself and name the folder.",
            )
        names, self.notes = member_names.decoded(listed)
        by_name = dict(zip(names, members, strict=True))
        self.names: Sequence[str] = sorted(name for name in by_name if name and not any(map(hidden, name.split("/"))))
        self.members = [by_name[name] for name in self.names]

    def payloads(self, numbers: Sequence[int]) -> list[Payload]:
        return [self._read(i) for i in numbers]

    def reading(self) -> list[int]:
        """Place of each member in the file: a compressed .tar is then read once, forwards."""
        offsets = [m.header_offset if self.zip is not None else m.offset for m in self.members]
        places = [0] * len(offsets)
        for place, i in enumerate(sorted(range(len(offsets)), key=offsets.__getitem__)):
            places[i] = place
        return places

    def size(self, number: int) -> int:
        member = self.members[number]
        return int(member.file_size if self.zip is not None else member.size)

    def head(self, number: int, size: int) -> bytes:
        if self.zip is None:
            return b""
        try:
            with self.zip.open(self.members[number]) as file:
                return file.read(size)
        except (*_DAMAGE, RuntimeError, NotImplementedError):
            return b""

    def _tail(self) -> int:
        """Bytes of what stands where the next member of a .tar would, as far as they were looked at."""
        assert self.tar.fileobj is not None
        return self.tar.fileobj.tell() - self.tar.offset

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


def _is_folder(member: zipfile.ZipInfo) -> bool:
    """Whether a member of a .zip is a folder; tools of Windows end its name as they like."""
    return member.filename.endswith(("/", "\\")) or (not member.file_size and bool(member.external_attr & 0x10))


def _zip_name(member: zipfile.ZipInfo) -> str | bytes:
    """The name of a member of a .zip; its bytes, where nothing says in which encoding they are."""
    if member.flag_bits & 0x800 or member.filename.isascii():
        return member.filename
    return member_names.unicode_path(member.extra) or member.filename.encode("cp437")
