"""What the names of files say: which split each belongs to, and the class that its folder names.

The convention is that of ImageFolder: train/ and test/ (or validation/) on top, then a folder for each class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
}  # fmt: skip
MOST_SPLITS = 20  # of more names, only what they are for tells splits apart: test_0001, test_0002, ...


@dataclass
class Layout:
    """What the names of N files say.

    splits:  of each file, in the words of its name; None: it names none
    classes: of each file; None where folders are no classes
    stray:   whether a file lies outside of all class folders
    """

    splits: list[str | None]
    classes: list[str | None] | None = None
    stray: list[bool] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def layout(names: Sequence[str], items: str, classes: bool = True, listed: bool = False) -> Layout:
    """What the names of files say.

    items: what they are, for people: "sounds"; classes: whether folders may name classes; listed: whether a table lists
    the files, so that a single folder is not taken for a class
    """
    paths = _without_wrapper([name.split("/") for name in names])
    splits, paths = _take_splits(paths)
    made = Layout(splits, stray=[False] * len(paths))
    if classes:
        _take_classes(made, paths, items, listed)
    return made


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


def split_of(name: str) -> str:
    """The split that a file belongs to, of its name without suffixes: train, train/part-0, 2016/train -> train."""
    stem = name.rpartition("/")[2]
    return stem if role(stem) or "/" not in name else name.partition("/")[0]


def _without_wrapper(paths: list[list[str]]) -> list[list[str]]:
    """Drops folders that merely wrap everything, as archives like to have on top."""
    while paths and len({p[0] for p in paths}) == 1 and all(len(p) >= 3 for p in paths):
        paths = [p[1:] for p in paths]
    return paths


def _take_splits(paths: list[list[str]]) -> tuple[list[str | None], list[list[str]]]:
    """The split of each path where all top folders, or all files without one, are named after splits; and the rest."""
    inside = bool(paths) and all(len(p) > 1 for p in paths)
    if not inside and any(len(p) > 1 for p in paths):
        return [None] * len(paths), paths
    words = [p[0] if inside else p[0].partition(".")[0] for p in paths]
    roles = {word: role(word) for word in dict.fromkeys(words)}
    if not all(roles.values()) or len({*roles.values()}) < 2:
        return [None] * len(paths), paths
    many = len(roles) > MOST_SPLITS
    return [roles[word] if many else word for word in words], [p[1:] for p in paths] if inside else paths


def _take_classes(made: Layout, paths: list[list[str]], items: str, listed: bool) -> None:
    """Class folder of each path, and which paths lie outside of all of them."""
    inside = [p[0] for p in paths if len(p) > 1]
    kinds = len(set(inside))
    if not inside or (listed and kinds < 2):
        return
    if 2 * len(inside) <= len(paths):
        made.notes.append(f"{len(inside):,} of {len(paths):,} {items} lie in sub-folders: these are not classes.")
        return
    if kinds > 2 and 2 * kinds > len(inside):
        made.notes.append(f"{kinds:,} sub-folders for {len(inside):,} {items}: these are not taken as classes.")
        return
    if any(len(p) > 2 for p in paths):
        made.notes.append("Folders inside the class folders do not count: the first folder names the class.")
    made.classes = [p[0] if len(p) > 1 else None for p in paths]
    made.stray = [len(p) == 1 for p in paths]
