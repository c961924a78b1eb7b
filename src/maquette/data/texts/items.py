"""Items that are used, and the side of each: what is left out, which documents are cut, what is held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from maquette.core.errors import UserError
from maquette.core.recipe import DataConfig
from maquette.core.spec import DataSpec
from maquette.data.text import digest, shown
from maquette.data.texts import choose, split
from maquette.data.texts.choose import Columns
from maquette.data.texts.material import Fault, Material
from maquette.data.texts.split import Sides

HANDFUL = 5  # fewer rows than this teach nothing
LEAST = 64  # and so do fewer characters of a long text
MOSTLY_LONG = 4  # rows of more than this many characters for each token of data.text.longest are documents


@dataclass
class Items:
    """What is under way: items, their columns and sides, and whether they are documents or rows of a table."""

    material: Material
    columns: Columns
    sides: Sides
    documents: bool


def arrange(
    material: Material, target: Sequence[str], given: Sequence[str], like: DataSpec | None, config: DataConfig,
    name: str,
) -> Items:  # fmt: skip
    """Leaves out what cannot be used, and splits the rest."""
    known = like.columns.get(target[0]) if like else None
    if known is not None and known.framed and material.form == "long" and len(material) < split.FEW:
        material = _lines(material)
    columns = choose.choose(material, target, given, like)
    documents = material.form == "long" or (known is not None and not known.framed)
    if not documents and columns.source is None and known is None and _mostly_long(columns, config):
        documents = True
        material.notes.append("The rows are long: each is read as a document, in windows of data.text.context tokens.")
    if documents and columns.source is not None:
        raise UserError("A long text cannot be learned from another one.", "Give it with --given none.")
    faults = choose.unknown_classes(columns, like) | choose.unusable(columns, config, framed=not documents)
    leave_out(material, columns, faults, config.strict)
    _enough(material, columns, documents, name)
    return sided(Items(material, columns, Sides.none(), documents), config)


def leave_out(material: Material, columns: Columns, faults: dict[int, Fault], strict: bool) -> None:
    """Leaves out items by number, with the fault of each."""
    kept = [i for i in range(len(material)) if i not in faults]
    material.leave_out(faults, strict)
    if faults:
        columns.keep(kept)


def sided(items: Items, config: DataConfig) -> Items:
    """Puts each item on a side; few long documents are each cut in two."""
    digests = digests_of(items, config)
    sides = split.own_sides(items.material, digests)
    if sides is None and items.documents and len(items.material) < split.FEW:
        return _cut(items, config)
    return replace(items, sides=sides or split.by_content(digests, config.test_share))


def _cut(items: Items, config: DataConfig) -> Items:
    """Two items of each document: what is learned from, and what follows."""
    (name,) = items.columns.texts
    texts = items.columns.texts[name]
    places = split.cut(texts, config.test_share)
    halves = [part for text, at in zip(texts, places, strict=True) for part in (text[:at], text[at:])]
    old = items.material
    twice = np.repeat(np.arange(len(texts)), 2).tolist()
    material = replace(
        old, columns={name: list(halves)}, labels={}, file=[old.file[i] for i in twice],
        line=[old.line[i] for i in twice], stems=[None] * len(twice), notes=list(old.notes),
    )  # fmt: skip
    if len(texts) > 1:
        material.notes.append(f"Few texts: the last {config.test_share:.0%} of each is held out.")
    labels = {label: [values[i] for i in twice] for label, values in items.columns.labels.items()}
    columns = replace(items.columns, texts={name: halves}, labels=labels)
    numbers = np.arange(len(halves))
    return replace(items, material=material, columns=columns, sides=Sides(numbers[::2], numbers[1::2], halves=True))


def _lines(material: Material) -> Material:
    """Documents as rows, one a line: what a run that was trained on lines expects."""
    (name,) = material.columns
    made = replace(material, form="rows", columns={name: []}, file=[], line=[], stems=[], labels={})
    for i, text in enumerate(material.columns[name]):
        for number, line in enumerate((text or "").split("\n"), 1):
            if line.strip():
                made.columns[name].append(line.strip())
                made.file.append(material.file[i])
                made.line.append(number)
                made.stems.append(material.stems[i])
    return made


def _mostly_long(columns: Columns, config: DataConfig) -> bool:
    (texts,) = columns.texts.values()
    return bool(np.median([len(text) for text in texts] or [0]) > MOSTLY_LONG * config.of("text").longest)


def _enough(material: Material, columns: Columns, documents: bool, name: str) -> None:
    """Refuses to go on with next to nothing."""
    reasons = ", ".join(sorted({reason for _, reason in material.left_out})[:3])
    why = f" ({len(material.left_out):,} left out: {reasons})" if material.left_out else ""
    if not documents and len(material) < HANDFUL:
        number = ("No row is usable", "One row is usable")[len(material)] if len(material) < 2 else (
            f"{len(material)} rows are usable")  # fmt: skip
        raise UserError(
            f"{number} in '{shown(name)}'{why}.",
            f"A model needs at least {HANDFUL}, and some thousands to learn from; see `maquette data inspect`.",
        )
    characters = sum(len(text) for text in next(iter(columns.texts.values())))
    if documents and characters < LEAST:
        raise UserError(
            f"There is too little text in '{shown(name)}': {characters:,} characters{why}.",
            f"A model needs at least {LEAST}, and some 100,000 to learn from.",
        )


def digests_of(items: Items, config: DataConfig) -> np.ndarray:
    """Digest u64[M] of the texts of each item; the same whichever column is the target."""
    names = sorted(items.columns.texts)
    rows = list(zip(*(items.columns.texts[name] for name in names), strict=True))
    return split.digests(rows, config.split_seed)


def content_of(items: Items, way: Sequence[object]) -> str:
    """Digest of the texts and classes that are used, of where they stood, and of the way they are prepared."""
    material, columns = items.material, items.columns
    parts: list[object] = [*way, items.documents, *columns.texts, "labels", *columns.labels]
    parts += ["\0".join(values) for values in columns.texts.values()]
    parts += ["\0".join("" if v is None else f"={v}" for v in values) for values in columns.labels.values()]
    parts += ["\0".join(material.files), np.array(material.file).tobytes(), np.array(material.line).tobytes()]
    parts += ["\0".join(stem or "" for stem in material.stems), material.left_out, material.notes, material.ignored]
    return digest(parts)
