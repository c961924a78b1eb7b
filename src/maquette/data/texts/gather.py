"""Which texts a path holds, by its looks: one long text, a folder of them, tables, or parallel files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from maquette.core.find import find_modality
from maquette.core.modality import Unreadable
from maquette.data.sources import ARCHIVES, Say, content, stamp
from maquette.data.text import digest, some
from maquette.data.texts.decode import Decoder, bytes_of, looks_like_text, refusal
from maquette.data.texts.material import Material, refuse_if, role
from maquette.data.texts.pairs import find_pairs, read_pairs
from maquette.data.texts.tables import is_table, read_tables

if TYPE_CHECKING:
    from maquette.data.archive import ArchiveFiles

HEAD = 2**16  # bytes by which a file without a known suffix is judged
LOOKED_AT = 20  # files of a folder without known suffixes
BESIDE = ("readme", "license", "licence", "copying", "changelog", "notice", "authors", "metadata")


class Texts(Protocol):
    """A source of texts."""

    def key(self) -> str:
        """Changes whenever the content may have changed; cheap, because every start computes it."""
        ...

    def load(self, asked: Sequence[str], strict: bool, say: Say) -> Material:
        """Everything in it. asked: columns that the user named, as far as they are known."""
        ...


class TextFile:
    """One file: a table by its suffix, else one long text."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def key(self) -> str:
        return digest(["text", stamp(self.path)])

    def load(self, asked: Sequence[str], strict: bool, say: Say) -> Material:
        return arrange([self.path.name], lambda name: bytes_of(self.path), asked, strict)


class TextFolder:
    """A folder of texts, tables or parallel files."""

    def __init__(self, root: Path, entries: Sequence[tuple[str, int, int]]) -> None:
        """entries: (name, bytes, time of change) of each file below `root`."""
        self.root, self.entries = root, entries

    def key(self) -> str:
        lines = "\0".join(f"{name}\0{size}\0{time}" for name, size, time in self.entries)
        return digest(["texts", self.root.resolve(), lines])

    def load(self, asked: Sequence[str], strict: bool, say: Say) -> Material:
        names = [name for name, _, _ in self.entries]
        return arrange(names, lambda name: bytes_of(self.root / name), asked, strict)


class TextArchive:
    """A .zip or .tar of what a folder of texts may hold, read in place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: ArchiveFiles | None = None

    def key(self) -> str:
        return digest(["text archive", stamp(self.path)])

    def load(self, asked: Sequence[str], strict: bool, say: Say) -> Material:
        files = self._listed(say)
        order = [files.names[i] for i in files.reading_order()]
        # Read once and forwards: a compressed .tar cannot be read backwards cheaply.
        held = {name: files.payloads([i])[0] for name, i in zip(order, files.reading_order(), strict=True)}
        tops = {name.partition("/")[0] for name in held}
        wrapper = f"{tops.pop()}/" if len(tops) == 1 and all("/" in name for name in held) else ""
        short = {name.removeprefix(wrapper): name for name in held}
        return arrange(sorted(short), lambda name: content(held[short[name]]), asked, strict)

    def is_text(self, target: Sequence[str], say: Say) -> bool:
        """Whether it holds texts and no pictures."""
        return in_names(self._listed(say).names)

    def _listed(self, say: Say) -> ArchiveFiles:
        if self._files is None:
            from maquette.data.archive import ArchiveFiles

            say(f"Reading the list of {self.path.name}")
            self._files = ArchiveFiles(self.path)
        return self._files


def in_file(path: Path) -> bool:
    """Whether a file is a text or a table: by its suffix, or by how it begins."""
    if _of_use(path.name):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return looks_like_text(head)


def in_folder(root: Path, names: Sequence[str]) -> bool:
    """Whether a folder holds texts and no pictures: by the names of its files, else by how they begin."""
    if in_names(names):
        return True
    taken = (*find_modality("image").SUFFIXES, *ARCHIVES, ".npy", ".npz")
    if not names or any(name.lower().endswith(taken) for name in names):
        return False
    return all(in_file(root / name) for name in names[:: max(1, len(names) // LOOKED_AT)])


def in_names(names: Sequence[str]) -> bool:
    """Whether files of these names are texts: none is a picture, and some are texts, tables or parallel files."""
    pictures = find_modality("image").SUFFIXES
    if any(name.lower().endswith(pictures) for name in names):
        return False
    return any(_of_use(name) for name in names) or bool(find_pairs(names))


def arrange(names: Sequence[str], read: Callable[[str], bytes], asked: Sequence[str], strict: bool) -> Material:
    """Sorts files by name into parallel files, tables or plain texts, and reads them."""
    decoder = Decoder()
    pairs = find_pairs(names) if len(names) > 1 else {}
    tables = [name for name in names if is_table(name) and not (len(names) > 1 and _beside(name))]
    plain = [name for name in names if _is_plain(name)]
    if len(plain) > 1:
        plain = [name for name in plain if not _beside(name)] or plain
    if pairs:
        used = [file for files in pairs.values() for file in files.values()]
        made = read_pairs(pairs, read, decoder, asked)
    elif tables and (len(tables) >= len(plain) or not plain):
        used = tables
        made = read_tables(tables, read, decoder, asked, strict)
    else:
        used = plain or list(names)
        made = _read_plain(used, read, decoder, strict)
    made.read, made.ignored = sorted(used), sorted(set(names) - set(used))
    made.notes += decoder.notes()
    return made


def _read_plain(names: Sequence[str], read: Callable[[str], bytes], decoder: Decoder, strict: bool) -> Material:
    """Documents, with the split and the class that their folders name."""
    kind = "text" if len(names) == 1 else "folder of texts"
    made = Material(kind, "long", {"text": []}, [], [], [], [], text_columns=["text"], encodings=decoder.encodings)
    for name in names:
        try:
            text = decoder.text(read(name), name)
        except Unreadable as error:
            if len(names) == 1:
                raise refusal(name, error) from None
            made.left_out.append((name, str(error)))
            refuse_if(strict, made.left_out)
            continue
        made.files.append(name)
        made.columns["text"].append(text)
    made.file, made.line = list(range(len(made.files))), [0] * len(made.files)
    _place(made)
    return made


def _place(made: Material) -> None:
    """Splits and classes of documents, from the names of their folders and files."""
    paths = [name.split("/") for name in made.files]
    tops = {path[0] for path in paths if len(path) > 1}
    made.stems = [None] * len(paths)
    if tops and all(role(top) for top in tops) and all(len(path) > 1 for path in paths) and len(tops) > 1:
        made.stems = [path[0] for path in paths]
        paths = [path[1:] for path in paths]
    elif all(len(path) == 1 for path in paths):
        stems = [path[0].partition(".")[0] for path in paths]
        if len(paths) > 1 and all(map(role, stems)) and {role(stem) for stem in stems} & {"test", "val"}:
            made.stems = list(stems)
    folders = [path[0] if len(path) > 1 else None for path in paths]
    kinds = set(folders)
    if None not in kinds and 1 < len(kinds) <= max(2, len(paths) // 2):
        made.labels["label"] = folders
    elif kinds - {None} and len(kinds) > 1:
        inside = some(sorted(folder for folder in kinds if folder))
        made.notes.append(f"The folders {inside} are not taken as classes: each class needs several texts.")


def _of_use(name: str) -> bool:
    return is_table(name) or _is_plain(name)


def _is_plain(name: str) -> bool:
    return name.lower().endswith(find_modality("text").SUFFIXES)


def _beside(name: str) -> bool:
    """Whether a file is about the data and not data."""
    return name.rpartition("/")[2].lower().partition(".")[0] in BESIDE
