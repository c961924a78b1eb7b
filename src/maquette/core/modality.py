"""What a modality is: everything that Maquette knows of one kind of column.

A modality is a package found by name: `<kind>` is `maquette.modalities.<kind>`, `my_package.molecule` a user's own.
What is listed in `Modality` stands in its `__init__.py`, or is reached through it. What is optional is found by name as
well, as an attribute of the package or of a module in it (see `part`), so that `maquette --help` imports none of it:

    claims.py     claims, may_be, gathers, claims_array, claims_values    which files, arrays and values are of this
                  kind: data/typing
    data.py       what prepared data is made by, see below; `examine`, `fit` and `encode` are required
    measures.py   MEASURES   tuple[core.measure.Measure, ...]   what is measured of samples beyond what is general
    report.py     SECTIONS   tuple[core.section.Section, ...]   parts of the report
                  tiles(...), draw(...), ...   how items are shown on a page and in figures: see report/show.py
    usage.py      usage(spec) -> report.usage.Usage            how a run is used, in its model card
    watches.py    WATCHES    tuple[core.model.Watch, ...]       alarms;  inspector(dataset, spec, column) -> Inspect
    features.py   features(...)                                 the network that general distances are measured in
    damage.py     DAMAGES    tuple[core.measure.Damage, ...]    harm to items that measures must see: evaluation/damage

How a column becomes tensors. A cell is a file, bytes or a value (data/raw.py); `config` is the modality's Config:

    interpret(cells: Cells, config, notes: Notes) -> Cells
        What the cells of a column mean together, before one is looked at: a scale guessed once, files decoded. A cell
        that turns out to be none becomes Unreadable. Optional.
    itemise(cell, config, known: ColumnSpec | None) -> list[tuple[int, Cell]]
        The items of a cell that holds many, each with its number, where that is asked for or a trained run knows
        single ones (lines of a file); [] where the cell is one. Each is examined anew. Optional.
    examine(cell, config) -> Facts
        What is known of one item without preparing it: anything that can be pickled. Raises Unreadable(reason), and
        the row is left out by name and reason. Runs in worker processes for columns of many files.
    parts(facts, config, files) -> int
        How many items a cell holds that is one of so many files. Each becomes a row, whose cell is the same file with
        its number (`File.part`), and is examined and encoded by it. Optional: without it a file is one item.
    divide(cells, facts, share, config, known) -> list[tuple[Cell, Cell]] | None
        Each of a few long items as a beginning and an end that makes up `share` of it; None where they are not long.
        Optional: without it every item is learned from, or held out, whole.
    fit(cells, facts, config, known: ColumnSpec | None, notes) -> ColumnSpec
        The specification of a column, from the cells of training rows and their facts alone. known: that of a trained
        run, in whose shape, tokens or classes other data is to be prepared.
    fit_together(columns: {name: (cells, facts)}, config, known: {name: ColumnSpec}, notes) -> {name: ColumnSpec}
        The same for several columns that share something, such as a vocabulary. Optional.
    widen(spec, facts) -> ColumnSpec
        The specification with values that only other rows have, where values are names (classes): these are known of
        all rows. facts: of all rows, None for a row that has no value (the cell None). Optional: without it, a row that
        has no value is left out.
    encode(cells: list, spec, config) -> list[np.ndarray | Unreadable]
        Items as they are stored: of one shape, or, for a TokenSpec, sequences of any length, in one and the same type.
    complete(spec, lengths: i64[n], facts, known) -> ColumnSpec
        The specification once the items of the training rows are encoded and their lengths known. Optional.
    window(spec) -> Window | None
        How a column of long sequences is read in windows; None where each item stands for itself. Optional.
    describe(column: Examined, notes) -> dict
        JSON-able facts about a prepared column for people, without any of its items. "rows": [[name, value], ...], the
        lines of it to be printed. Optional.
    Likeness()
        Finds items that nearly equal one another: add(items), in order, chunk by chunk, as they are stored (sequences
        as a list of arrays); and then
        pairs(stored, rows: i64[n]) -> i64[P, 2], positions in `rows`. Optional: without it only equal items are copies.
What people ask of it and see of it:

    values.py   asked(value, spec, notify) -> Tensor   one canonical item of what a person gives (`--label seven`)
                caption(item, spec) -> str             an item in a few words; "" where it has none
                view(item, spec) -> Any                an item as Python has it: a string, a PIL object, a float
                PRINTED    True: samples are shown on the terminal, as `sheet` and `view` have them; RULE between them
                CAPTIONED  False: a preview has no room for captions
                pace(items, spec, took) -> str         how fast items that last were made in so many seconds. Optional
    sets.py     SETS, DEMO                             sets known by name that it makes (data/readers/made.py); Optional
    options.py  OPTIONS(model, spec) -> tuple[Option, ...]     of sampling; spec: of the target column
                plan(generator, column, asked, given, n, facts) -> core.option.Plan   what they ask of the model
                stream(generator, column, asked, given, seed, item, facts, about) -> Iterator[str | bytes]
                                                               an item as it is made: words, or a file for a pipe
                written(spec, asked) -> what shows an item as it is written: `push` a token, `rest`, `begin` and `end`
                facts(dataset, spec, column) -> dict           what a run keeps of its data for sampling (data.json)
                DATA_OPTIONS  tuple[Option, ...]               of `train`: keys of its Config
                first_recipe(given: Sequence[type[ColumnSpec]], spec: ColumnSpec | None) -> str
                                                               what to begin with, given such columns; spec: of the
                                                               target, None before it is known
                first_command(spec, run) -> str                what to try after training
                extent(spec) -> (float, str)                   how large items are: for recipes/needs.yaml, and in words
                smaller(spec) -> {words: spec}                 smaller items, by the option of `train` for them
    verbs.py    VERBS     tuple of click commands, whose context object is a function (run, device) -> api.Run
                EXAMPLES  tuple of lines for `maquette --help`;  imports nothing but click
    tools.py    TOOLS     name -> function of a Run: `run.<name>` is what it returns
                edits(model) -> names of the verbs below `edit` that a model has what they take
                demonstrated(run, folder) -> [(words, file)]   what `maquette demo` shows beside new items
                best(generator) -> function of given tensors, or None   the best targets, where there is such a way
    content.py  content(table, column) -> Iterator[bytes]      what is the same however it is read (windows)
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from maquette.core.find import find_modality, modalities_with

if TYPE_CHECKING:  # they take a second to import, which naming a verb can do without
    import numpy as np
    from torch import Tensor

    from maquette.core.about import About
    from maquette.core.option import Option
    from maquette.core.spec import ColumnSpec


class Unreadable(ValueError):
    """One item that cannot be used; the message is the reason, as it is listed. remedy: what mends it, if that is
    known"""

    def __init__(self, reason: str = "", remedy: str = "") -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass
class Notes:
    """What there is to tell people of data: what was guessed or changed, what to beware of, and facts by name."""

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def append(self, note: str) -> None:
        """Something that was guessed or changed."""
        self.notes.append(note)

    def warn(self, warning: str) -> None:
        """Something to beware of."""
        self.warnings.append(warning)


@dataclass(frozen=True)
class Window:
    """How long sequences are read: `size` tokens at once, so many tokens from one window to the next."""

    size: int
    train_stride: int
    held_out_stride: int


@dataclass(frozen=True)
class Examined:
    """A column after it was prepared. All sequences have one length, M; rows are numbers of them.

    name:    of the column, safe to print
    cells, facts, places: of every row; those of rows that are left out are not to be looked at. places: where each
             cell came from, safe to print
    lengths: i64[M], of the encoded items; None where all are of one shape
    used:    i64, all rows that are used      train, test: i64, the rows of each side
    target:  whether the column is the one that is to be made
    left_out: reasons why rows were left out on account of this column
    beside:  what is known of the columns that are not to be made
    """

    name: str
    spec: ColumnSpec
    config: Any
    cells: Sequence[Any]
    facts: Sequence[Any]
    places: Sequence[str]
    lengths: np.ndarray | None
    used: np.ndarray
    train: np.ndarray
    test: np.ndarray
    target: bool = False
    left_out: Sequence[str] = ()
    beside: Sequence[ColumnSpec] = ()


@runtime_checkable
class Modality(Protocol):
    """One kind of column. The stored form is what the cache keeps: u8[C, H, W] of a grid, u16[L] of a sequence."""

    KIND: str
    NOUN: tuple[str, str]  # ("sound", "sounds"): the one place for the word in errors, report and card
    Spec: Any  # type[ColumnSpec], one of the four forms with facts of its own
    Config: Any  # type[BaseModel], its section of a recipe, data.<kind>
    PREVIEW_SUFFIX: str  # of the files that it writes; BESIDE, a tuple of further ones, where one form is not enough

    if TYPE_CHECKING:
        # What a modality has beyond this is known to who asks for it, not to mypy.
        def __getattr__(self, name: str) -> Any: ...

    def examine(self, cell: Any, config: Any) -> Any:
        """Facts of one item; raises Unreadable."""
        ...

    def fit(
        self, cells: Sequence[Any], facts: Sequence[Any], config: Any, known: ColumnSpec | None, notes: Notes
    ) -> ColumnSpec:
        """The specification of a column, from training rows."""
        ...

    def encode(self, cells: Sequence[Any], spec: ColumnSpec, config: Any) -> list[np.ndarray | Unreadable]:
        """Items as they are stored."""
        ...

    def canonical(self, stored: np.ndarray) -> Tensor:
        """Stored items [B, ...] -> canonical tensor [B, ...]."""
        ...

    def write(self, item: Tensor, path: Path, spec: ColumnSpec, about: About) -> Path:
        """Writes one canonical item as a file that says where it comes from; returns the path."""
        ...

    def preview(self, items: Tensor, path: Path, spec: ColumnSpec, captions: Sequence[str], about: About) -> Path:
        """Writes several items as one file that a person can look at (or hear), each under its caption, if any."""
        ...

    def made_up(self, spec: ColumnSpec, items: int, seed: int = 0) -> Tensor:
        """Canonical items that a model can learn something of, for the contract."""
        ...


def part(kind: str, name: str, module: str) -> Any:
    """What a modality may have: its attribute `name`, or that of its module `module`; None where it has neither."""
    modality = find_modality(kind)
    own = vars(modality).get(name)
    if own is not None and not isinstance(own, ModuleType):  # a module may be called as what stands in it
        return own
    package = getattr(modality, "__name__", "")
    if not hasattr(modality, "__path__"):
        return None
    try:
        found = importlib.import_module(f"{package}.{module}")
    except ModuleNotFoundError as error:
        if error.name != f"{package}.{module}":
            raise
        return None
    return getattr(found, name, None)


def data_options() -> dict[str, Option]:
    """How data may be prepared, by the key of the recipe: of any kind, `data.<name>`; and DATA_OPTIONS of the
    modalities, `data.<kind>.<name>`."""
    from maquette.core.option import OF_ANY_DATA

    found = {f"data.{option.name}": option for option in OF_ANY_DATA}
    for kind in modalities_with("options"):
        for option in part(kind, "DATA_OPTIONS", "options") or ():
            found[f"data.{kind}.{option.name}"] = option
    return found


def noun(kind: str, count: int = 2) -> str:
    """What items of a kind are called: `noun("my_package.molecule", 2)` -> "molecules"."""
    return find_modality(kind).NOUN[0 if count == 1 else 1]
