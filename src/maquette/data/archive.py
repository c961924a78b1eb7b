"""Files inside a .zip or .tar, read in place: nothing is ever unpacked to the disk."""

from __future__ import annotations

import functools
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data import member_names, tar
from maquette.data.decode import is_utf8
from maquette.data.names import shown
from maquette.data.raw import Payload
from maquette.data.trees import hidden

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError,
)  # fmt: skip


class Archive:
    """Members of an archive by name. Reading in order is quick; a compressed .tar cannot be read backwards cheaply.

    notes: what was guessed of their names
    """

    form = "archive"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.zip: zipfile.ZipFile | None = None
        try:
            if path.name.lower().endswith(".zip"):
                self.zip = zipfile.ZipFile(path)
                members: list[Any] = [m for m in self.zip.infolist() if not _is_folder(m)]
                listed: list[str | bytes] = [_zip_name(m) for m in members]
                limits.check(sum(m.file_size + tar.MEMBER for m in members), of=path.stat().st_size)
            else:
                self.tar = tar.opened(path)
                members, listed = [], []
                for member in tar.members(self.tar, path.stat().st_size):
                    if member.isfile():
                        members.append(member)
                        raw = member.name.encode("utf-8", "surrogateescape")
                        listed.append(member.name if is_utf8(raw) else raw)
        except limits.TooMuch as error:
            raise error.refusal(shown(path.name)) from None
        except (*_DAMAGE, RuntimeError, NotImplementedError) as error:
            why = str(error).partition(":\n")[0]
            raise UserError(
                f"'{path}' is not a readable archive: {why}.", "Fetch it again, or pack it again as .zip or .tar."
            ) from None
        names, self.notes = member_names.decoded(listed)
        by_name = dict(zip(names, members, strict=True))
        self.names: Sequence[str] = sorted(name for name in by_name if name and not any(map(hidden, name.split("/"))))
        self.members = [by_name[name] for name in self.names]
        self._read_once = functools.lru_cache(maxsize=1)(self._read)  # items of one member come one after the other

    def payloads(self, numbers: Sequence[int]) -> list[Payload]:
        return [*map(self._read_once, numbers)]

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

    def _read(self, i: int) -> Payload:
        member = self.members[i]
        try:
            limits.check(self.size(i))
            if self.zip is not None:
                with self.zip.open(member) as file:
                    return file.read()
            stream = self.tar.extractfile(member)
            data = stream.read() if stream else b""
            return data if len(data) == member.size else Unreadable("truncated inside the archive")
        except limits.TooMuch as error:
            return error
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
