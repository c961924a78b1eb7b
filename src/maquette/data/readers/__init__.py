"""Readers: from what a person names (a folder, an archive, a file, a known set) to a table of cells.

Each module of this package is a reader; nothing else has to know of it. It has

    ACCEPTS: str                            what it reads, for people: "IDX files"; {items} is filled in
    claims(place) -> float                  how sure it is that this is for it; 0: it is not; the highest reads
    read(place, columns) -> RawTable        columns: those that the user named, as far as they are known

and may have `NAMES` (sets that are known by name), `key(place) -> str` (of a place without a path), `remote(place) ->
bool` (whether reading may use the network), `beside(path) -> list[Path]` (files, or a folder of them, that belong to a
file that was named).
Sets that are known by name claim 1, whole folders of one form 0.9, files that belong together 0.8 to 0.5, files that
each stand for themselves 0.3.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from maquette.core.counts import counted, either
from maquette.core.errors import UserError, closest
from maquette.core.files import expanded
from maquette.core.find import modality_names
from maquette.core.modality import Unreadable, noun, part
from maquette.data.archive import SUFFIXES as ARCHIVES
from maquette.data.archive import Archive
from maquette.data.decode import unpacked_head
from maquette.data.disguised import START, check_fetched, check_written
from maquette.data.gathered import Gathered
from maquette.data.names import digest, shown
from maquette.data.passed_over import passed_over
from maquette.data.raw import Notify, RawTable
from maquette.data.trees import Folder, Joined, OneFile, Tree, stamp
from maquette.data.typing import HEAD, asked_for, kind_of_file, kinds_of_files

# Files that are about the data and not data, by their names without suffixes.
ABOUT = ("readme", "license", "licence", "copying", "changelog", "notice", "authors", "metadata")
_SUBMISSION = re.compile(r"(?:sample|gender|example)[_-]?submission|submission[_-]?(?:sample|format)")  # Kaggle's forms
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".xlsx")
ARRAYS = (".npy", ".npz", ".parquet", ".arrow")
_PACKED = (".rar", ".7z", ".zst", ".lz4")  # archives of programs that are not ours
ARCHIVED = 2  # archives of so many times the bytes of the data beside them hold something else than that data


@dataclass
class Place:
    """What a person named.

    path: None where it is the name of a set; downloads: where fetched sets are kept; splits: as in DataConfig; notes:
    what was decided when its files were listed; memory: what readers found that they will ask for again; columns: those
    that were named, as far as they are known
    """

    name: str
    path: Path | None
    downloads: Path
    splits: str = "auto"
    notify: Notify = field(default=lambda message: None)
    columns: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def tree(self) -> Tree:
        """The files there; those that together are one item of what was asked for are gathered. A place without a path
        has none."""
        tree = self._tree()
        for _, gathers in asked_for(self.columns, "gathers"):
            if groups := gathers(tree.names, lambda number: tree.head(number, 2**12)):
                return Gathered(tree, groups)
        return tree

    def _tree(self) -> Tree:
        if self.path is None:
            return Joined([])
        if not self.path.is_dir():
            return self._archive(self.path) if self.path.name.lower().endswith(ARCHIVES) else OneFile(self.path)
        folder = self.folder
        archives = {name: size for name, size, _ in folder.entries if name.lower().endswith(ARCHIVES)}
        loose = {name: size for name, size, _ in folder.entries if name not in archives} if archives else {}
        kinds = zip(loose.items(), kinds_of_files([*loose], self.columns), strict=True)
        data = sum(size for (name, size), kind in kinds if not is_about(name) and (kind or is_data(name)))
        if ARCHIVED * data >= sum(archives.values()):
            return folder  # without archives; or with those that it was unpacked from
        parts: list[tuple[str, Tree]] = [("", Folder(self.path, [*loose]))] if loose else []
        return Joined([*parts, *((_unsuffixed(name), self._archive(self.path / name)) for name in archives)])

    @cached_property
    def folder(self) -> Folder:
        """The folder itself, where the place is one."""
        assert self.path is not None
        return Folder(self.path)

    @cached_property
    def called(self) -> list[str | None]:
        """The modality that claims each file by its name."""
        return kinds_of_files(self.tree.names, self.columns)

    @cached_property
    def kinds(self) -> list[str | None]:
        """The modality that claims each file: by its name, or by its first bytes; None for tables and archives."""
        found = list(self.called)
        for i, name in enumerate(self.tree.names):
            if found[i] is None and not is_data(name) and not name.lower().endswith(ARCHIVES):
                found[i] = self._looks_like(i, HEAD if len(found) == 1 else 2**10)
        return found

    @cached_property
    def items(self) -> dict[str, list[int]]:
        """modality -> numbers of its files, those about the data left out where there are others; the bulk comes first.

        A file that is called what it is counts twice: annotations that merely look like something are no bulk. Of two
        kinds that are about as many, the one of more bytes is the bulk.
        """
        made: dict[str, list[int]] = {}
        for left_out in (True, False):
            for i, (name, kind) in enumerate(zip(self.tree.names, self.kinds, strict=True)):
                if kind is not None and not (left_out and is_about(name)):
                    made.setdefault(kind, []).append(i)
            if made:
                break
        weight = {kind: sum(1 if self.called[i] is None else 2 for i in files) for kind, files in made.items()}
        most = max(weight.values(), default=0)
        rivals = [kind for kind in made if 2 * weight[kind] >= most] if len(made) > 1 else []
        held = {kind: sum(map(self.tree.size, made[kind])) for kind in rivals}
        return dict(sorted(made.items(), key=lambda item: (-held.get(item[0], -1), -weight[item[0]])))

    def rivals(self, numbers: Sequence[int]) -> tuple[int, int]:
        """Files that stand for themselves beside these, which hold a row a line: those of the kind that these would be
        if they stood for themselves, and the most of another kind."""
        own = self._looks_like(numbers[0], 2**10)
        these = {*numbers}
        counts = {kind: len([i for i in files if i not in these]) for kind, files in self.items.items()}
        return counts.pop(own or "", 0), max(counts.values(), default=0)

    def _looks_like(self, number: int, size: int) -> str | None:
        head = unpacked_head(self.tree.head(number, size), size)
        return kind_of_file(self.tree.names[number], head, self.columns) if head else None

    def _archive(self, path: Path) -> Archive:
        self.notify(f"Reading the list of {path.name}")
        made = Archive(path)
        self.notes += made.notes
        return made


class Source:
    """Something that can be prepared."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._reader = _chosen(place) if place.path is None else None

    @property
    def remote(self) -> bool:
        """Whether loading may use the network."""
        return hasattr(self._reader, "remote") and bool(cast(Any, self._reader).remote(self.place))

    def key(self) -> str:
        """Changes whenever the content may have changed; cheap, because every start computes it."""
        path = self.place.path
        if path is None:
            return str(cast(Any, self._reader).key(self.place))
        if path.is_dir():
            return digest([path.resolve(), _listing(self.place.folder)])
        beside = [file for reader in readers() if hasattr(reader, "beside") for file in reader.beside(path)]
        return digest([stamp(path), *(_listing(Folder(file)) if file.is_dir() else stamp(file) for file in beside)])

    def load(self, notify: Notify, columns: Sequence[str] = ()) -> RawTable:
        """Everything in it. columns: those that the user named, as far as they are known."""
        self.place.notify, self.place.columns = notify, columns
        reader = self._reader or _chosen(self.place)
        made: RawTable = reader.read(self.place, columns)
        made.notes = [*self.place.notes, *made.notes]
        made.facts["passed_over"] = passed_over(self.place, made)
        if self.place.splits == "none":
            made.splits = [None] * len(made)
        return made


def find_source(source: str | Path, downloads: Path, splits: str = "auto") -> Source:
    """The source behind a path or a name; UserError, which says what is accepted, where there is none.

    downloads: where sets that are fetched are kept; splits: as in DataConfig
    """
    name = str(source)
    place = Place(name, None, downloads, splits)
    if isinstance(source, str) and any(reader.claims(place) for reader in readers()):
        return Source(place)
    path = expanded(name)
    try:
        exists, of_use = path.exists(), path.is_dir() or path.is_file()
    except OSError as error:
        raise UserError(f"'{name}' cannot be read: {error.strerror}.", "Check the path, and its permissions.") from None
    except ValueError as error:
        raise UserError(f"'{shown(name)}' is not a path: {error}.", f"Name {accepted()}.") from None
    if not exists and path.is_symlink():
        raise UserError(f"'{name}' is a link that leads nowhere: to '{path.readlink()}'.", "Name the data itself.")
    if not exists:
        names = _names()
        raise UserError(
            f"There is no data at '{name}'.",
            f"{_meant(name, names)} Name {accepted()}, or one of {', '.join(names)}.".strip(),
        )
    if not of_use:
        raise UserError(f"'{name}' is neither a file nor a folder.", f"Name {accepted()}.")
    if path.is_file():
        _check(path)
    return Source(Place(name, path, downloads, splits))


def _check(path: Path) -> None:
    """Refuses a file that is there and holds nothing of what its name says."""
    written = is_data(path.name) or path.name.lower().endswith(ARCHIVES)
    try:
        with path.open("rb") as file:
            head = file.read(START)
        if not head:
            raise Unreadable("empty", "Was it saved, or fetched, to its end?")
        (check_written if written else check_fetched)(head)
    except Unreadable as error:
        raise UserError(f"'{shown(str(path))}' is {error}.", error.remedy) from None
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}.", "Check its permissions.") from None


@cache
def readers() -> tuple[ModuleType, ...]:
    """The modules of this package."""
    return tuple(importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))


def accepted() -> str:
    """What can be read, for people."""
    known = [kind for kind in modality_names() if part(kind, "claims", "claims")]
    items = either(noun(kind) for kind in known)
    parts = [reader.ACCEPTS.format(items=items) for reader in readers()]
    return ", ".join(sorted(parts, key=lambda words: not words.startswith("a folder of")))


def is_table(name: str) -> bool:
    """Whether a file is a table by its name."""
    return name.lower().removesuffix(".gz").endswith(TABLES)


def is_data(name: str) -> bool:
    """Whether a file is, by its name, a table or holds arrays."""
    return is_table(name) or name.lower().endswith(ARRAYS)


def is_about(name: str) -> bool:
    """Whether a file is about the data and not data."""
    stem = name.rpartition("/")[2].lower().partition(".")[0]
    return stem in ABOUT or (is_table(name) and _SUBMISSION.search(stem) is not None)


def _chosen(place: Place) -> ModuleType:
    claims = [(reader.claims(place), reader) for reader in readers()]
    surest, reader = max(claims, key=lambda claim: claim[0])
    if surest > 0:
        return reader
    names = place.tree.names
    if place.tree.form == "file":
        packed = place.name.lower().endswith(_PACKED)
        remedy = "Unpack it, or pack what it holds as a .zip." if packed else f"Name {accepted()}."
        raise UserError(f"'{place.name}' is not data that Maquette knows.", remedy)
    known = {kind: part(kind, "SUFFIXES", "claims") for kind in modality_names() if part(kind, "claims", "claims")}
    of = either(noun(kind) for kind in known)
    may = "; ".join(f"{noun(kind)} ({', '.join(suffixes[:4])})" for kind, suffixes in known.items() if suffixes)
    ends = Counter(name.rpartition("/")[2].lower().rpartition(".")[1:] for name in names)
    counts = ", ".join(
        f"{count:,} {''.join(end) if end[0] else 'without a suffix'}" for end, count in ends.most_common(4)
    )
    holds = f"{counted(len(names), 'file', 'files')} ({counts})" if names else "nothing"
    remedy = f"It may hold {may}; folders become classes."
    if any(name.lower().endswith((*ARCHIVES, *_PACKED)) for name in names):
        remedy = "Unpack the archives in it, or pack what they hold as one .zip."
    elif place.tree.form == "folder" and (named := sorted(name for name in names if is_data(name))):
        remedy = f"Name the file itself: {shown(str(Path(place.name, named[0])))}"
    raise UserError(f"There are no {of} in '{shown(place.name)}': it holds {holds}.", remedy)


def _unsuffixed(name: str) -> str:
    """The name of an archive without its suffix."""
    return name[: -len(max((end for end in ARCHIVES if name.lower().endswith(end)), key=len))]


def _listing(folder: Folder) -> str:
    return "\0".join([f"{name}\0{size}\0{time}" for name, size, time in folder.entries])


def _names() -> list[str]:
    return [name for reader in readers() for name in getattr(reader, "NAMES", ())]


def _meant(name: str, names: Sequence[str]) -> str:
    """`Did you mean 'x'?`, where a data set of such a name is known, or lies in the folder of the user's data."""
    root, held = os.environ.get("MAQUETTE_DATA"), dict[str, str]()
    if root:
        with contextlib.suppress(OSError):
            held = {path.name: str(path) for path in expanded(root).iterdir()}
    close = closest(name, {*names, *held}) if "/" not in name else None
    # What ships is found by its name alone; of other data it takes the path.
    return "" if close is None else f"Did you mean '{close if close in names else held[close]}'?"
