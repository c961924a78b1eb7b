"""What lies in a folder by its digest, so that a file that was damaged, exchanged or edited is noticed before anything
is made of it.

A file is listed before it is renamed into its place, beside what lay there before. So whenever a process is killed, and
whenever another one reads, what lies there is listed.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BufferedReader, BytesIO, TextIOWrapper
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from filelock import FileLock

from maquette.core.errors import UserError
from maquette.core.files import atomic, explained, make_folder, write_json
from maquette.core.held import is_open_at
from maquette.core.parse import characters_of, parse_json

NAME, LOCK = "manifest.json", ".manifest.lock"
FORMAT = 1
KEPT = 2  # digests of a file: what lies there, and what did before, which a slow reader may have opened
WORDS = (".json", ".yaml")  # files of words, whose line ends git and editors may write otherwise
CHUNK = 2**20  # characters read at once
LONGEST = 2**20  # bytes of a manifest: some thousands of files
RESTORE = "Restore it from a copy of the run; or, if you trust the run as it is, remove manifest.json."

Standing = Literal["whole", "changed", "missing", "not listed"]


class Manifest:
    """The digests of a folder's files, in `manifest.json` there: {"format": 1, "files": {name: [newest, before]}}.

    A digest is the SHA-256 of the content; of files of words with \\n for line ends, whatever a copy made of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / NAME

    def listed(self) -> Mapping[str, list[str]] | None:
        """Digests by name of a file, the newest first; None where there is no manifest. UserError where it is damaged,
        or of another format."""
        if not self.file.exists():
            return None
        found = parse_json(characters_of(self.file, LONGEST), str(self.file), RESTORE)
        number = found.get("format") if isinstance(found, dict) else None
        if type(number) is int and number != FORMAT:
            raise UserError(
                f"'{self.file}' is of format {number}, and this version reads format {FORMAT}.",
                "Open the run with the version of Maquette that wrote it.",
            )
        if type(number) is not int or not _is_listing(found.get("files")):
            raise UserError(f"'{self.file}' is damaged: it lists no files with their digests.", RESTORE)
        files: Mapping[str, list[str]] = found["files"]
        return files

    # -- reading ---------------------------------------------------------------------------------

    def standing(self, file: Path) -> Standing:
        """Whether a file is as it was written. Any is whole where there is no manifest."""
        while file.is_file():
            with file.open("rb") as stream:
                listed = self.listed()  # once the file is open: who replaces it meanwhile lists what it was as well
                if listed is None:
                    return "whole"
                known = listed.get(self._name(file))
                if known is None:
                    return "not listed"
                if _digest(file, stream) in known:
                    return "whole"
                if is_open_at(file, stream.fileno()):
                    return "changed"  # and not one that was replaced twice meanwhile
        return "missing"

    def check(self, file: Path, remedy: str = RESTORE) -> None:
        """Raises UserError where a file is not as it was written."""
        standing = self.standing(file)
        if standing == "missing":
            raise UserError(f"'{file}' is missing.", "Is the run folder complete?")
        if standing == "changed":
            raise UserError(f"'{file}' is damaged or was changed: it is not what {NAME} says.", remedy)
        if standing == "not listed":
            raise UserError(f"'{file}' is not listed in {NAME}: it is not of this run.", RESTORE)

    # -- writing ---------------------------------------------------------------------------------

    def write(self, file: Path, content: bytes) -> Path:
        """Writes a file, and lists it; returns its path."""
        ours, name = _digest(file, BytesIO(content)), self._name(file)
        # What was listed stays until the new file is there: a kill in between leaves the old one.
        self._change(lambda files: {**files, name: [ours, *(one for one in files.get(name, []) if one != ours)]})
        with atomic(file) as temporary:
            temporary.write_bytes(content)
        self._change(lambda files: {**files, name: files.get(name, [ours])[:KEPT]})
        return file

    def record(self, files: Iterable[Path], alone: bool = False) -> None:
        """Lists files as they are now. alone: whether nobody else can know of the folder yet"""
        found = {self._name(file): [digest(file)] for file in files}
        self._change(lambda listed: {**listed, **found}, alone)

    def _change(
        self, change: Callable[[Mapping[str, list[str]]], Mapping[str, list[str]]], alone: bool = False
    ) -> None:
        with contextlib.nullcontext() if alone else self._locked():
            write_json(self.file, {"format": FORMAT, "files": change(self.listed() or {})})

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Evaluation may write while training does: neither loses what the other lists."""
        with explained(self.folder):
            lock = FileLock(make_folder(self.folder) / LOCK)  # which itself would make the folder
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _name(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()


def _is_listing(files: Any) -> bool:
    return isinstance(files, dict) and all(
        _is_within(name) and isinstance(digests, list) and all(isinstance(one, str) for one in digests)
        for name, digests in files.items()
    )


def _is_within(name: str) -> bool:
    """Whether a name is that of a file in the folder or below it, on any system."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and not set(name) & set("\\:\0")


def digest(file: Path) -> str:
    """SHA-256 of a file as a manifest has it."""
    with file.open("rb") as stream:
        return _digest(file, stream)


def _digest(file: Path, stream: BufferedReader | BytesIO) -> str:
    if file.suffix not in WORDS:
        return hashlib.file_digest(stream, "sha256").hexdigest()
    found, characters = hashlib.sha256(), TextIOWrapper(stream, "latin-1", newline=None)  # \r\n and \r become \n
    while part := characters.read(CHUNK):
        found.update(part.encode("latin-1"))
    characters.detach()  # which would close the stream
    return found.hexdigest()
