"""What edits make of items, which may be of any size, and where it is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from maquette.core.about import About
from maquette.core.errors import UserError
from maquette.core.files import make_folder
from maquette.core.held import held


@dataclass(frozen=True)
class Edited:
    """Items that an edit made: a kind adds what its items have beside their values, and how one is written.

    items: f32[...] in [-1, 1], each of its own size      names: of their files, without suffixes
    """

    items: list[Tensor]
    names: list[str]
    about: About

    def __len__(self) -> int:
        return len(self.items)

    def write(self, path: str | Path, item: int = 0) -> Path:
        """Writes one of them, in the format of the suffix."""
        raise NotImplementedError

    def save(self, folder: str | Path, suffix: str) -> list[Path]:
        """Writes all of them into a folder, by the names of what they were made from."""
        with held(folder := make_folder(Path(folder))):
            return [self.write(folder / f"{name}{suffix}", i) for i, name in enumerate(self.names)]


def one_file(out: Path, count: int, suffixes: Sequence[str], items: str) -> bool:
    """Whether `count` answers go into the one file `out`; else it is a folder. UserError where they do not fit.

    suffixes: of the formats that are written      items: what they are called, such as "sounds"
    """
    if out.is_dir() or not out.suffix:
        return False
    if count != 1:
        raise UserError(f"There are {count} {items} to write, and '{out}' is one file.", "Name a folder with -o.")
    if not out.name.lower().endswith(tuple(suffixes)):
        raise UserError(f"{items.capitalize()} cannot be written as '{out.suffix}'.", f"Use {', '.join(suffixes)}.")
    return True


def check_kept(originals: Iterable[Path], out: Path) -> None:
    """Refuses to write over what is edited, or into its folder."""
    for path in originals:
        if out.resolve() in (path.resolve(), path.resolve().parent):
            raise UserError(
                f"'{path}' would be in the way of what is written to '{out}'.",
                "Originals are never overwritten: name another file or folder with -o.",
            )
