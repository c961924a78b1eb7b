"""What a model made: canonical tensors that show themselves and save themselves as files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.core.about import About
from maquette.core.errors import UserError
from maquette.core.files import make_folder, ready
from maquette.core.find import find_modality
from maquette.core.held import held
from maquette.core.modality import noun, part
from maquette.core.shown import file_stem, file_stems
from maquette.core.spec import ClassSpec, DataSpec, NumberSpec

if TYPE_CHECKING:  # it takes a second to import, which captions can do without
    from torch import Tensor

TAIL = 60  # characters of a caption in a file's name


@dataclass(frozen=True)
class Samples:
    """Items of a sample.

    target: canonical tensors by column      given: what was asked for each item
    seed:   item i depends on (seed, i) and what is given alone
    about:  where they come from, for the files' metadata

    The items of a run with one target are also there as Python has them, by what their kind calls them (NOUN): those of
    a kind whose items are sounds are `samples.sounds`.
    """

    target: dict[str, Tensor]
    given: dict[str, Tensor]
    spec: DataSpec
    seed: int
    about: About

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    else:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            kinds = [self.spec.columns[column].kind for column in self.spec.target]
            if kinds and name == noun(kinds[0]):
                return self.objects
            other = ", ".join(noun(kind) for kind in kinds)
            raise AttributeError(f"These are samples of {other}: use .{noun(kinds[0])}, .only, .preview() or .save().")

    def __len__(self) -> int:
        return len(next(iter(self.target.values())))

    @property
    def only(self) -> Tensor:
        """The one target of a single-target model, canonical; UserError where there are several."""
        return self.target[self.spec.only_name]

    @property
    def objects(self) -> list[Any]:
        """The items of the one target as Python has them, such as strings."""
        column = self.spec.only()
        view = part(column.kind, "view", "values")
        if view is None:
            raise UserError(f"There is nothing in Python that {noun(column.kind)} are.", "Use .only or .save().")
        return [view(item, column) for item in self.only]

    @property
    def captions(self) -> list[str]:
        """What each item was made from, in words; empty when nothing was given."""
        return captions(self.given, self.spec)

    def preview(self, columns: int | None = None) -> Any:
        """All items as one thing to look at, as their modality has it, such as one string.

        columns: how many stand side by side, for kinds that do
        """
        column = self.spec.only()
        sheet = find_modality(column.kind).sheet
        more = {} if columns is None else {"columns": columns}
        return sheet(self.only, column, captions_shown(self.given, self.spec, column.kind), **more)

    def save(self, folder: str | Path, suffix: str | None = None, start: int = 0) -> list[Path]:
        """Writes one file an item, or one of each form that its modality has beside it (BESIDE); of several targets a
        folder an item, with a file for each. The metadata of each file says which run and seed made it.

        suffix: of the files, where there is one target; None: as their modality has it
        """
        shown, paths = self.captions, []
        with held(folder := make_folder(Path(folder))):
            for i in range(len(self)):
                tail = file_stem(shown[i][:TAIL]) if shown else ""
                stem = f"{start + i:05d}-{tail}" if tail else f"{start + i:05d}"
                if len(self.spec.target) == 1:
                    modality = find_modality(self.spec.only().kind)
                    own = (suffix,) if suffix else (modality.PREVIEW_SUFFIX, *getattr(modality, "BESIDE", ()))
                    paths += [self.write(folder / f"{stem}{one}", i, start) for one in own]
                else:
                    paths += self._write_together(folder / stem, i, start)
        return paths

    def _write_together(self, folder: Path, item: int, start: int) -> Iterator[Path]:
        """Writes one item of several targets: a file for each, named by its column."""
        for name, stem in file_stems(self.spec.target).items():
            file = f"{stem}{find_modality(self.spec.columns[name].kind).PREVIEW_SUFFIX}"
            yield self._write(name, folder / file, item, start)

    def write(self, path: str | Path, item: int = 0, start: int = 0) -> Path:
        """Writes one item of the one target to a file, with its metadata. start: the number of the first item."""
        return self._write(self.spec.only_name, Path(path), item, start)

    def _write(self, name: str, path: Path, item: int, start: int) -> Path:
        column = self.spec.columns[name]
        about = self.about.of(self.seed, start + item).with_more(captions_by_column(self.given, self.spec, item))
        return find_modality(column.kind).write(self.target[name][item], ready(path), column, about)

    def write_preview(self, path: str | Path) -> Path:
        """Writes all items of the one target as one file, each of several under its caption, if any."""
        column = self.spec.only()
        about = self.about.of(self.seed, items=str(len(self)))
        shown = captions_shown(self.given, self.spec, column.kind) if len(self) > 1 else []
        return find_modality(column.kind).preview(self.only, ready(Path(path)), column, shown, about)

    def __str__(self) -> str:
        if len(self.spec.target) > 1:
            return repr(self)
        shown = self.preview()
        return shown if isinstance(shown, str) else repr(self)

    def _repr_png_(self) -> bytes | None:
        """For notebooks, where what there is to look at has such a form itself."""
        shown = self.preview() if len(self.spec.target) == 1 else None
        draw = getattr(shown, "_repr_png_", None)
        return draw() if draw else None


def captions(given: dict[str, Tensor], spec: DataSpec) -> list[str]:
    """What each item is made from, in words, with commas between the columns; empty where nothing is given."""
    count = max((len(value) for value in given.values()), default=0)
    found = [", ".join(filter(None, captions_by_column(given, spec, i).values())) for i in range(count)]
    return found if any(found) else []


def captions_shown(given: dict[str, Tensor], spec: DataSpec, kind: str) -> list[str]:
    """The captions in a preview of items of a kind: none where the modality says that they have no room."""
    return captions(given, spec) if _captioned(kind) else []


def _captioned(kind: str) -> bool:
    captioned = part(kind, "CAPTIONED", "values")
    return captioned is None or bool(captioned)


def quotes(spec: DataSpec, kind: str) -> bool:
    """Whether the captions in a preview of items of a kind may be items of the data itself, word for word: there is a
    given column that is neither a class nor a number."""
    return _captioned(kind) and any(not isinstance(spec.columns[name], ClassSpec | NumberSpec) for name in spec.given)


def captions_by_column(given: dict[str, Tensor], spec: DataSpec, item: int) -> dict[str, str]:
    """What one item is made from, in words, by given column; columns that cannot be said in words are left out."""
    said = {}
    for name, values in given.items():
        column = spec.columns[name]
        caption = part(column.kind, "caption", "values")
        if caption is not None and (words := caption(values[item], column)):
            said[name] = words
    return said
