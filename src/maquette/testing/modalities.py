"""The contract of every modality: from made-up cells to tensors, to files, and back."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from maquette.core.about import About
from maquette.core.data_config import DataConfig
from maquette.core.find import find_modality
from maquette.core.modality import Modality, Notes, Unreadable, part
from maquette.core.spec import ClassSpec, ColumnSpec, DataSpec, GridSpec, NumberSpec, TokenSpec
from maquette.data.cache import Cache
from maquette.data.choose import Use
from maquette.data.prepare import prepare
from maquette.data.raw import Cell, Cells, File, Files, RawTable, Values
from maquette.testing.checks import Check, ContractError, Result, Skipped, bound, require, run_all
from maquette.testing.models import meets

ITEMS = 24
HELD_OUT = 8
ABOUT = About("Maquette 0.0", "runs/contract", "contract", 7, 3, True, {"label": "a label"})
TOLERANCE = 0.02  # of values in [-1, 1] that went through a file


def check_modality(kind: str, config: Any = None) -> Result:
    """Checks a modality against the contract, on the cells that its `made_up_cells` makes up.

    kind:   its name ("label") or dotted module      config: of its Config; None: the defaults
    Raises ContractError with the first check that fails.
    """
    return run_all(modality_checks(kind, config))


def modality_checks(kind: str, config: Any = None) -> Iterator[Check]:
    """The same, check by check. Nothing is imported before the first of them is run."""
    yield from bound(CHECKS, Bench(kind, config))


@dataclass(frozen=True)
class Bench:
    """A modality, and made-up cells of it on their way through preparation."""

    kind: str
    own_config: Any = None

    @cached_property
    def modality(self) -> Modality:
        return find_modality(self.kind)

    @cached_property
    def config(self) -> Any:
        return self.modality.Config() if self.own_config is None else self.own_config

    def part(self, name: str, module: str = "data") -> Callable[..., Any]:
        """One of its functions; ContractError where it is missing."""
        found = part(self.kind, name, module)
        if found is None:
            raise ContractError(f"'{self.kind}' has no {name}, in its package or in its module {module}.py")
        return found

    def cells(self, items: int = ITEMS, seed: int = 0) -> list[Cell]:
        return list(self.part("made_up_cells", "contract")(items, seed))

    def interpreted(self, cells: Sequence[Cell]) -> list[Any]:
        interpret, column = part(self.kind, "interpret", "data"), column_of(cells)
        column = interpret(column, self.config, Notes()) if interpret else column
        return list(column.take(range(len(column))))

    @cached_property
    def readable(self) -> list[Any]:
        return self.interpreted(self.cells())

    @cached_property
    def facts(self) -> list[Any]:
        examine = self.part("examine")
        return [examine(cell, self.config) for cell in self.readable]

    @cached_property
    def spec(self) -> ColumnSpec:
        """Fitted to all cells, and complete."""
        spec = self.part("fit")(self.readable, self.facts, self.config, None, Notes())
        complete = part(self.kind, "complete", "data")
        if complete is None:
            return spec
        items = self.part("encode")(self.readable, spec, self.config)
        ragged = isinstance(spec, TokenSpec)
        return complete(spec, np.array([len(x) for x in items]) if ragged else None, self.facts, None)

    @cached_property
    def stored(self) -> list[Any]:
        return list(self.part("encode")(self.readable, self.spec, self.config))

    @cached_property
    def items(self) -> Tensor:
        return self.canonical(self.stored)

    def canonical(self, stored: Sequence[np.ndarray]) -> Tensor:
        """Sequences are padded with 0, as tables do."""
        if isinstance(self.spec, TokenSpec):
            longest = max(len(row) for row in stored)
            stored = [np.pad(row, (0, longest - len(row))) for row in stored]
        return self.modality.canonical(np.stack(stored))

    def fitted_by_pipeline(self, held_out: Sequence[Cell], folder: Path) -> ColumnSpec:
        """The specification of a table of our cells, and of these that its own splits hold out."""
        cells = [*self.cells(), *held_out]
        if issubclass(self.modality.Spec, ClassSpec):  # nothing tells rows of classes alone apart, so no table has them
            examine, fit = self.part("examine"), self.part("fit")
            facts = [examine(cell, self.config) for cell in self.interpreted(cells)]
            return fit(self.readable, facts[:ITEMS], self.config, None, Notes())
        splits: list[str | None] = [*["train"] * ITEMS, *["test"] * len(held_out)]
        table = RawTable("table", {"x": column_of(cells)}, [f"row {i}" for i in range(len(cells))], splits)
        config = DataConfig(source="contract").model_copy(update={self.kind: self.config})
        use = Use({"x": self.kind}, ("x",), ("x",), False, {})
        return prepare(table, use, config, None, None, Cache(folder), lambda message: None).specs["x"]


# -- what it is --------------------------------------------------------------------------------------


def is_complete(b: Bench) -> None:
    """It has the words for its items, a Spec of one of the four forms, a Config, and what data is prepared by."""
    m = b.modality
    require(isinstance(m.KIND, str) and b.kind.endswith(m.KIND), f"KIND is {m.KIND!r}, and it is found as '{b.kind}'")
    words = isinstance(m.NOUN, tuple) and len(m.NOUN) == 2 and all(isinstance(w, str) and w for w in m.NOUN)
    require(words, f"NOUN is {m.NOUN!r}, not a word for one and a word for many")
    suffix = getattr(m, "PREVIEW_SUFFIX", "")
    require(suffix.startswith(".") and len(suffix) > 1, f"PREVIEW_SUFFIX is {suffix!r}, not like '.png'")
    forms = [form for form in (GridSpec, TokenSpec, ClassSpec, NumberSpec) if issubclass(m.Spec, form)]
    require(len(forms) == 1, f"Spec has {len(forms)} of the four forms of core/spec.py")
    require(b.spec.kind == b.kind, f"the specification is of the kind '{b.spec.kind}', not '{b.kind}'")
    for name in ("canonical", "write", "preview", "made_up"):
        require(callable(getattr(m, name, None)), f"there is no {name}()")
    for name in ("examine", "fit", "encode"):
        b.part(name)


def config_is_plain(b: Bench) -> None:
    """Its Config is the same after YAML or JSON, and refuses keys that it does not know."""
    plain = b.config.model_dump(mode="json")
    again = type(b.config).model_validate(json.loads(json.dumps(plain)))
    require(again == b.config, "Config is not the same after it was written and read")
    try:
        b.modality.Config(no_such_key=1)
    except ValidationError:
        return
    raise ContractError("Config takes a key that it does not know: set extra='forbid'")


def spec_is_plain(b: Bench) -> None:
    """The specification is the same after JSON, and its assets are str."""
    spec = DataSpec(columns={"x": b.spec}, target=("x",))
    again = DataSpec.model_validate_json(spec.model_dump_json())
    require(again == spec, "the specification is not the same after it was written and read")
    for name in b.spec.assets:
        require(isinstance(getattr(b.spec, name), str), f"the asset '{name}' is not str")


# -- how data is prepared ----------------------------------------------------------------------------


def encoding_meets_the_spec(b: Bench) -> None:
    """Cells become arrays of plain numbers, the same each time, whose canonical form meets the specification."""
    require(len(b.stored) == ITEMS, f"encode() gives {len(b.stored)} items for {ITEMS} cells")
    for cell, item in zip(b.readable, b.stored, strict=True):
        require(not isinstance(item, Unreadable), f"encode() refuses the cell {str(cell)[:40]!r}, which fit() has seen")
    kinds = {np.asarray(item).dtype for item in b.stored}
    require(len(kinds) == 1, f"encode() gives several types: {', '.join(map(str, kinds))}")
    require(not next(iter(kinds)).hasobject, "encode() gives Python objects, which cannot be stored without pickle")
    again = b.part("encode")(b.readable, b.spec, b.config)
    same = all(np.array_equal(x, y) for x, y in zip(b.stored, again, strict=True))
    require(same, "encode() gives other items the second time")
    meets(b.spec, b.items, ITEMS, b.kind)


def made_up_meets_the_spec(b: Bench) -> None:
    """made_up() gives items as the specification says, of any number."""
    for items in (1, 8):
        meets(b.spec, b.modality.made_up(b.spec, items), items, b.kind)


def broken_cells_are_unreadable(b: Bench) -> None:
    """What is broken, empty or cannot be read raises Unreadable with its reason, and leaves what is beside it alone."""
    suffix = getattr(b.modality, "PREVIEW_SUFFIX", ".bin")
    are_files = isinstance(b.cells(1)[0], File)
    general = [File(f"empty{suffix}", b""), File(f"gone{suffix}", str(Path("no") / "such"))] if are_files else ["", " "]
    own = part(b.kind, "broken_cells", "contract")
    for broken in [*general, *(own() if own else ())]:
        named = f"the cell {str(getattr(broken, 'name', broken))[:40]!r}"
        try:
            (cell, good) = b.interpreted([broken, b.cells(1)[0]])
            if isinstance(cell, Unreadable):
                raise cell
            b.part("examine")(cell, b.config)
            (item, beside) = b.part("encode")([cell, good], b.spec, b.config)
            require(not isinstance(beside, Unreadable), f"{named} makes the one beside it unreadable")
            if isinstance(item, Unreadable):
                raise item
        except Unreadable as error:
            require(bool(str(error).strip()), f"{named} is refused without a reason")
        except ContractError:
            raise
        except Exception as error:
            raise ContractError(f"{named} raises {type(error).__name__}, not Unreadable: {error}") from error
        else:
            raise ContractError(f"{named} is broken, and is taken")


def fit_reads_training_rows_only(b: Bench) -> None:
    """Other held-out rows, however odd, change nothing of the specification."""
    with tempfile.TemporaryDirectory() as folder:
        plain, odd = (
            b.fitted_by_pipeline(b.cells(ITEMS + HELD_OUT, seed)[-HELD_OUT:], Path(folder) / str(seed))
            for seed in (0, 1)
        )
    different = [name for name in type(plain).model_fields if getattr(plain, name) != getattr(odd, name)]
    require(not different, f"held-out rows change {', '.join(different)}")


# -- how it is written -------------------------------------------------------------------------------


def written_files_are_read_back(b: Bench) -> Skipped | None:
    """A file that write() makes is claimed by the modality, if it is asked for, and read back it is the item that was
    written."""
    claims = part(b.kind, "claims", "claims")
    if claims is None:
        return Skipped("its items are not told from files: it has no claims()")
    may_be = part(b.kind, "may_be", "claims") or claims
    with tempfile.TemporaryDirectory() as folder:
        for i in range(3):
            path = b.modality.write(b.items[i], Path(folder) / f"{i}{b.modality.PREVIEW_SUFFIX}", b.spec, ABOUT)
            head = path.read_bytes()[: 2**16]
            known = any(asked(path.name, seen) for asked in (claims, may_be) for seen in (b"", head))
            require(known, f"'{path.name}' was written, and is not claimed")
            (cell,) = b.interpreted([File(path.name, str(path))])
            itemise = part(b.kind, "itemise", "data")
            cell = next((item for _, item in itemise(cell, b.config, b.spec)), cell) if itemise else cell
            b.part("examine")(cell, b.config)
            (stored,) = b.part("encode")([cell], b.spec, b.config)
            require(not isinstance(stored, Unreadable), f"'{path.name}' was written, and cannot be read: {stored}")
            again, item = b.canonical([stored])[0], b.items[i]
            if isinstance(b.spec, TokenSpec):
                item = item[: len(again)]
            same = again.shape == item.shape and torch.allclose(again.float(), item.float(), atol=TOLERANCE)
            require(same, f"'{path.name}' is not the item that was written")
    return None


def files_say_where_they_come_from(b: Bench) -> None:
    """What write() and preview() are told of a file's origin stands in it, or in the .json beside it."""
    with tempfile.TemporaryDirectory() as folder:
        suffix = b.modality.PREVIEW_SUFFIX
        one = b.modality.write(b.items[0], Path(folder) / f"one{suffix}", b.spec, ABOUT)
        many = b.modality.preview(b.items[:3], Path(folder) / f"many{suffix}", b.spec, [], ABOUT)
        for path in (one, many):
            beside = path.with_suffix(".json")
            content = path.read_bytes() + (beside.read_bytes() if beside.is_file() else b"")
            missing = [name for name, value in ABOUT.fields.items() if value.encode() not in content]
            require(not missing, f"'{path.name}' does not say its {', '.join(missing)}")


def previews_of_any_number(b: Bench) -> None:
    """preview() writes a file of no item, of one and of many, with captions and without."""
    with tempfile.TemporaryDirectory() as folder:
        for count in (0, 1, 7):
            for captions in ([], [f"caption {i}" for i in range(count)]):
                path = Path(folder) / "deep" / f"{count}-{len(captions)}{b.modality.PREVIEW_SUFFIX}"
                path.parent.mkdir(exist_ok=True)
                try:
                    made = b.modality.preview(b.items[:count], path, b.spec, captions, ABOUT)
                except Exception as error:
                    raise ContractError(f"preview() of {count} items raises {error!r}") from error
                require(Path(made).is_file(), f"preview() of {count} items writes no file")


CHECKS = (
    is_complete, config_is_plain, spec_is_plain, encoding_meets_the_spec, made_up_meets_the_spec,
    broken_cells_are_unreadable, fit_reads_training_rows_only, written_files_are_read_back,
    files_say_where_they_come_from, previews_of_any_number,
)  # fmt: skip


def column_of(cells: Sequence[Cell]) -> Cells:
    """Cells as a reader hands them on."""
    files = [cell for cell in cells if isinstance(cell, File)]
    if not files:
        return Values(list(cells))  # type: ignore[arg-type]
    if len(files) < len(cells):
        raise ContractError("made_up_cells() gives files and values in one column")
    return Files(
        [file.name for file in files], range(len(files)), lambda numbers: [files[number].payload for number in numbers]
    )
