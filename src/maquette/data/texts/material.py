"""Texts as they were read, before anything is chosen, split or tokenized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from maquette.core.errors import UserError
from maquette.data.layout import SPLITS
from maquette.data.text import shown

TEST = "test"
TRAIN = "train"


@dataclass(frozen=True)
class Fault:
    """Why an item is left out. column: the one at fault, where it is one of several."""

    reason: str
    column: str = ""


@dataclass
class Material:
    """Items of a source, each with the place it was read from.

    kind:    what the source is, for people: "text", "table", "parallel files", ...
    form:    "long" where an item is a document, "rows" where it is a row of a table
    columns: column name -> one text an item (None: missing)
    labels:  columns that are classes by their nature (names of folders), never text
    files:   names of the files; file: i, the file of each item; line: its line there, 0 for a whole document
    stems:   the split that the data itself names for each item ("train", "val", "test_2016_flickr"), or None
    read:    names of all files that were read; parallel files have one entry in `files`
    beside:  parallel files: of each entry in `files`, the file of each column
    text_columns: of `columns`, those that may be text (in their order); the others are numbers
    """

    kind: str
    form: str
    columns: dict[str, list[str | None]]
    files: list[str]
    file: list[int]
    line: list[int]
    stems: list[str | None]
    labels: dict[str, list[str | None]] = field(default_factory=dict)
    text_columns: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    pairs: bool = False
    beside: list[dict[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    encodings: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.line)

    def place(self, i: int, column: str = "") -> str:
        """Where an item, or one column of it, was read: a file, and the line in it."""
        number = self.file[i]
        files = self.beside[number] if self.beside else {}
        return place(files.get(column, self.files[number]), self.line[i])

    def keep(self, items: Sequence[int]) -> None:
        """Only these items."""
        for columns in (self.columns, self.labels):
            for name, values in columns.items():
                columns[name] = [values[i] for i in items]
        self.file, self.line = [self.file[i] for i in items], [self.line[i] for i in items]
        self.stems = [self.stems[i] for i in items]

    def leave_out(self, faults: dict[int, Fault], strict: bool) -> None:
        """Leaves out items by number, with the fault of each; the first one stops everything if `strict`."""
        if not faults:
            return
        found = self.named(faults)
        refuse_if(strict, found)
        self.left_out += found
        self.keep([i for i in range(len(self)) if i not in faults])

    def named(self, faults: dict[int, Fault]) -> list[tuple[str, str]]:
        """The place and the reason of each fault, in the order of the items."""
        return [(self.place(i, fault.column), fault.reason) for i, fault in sorted(faults.items())]


def place(file: str, line: int) -> str:
    return f"{file}:{line}" if line else file


def refuse_if(strict: bool, left_out: Sequence[tuple[str, str]]) -> None:
    if strict and left_out:
        name, reason = left_out[0]
        raise UserError(
            f"'{shown(name)}' cannot be used: {reason} ({len(left_out):,} so far; --strict stops here).",
            "Mend or remove it, or leave --strict away to go on without it.",
        )


def split_of(name: str) -> str:
    """The split that a file belongs to, of its name without suffixes: train, train/part-0, 2016/train -> train."""
    stem = name.rpartition("/")[2]
    return stem if role(stem) or "/" not in name else name.partition("/")[0]


def role(stem: str) -> str:
    """What a split is for, by its name: "train", "val", "test", or "" for a further one."""
    lower = stem.lower()
    if lower in SPLITS:
        return SPLITS[lower]
    for word in ("train", "test", "val", "dev"):
        rest = lower.removeprefix(word)
        if rest != lower and not rest[:1].isalpha():  # test_2016, train-1; not "testimony"
            return SPLITS[word]
    return ""
