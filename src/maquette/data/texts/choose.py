"""Which columns are texts and which are classes, and what cannot be used of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from maquette.core.errors import UserError, nearest
from maquette.core.recipe import DataConfig
from maquette.core.spec import DataSpec
from maquette.data.labels import MISSING, MOST_CLASSES
from maquette.data.text import shown, some
from maquette.data.texts.material import Fault, Material

ROWS_A_CLASS = 20  # fewer rows than this a value, and a column is no label
LONGEST_NAME = 100  # characters of a class
CHARACTERS_A_TOKEN = 32  # a row of more is too long whatever its tokens are


@dataclass
class Columns:
    """texts: the text columns used, the target first; labels: columns of classes, value by value (None: missing)."""

    texts: dict[str, list[str]]
    labels: dict[str, list[str | None]]
    source: str | None
    unused: list[str] = field(default_factory=list)

    def keep(self, items: Sequence[int]) -> None:
        """Only these items."""
        self.texts = {name: [values[i] for i in items] for name, values in self.texts.items()}
        self.labels = {name: [values[i] for i in items] for name, values in self.labels.items()}


def check(material: Material, target: Sequence[str], given: Sequence[str], source: str) -> None:
    """Refuses columns that are not there, and what cannot be learned from itself."""
    known = [*material.columns, *material.labels]
    listed = ", ".join(map(shown, known))
    for name in target:
        if name not in material.columns:
            if name == "image":
                raise UserError(
                    f"'{shown(source)}' holds text (columns: {listed}), and this recipe makes an image.",
                    "Choose a recipe of text: see `maquette recipes`.",
                )
            options = " or ".join(f"--target {shown(column)}" for column in material.text_columns[:6])
            hint = nearest(name, known) if name != "text" else ""
            raise UserError(
                f"The data has no column '{shown(name)}'; it has {listed}.",
                f"{hint if hint.startswith('Did') else ''} Choose with {options}.".strip(),
            )
    for name in given:
        if name in target:
            raise UserError(f"'{shown(name)}' is both the target and what is given.", "Name two different columns.")
        if name not in known:
            hint = nearest(name, known)
            raise UserError(
                f"The data has no column '{shown(name)}'; it has {listed}.",
                hint if hint.startswith("Did") else "Choose one of them with --given.",
            )


def default_target(material: Material) -> tuple[str, ...]:
    """The column to make where nobody said which: `text`, or the only one that is text."""
    if "text" in material.text_columns:
        return ("text",)
    return tuple(material.text_columns) if len(material.text_columns) == 1 else ()


def choose(material: Material, target: Sequence[str], given: Sequence[str], like: DataSpec | None) -> Columns:
    """Sorts the columns; those asked for are texts or, where few values come again and again, classes."""
    texts, labels, unused = list(target), dict(material.labels), []
    for name, values in material.columns.items():
        if name in target:
            continue
        known = like.columns.get(name) if like else None
        few = known.kind == "label" if known and name in given else is_label(values, name in (*given, "label"))
        if few:
            labels[name] = [value.strip() or None if value else None for value in values]
        elif name in given:
            texts.append(name)
        else:
            unused.append(name)
    source = next((name for name in texts if name not in target), None)
    made = Columns({name: [value or "" for value in material.columns[name]] for name in texts}, labels, source, unused)
    return made


def unusable(columns: Columns, config: DataConfig, framed: bool) -> dict[int, Fault]:
    """Items that lack a text or have far too much of it, with the fault of each."""
    faults: dict[int, Fault] = {}
    longest = config.of("text").longest
    most = CHARACTERS_A_TOKEN * longest
    several = len(columns.texts) > 1
    for name, values in columns.texts.items():
        where = f"'{shown(name)}' " if several else ""
        for i, value in enumerate(values):
            if not value or value.isspace():
                faults.setdefault(i, Fault(f"{where}is empty" if where else "empty", name))
            elif framed and len(value) > most:
                count = f"{where}has {len(value):,} characters" if where else f"{len(value):,} characters"
                faults.setdefault(
                    i, Fault(f"{count}, more than data.text.longest={config.of('text').longest} tokens hold", name)
                )
    return faults


def unknown_classes(columns: Columns, like: DataSpec | None) -> dict[int, Fault]:
    """Items whose class the run that is asked for does not know."""
    faults: dict[int, Fault] = {}
    for name, values in columns.labels.items():
        spec = like.columns.get(name) if like else None
        if spec is not None and spec.kind == "label":
            known = {*spec.classes}
            for i, value in enumerate(values):
                if (MISSING if value is None else shown(value)) not in known:
                    said = MISSING if value is None else shown(value)
                    faults.setdefault(i, Fault(f"the run knows no class '{said}' of '{shown(name)}'", name))
    return faults


def classes(values: Sequence[str | None], known: Sequence[str] = ()) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the classes (whole numbers by value, others by letter), and i32[N], the class of each item."""
    if known:
        code = {name: i for i, name in enumerate(known)}
        return tuple(known), np.array([code[MISSING if v is None else shown(v)] for v in values], np.int32)
    found = {value for value in values if value is not None}
    numbers = all(_is_whole(value) for value in found)
    order = sorted(found, key=int) if numbers else sorted(found)
    names: list[str] = []
    for name in map(shown, order):
        names.append(name if name not in names else f"{name} ({len(names)})")
    if any(value is None for value in values):
        names.append(MISSING)
    place: dict[str | None, int] = {value: i for i, value in enumerate(order)}
    place[None] = len(order)
    return tuple(names), np.array([place[value] for value in values], np.int32)


def notes(columns: Columns, material: Material) -> list[str]:
    """What is said of columns that are not used, and of missing classes."""
    made = []
    if columns.unused:
        verb = "is" if len(columns.unused) == 1 else "are"
        made.append(f"{some(columns.unused)} {verb} not used; name a column with --target or --given.")
    for name, values in columns.labels.items():
        missing = sum(value is None for value in values)
        if missing:
            made.append(f"{missing:,} rows have no '{shown(name)}': they form the class '{MISSING}'.")
    return made


def is_label(values: Sequence[str | None], asked: bool) -> bool:
    """Whether few values come again and again. A column that nobody asked for must differ in something."""
    found: set[str] = set()
    most = min(MOST_CLASSES, max(2, len(values) // ROWS_A_CLASS))
    for value in values:
        if value and (bare := value.strip()) and bare not in found:
            found.add(bare)
            if len(found) > most or len(bare) > LONGEST_NAME or "\n" in bare or (_is_fraction(bare) and not asked):
                return False
    return len(found) >= (1 if asked else 2)


def _is_whole(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit() and len(text) < 19


def _is_fraction(text: str) -> bool:
    if _is_whole(text):
        return False
    try:
        float(text)
    except ValueError:
        return False
    return any(c.isdigit() for c in text)
