"""What a source is before it is prepared, and which reader a path or a name calls for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from maquette.core.errors import UserError, closest
from maquette.core.modality import Unreadable

if TYPE_CHECKING:
    from maquette.data.texts.gather import TextFile, TextFolder

Say = Callable[[str], None]
Payload = str | bytes | Unreadable  # a path to read, the bytes themselves, or why there are none

MAX_FILE_BYTES = 512 * 2**20
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
ACCEPTED = (
    "a folder of pictures, a .zip or .tar of one, IDX files, .npz or .npy arrays, a text, a table of texts (.csv, "
    ".tsv, .jsonl), parallel files (train.en, train.de), or a `datasets` dataset"
)


class Files(Protocol):
    """Encoded files by name; names use '/' and are sorted."""

    names: Sequence[str]

    def payloads(self, indices: Sequence[int]) -> list[Payload]:
        """What a worker needs to get at these files."""
        ...

    def reading_order(self) -> Sequence[int]:
        """Numbers of the files in the order in which they are quickest to read."""
        ...


@dataclass
class Encoded:
    """Pictures as files, with the split and the values that each belongs to.

    rows:   numbers of the pictures in `files`
    splits: "train", "test" or None, one a row
    values: column name -> one text a row (None: missing)
    """

    kind: str
    files: Files
    rows: list[int]
    splits: list[str | None]
    values: dict[str, list[str | None]]
    left_out: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Arrays:
    """Pictures as arrays, already decoded.

    parts: (split or None, images of any layout, column name -> one text an item)
    """

    kind: str
    parts: list[tuple[str | None, np.ndarray, dict[str, list[str | None]]]]
    notes: list[str] = field(default_factory=list)
    scale_max: float | None = None  # the value of white, where the format says so


class Source(Protocol):
    """Something that can be prepared."""

    def key(self) -> str:
        """Changes whenever the content may have changed; cheap, because every start computes it."""
        ...

    def load(self, say: Say) -> Encoded | Arrays: ...


def may_fetch(source: Source) -> bool:
    """Whether loading a source may use the network."""
    from maquette.data import hub, named

    return isinstance(source, hub.Hub) or (isinstance(source, named.Idx) and source.local is None)


def find_source(source: str | Path, downloads: Path) -> Source | TextFile | TextFolder:
    """The reader for a path or a name; says what is accepted when there is none."""
    from maquette.data import archive, arrays, folder, hub, idx, named
    from maquette.data.texts import gather

    text = str(source)
    if isinstance(source, str) and text in named.NAMES:
        return named.find(text, downloads)
    if isinstance(source, str) and text.startswith("hf:"):
        return hub.Hub(text.removeprefix("hf:"))
    path = Path(text).expanduser()
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:
        raise UserError(f"'{text}' is not a path: {error}", f"Name {ACCEPTED}.") from None
    if not exists:
        raise UserError(
            f"There is no data at '{text}'.",
            f"{_meant(text, named.NAMES)} Name {ACCEPTED}, or one of {', '.join(named.NAMES)}.".strip(),
        )
    if is_folder:
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            return hub.OnDisk(path)
        if idx.in_folder(path):
            return idx.IdxFolder(path)
        if arrays.in_folder(path):
            return arrays.ArrayFiles(path)
        pictures = folder.Folder(path)
        if gather.in_folder(path, [name for name, _, _ in pictures.entries]) and not pictures.has_pictures():
            return gather.TextFolder(path, pictures.entries)
        return pictures
    if not path.is_file():
        raise UserError(f"'{text}' is neither a file nor a folder.", f"Name {ACCEPTED}.")
    lower = path.name.lower()
    if lower.endswith(ARCHIVES):
        return archive.Archive(path)
    if lower.endswith((".npz", ".npy")):
        return arrays.ArrayFiles(path)
    if idx.is_idx(path):
        return idx.IdxFile(path)
    if gather.in_file(path):
        return gather.TextFile(path)
    raise UserError(f"'{text}' is not data that Maquette knows.", f"Name {ACCEPTED}.")


def _meant(text: str, names: Sequence[str]) -> str:
    """`Did you mean 'x'?`, where a data set of such a name is known, or lies in the folder of the user's data."""
    root, held = os.environ.get("MAQUETTE_DATA"), dict[str, str]()
    if root:
        with contextlib.suppress(OSError):
            held = {path.name: str(path) for path in Path(root).expanduser().iterdir()}
    close = closest(text, {*names, *held}) if "/" not in text else None
    # What ships is found by its name alone; of other data it takes the path.
    return "" if close is None else f"Did you mean '{close if close in names else held[close]}'?"


def content(payload: Payload) -> bytes:
    """The bytes behind a payload; raises Unreadable with the reason."""
    if isinstance(payload, Unreadable):
        raise payload
    if isinstance(payload, bytes):
        return payload
    try:
        with open(payload, "rb") as file:  # noqa: PTH123 - pathlib costs a third of reading a small picture
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise Unreadable(f"larger than {MAX_FILE_BYTES // 2**20} MiB")
    return data


def stamp(path: Path) -> str:
    """Name, size and time of change of a file: enough to notice that it was replaced."""
    status = path.stat()
    return f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
