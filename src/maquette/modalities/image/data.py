"""From pictures as they were found to bytes of one shape: headers looked at, a shape chosen, files decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from maquette.core.counts import counted
from maquette.core.errors import UserError
from maquette.core.modality import Examined, Notes, Unreadable
from maquette.core.spec import ColumnSpec
from maquette.data.names import some
from maquette.data.raw import Array, Cell, Cells, File
from maquette.modalities.image.arrays import Pictures
from maquette.modalities.image.config import Config, Spec
from maquette.modalities.image.depth import Numbers, Scale, eight_bits, found, measured
from maquette.modalities.image.duplicates import Likeness
from maquette.modalities.image.files import CHANNELS, MIN_SIDE, Facts, probe, read, refit

__all__ = ["Likeness", "describe", "encode", "examine", "fit", "interpret", "parts"]

NATIVE_SIDE = 256  # pictures of one common size are kept at it up to this many pixels
MIXED_SIDE = 64  # and pictures of many sizes become squares of at most this
FAR_BELOW = 4  # a picture whose side is less than a quarter of the target's would be a blur
FEW = 1000  # fewer pictures than this are soon known by heart
FEW_FILES = 5  # fewer than this are no set of pictures, unless each holds many


def interpret(cells: Cells, config: Config, notes: Notes) -> Cells:
    """Arrays of any layout -> [C, H, W]; files stay files."""
    return Pictures.of(cells, notes) if isinstance(cells, Array) else cells


def examine(cell: Cell, config: Config) -> Facts:
    """What the header of a picture says; raises Unreadable for what is broken, no picture, or too small."""
    if isinstance(cell, File):
        facts = probe(cell.read(), cell.name, cell.part)
    elif isinstance(cell, np.ndarray):
        channels, height, width = cell.shape
        colour = {number: name for name, number in CHANNELS.items()}[channels]
        known = None if cell.dtype == np.uint8 else measured(_numbers(cell))
        facts = Facts("array", colour, height, width, range=known)
    else:
        raise Unreadable("not a picture")
    if min(facts.height, facts.width) < MIN_SIDE:
        raise Unreadable(f"too small: {facts.height}x{facts.width} px, the least is {MIN_SIDE}")
    return facts


def parts(facts: Facts, config: Config, files: int) -> int:
    """How many items a file holds, which is one of so many files."""
    apart = config.pages == "all" or (config.pages == "auto" and files < FEW_FILES)
    return facts.pages if apart else 1


def fit(
    cells: Sequence[Cell], facts: Sequence[Facts], config: Config, known: ColumnSpec | None, notes: Notes
) -> ColumnSpec:
    """The shape in which all pictures are prepared, and the scale of deep ones; says in the notes how the size was
    chosen, `describe` the rest."""
    if known is not None:
        other = sum((fact.height, fact.width) != known.shape[1:] for fact in facts)
        if other:
            odd, size = counted(other, "picture is", "pictures are"), f"{known.shape[1]}x{known.shape[2]}"
            notes.append(f"{odd} not {size} like those of the run: resized ({config.fit}).")
        return known if known.scale else known.model_copy(update={"scale": _scale(facts, config)})
    height, width = config.size or _size(Counter((fact.height, fact.width) for fact in facts), config.fit, notes)
    channels = _majority(Counter(fact.colour for fact in facts)) if config.channels == "auto" else config.channels
    return Spec(shape=(CHANNELS[channels], height, width), scale=_scale(facts, config))


def encode(cells: Sequence[Cell], spec: ColumnSpec, config: Config) -> list[np.ndarray | Unreadable]:
    """u8[C, H, W] of each picture; Unreadable where it is broken, or would have to be enlarged more than fourfold."""
    _, height, width = spec.shape
    made: list[np.ndarray | Unreadable] = []
    for cell in cells:
        try:
            if isinstance(cell, File):
                made.append(read(cell.read(), spec, cell.part, fit=config.fit, enlarged=FAR_BELOW))
                continue
            assert isinstance(cell, np.ndarray)
            if cell.shape[1] * FAR_BELOW < height or cell.shape[2] * FAR_BELOW < width:
                raise Unreadable(f"too small: {cell.shape[1]}x{cell.shape[2]} px for a target of {height}x{width}")
            if cell.dtype != np.uint8:
                values = _numbers(cell)
                scale = getattr(spec, "scale", None) or found([measured(values)])
                cell = eight_bits(values, scale).reshape(cell.shape)
            made.append(cell if cell.shape == spec.shape else refit(cell[None], spec, config.fit)[0])
        except Unreadable as error:
            made.append(error)
    return made


def describe(column: Examined, notes: Notes) -> dict[str, Any]:
    """Sizes, colours and formats of the pictures, and the shape that they have now."""
    facts: list[Facts] = [column.facts[i] for i in column.used]
    if column.target and len(column.train) < FEW:
        are = counted(len(column.train), "picture to learn from is", "pictures to learn from are")
        notes.warn(
            f"{are} few: what is made of them will stay near to them, and some of it can be copies, which the report "
            "looks for. More pictures help most; of the recipes, image/gan copies least."
        )
    wrong: dict[str, list[str]] = {}
    for i in column.used:
        if column.facts[i].note:
            wrong.setdefault(column.facts[i].note, []).append(column.places[i])
    for note, places in wrong.items():
        if len(places) == 1:
            notes.warn(f"'{places[0]}' is {note}; it is used.")
        else:
            many = note.replace(" is ", " are ")
            notes.warn(f"{len(places):,} pictures are {many} ({some(places)}); they are used.")
    sizes = Counter((fact.height, fact.width) for fact in facts)
    _tell_what_was_chosen(facts, column.spec, column.config, notes)
    channels, height, width = column.spec.shape
    stored = channels * height * width * len(facts)
    made: dict[str, Any] = {
        "sizes": [{"height": h, "width": w, "items": n} for (h, w), n in sizes.most_common(10)],
        "different_sizes": len(sizes),
        "channels": dict(Counter(fact.colour for fact in facts).most_common()),
        "formats": dict(Counter(fact.format for fact in facts).most_common()),
        "prepared": {
            "channels": channels, "height": height, "width": width, "fit": column.config.fit, "bytes": stored,
        },
    }  # fmt: skip
    shown = ", ".join(f"{h}x{w} ({n:,})" for (h, w), n in sizes.most_common(5))
    rows = [
        ("sizes", shown + (f" and {len(sizes) - 5:,} more" if len(sizes) > 5 else "")),
        ("colours", ", ".join(f"{n:,} {name}" for name, n in made["channels"].items())),
        ("formats", ", ".join(f"{n:,} {name}" for name, n in made["formats"].items())),
        ("prepared as", f"{channels} x {height} x {width} ({column.config.fit}), {stored / 2**20:,.1f} MiB"),
    ]
    if column.spec.scale is not None and (deep := sum(fact.range is not None for fact in facts)):
        rows.insert(-1, ("more than 8 bits", f"{deep:,}: {_scale_in_words(column.spec.scale)}"))
    return {**made, "rows": [list(row) for row in rows]}


def _numbers(cell: np.ndarray) -> Numbers:
    """An array [C, H, W] as values, all of whose channels have one scale."""
    return Numbers(cell.reshape(-1, cell.shape[2]))


def _majority(colours: Counter[str]) -> str:
    """What all become: grey, or transparent, only where most are; else in colour."""
    most, count = colours.most_common(1)[0]
    return most if 2 * count > colours.total() else "rgb"


def _scale(facts: Sequence[Facts], config: Config) -> Scale | None:
    """What is black and white in the deep pictures among these: what is set, else what is found."""
    ranges = [fact.range for fact in facts if fact.range is not None]
    if not ranges:
        return None
    black, white = found(ranges)
    white = white if config.white is None else config.white
    black = config.black if config.black is not None else black if black < white else 0.0
    if black >= white:
        raise UserError(
            f"data.image.black={black:g} is not below the white of these pictures, {white:g}.",
            "Set data.image.white as well.",
        )
    return black, white


def _scale_in_words(scale: Scale) -> str:
    black, white = (f"{value:,.6g}" for value in scale)
    return f"black is {black}, white is {white}"


def _tell_what_was_chosen(facts: Sequence[Facts], spec: ColumnSpec, config: Config, notes: Notes) -> None:
    """Notes on pictures that differ from how they are prepared: in depth, in colour, in how many a file holds."""
    ranges = [fact.range for fact in facts if fact.range is not None]
    if ranges and spec.scale is not None:
        beyond = sum(one.least < spec.scale[0] or one.most > spec.scale[1] for one in ranges)
        deep = counted(len(ranges), "picture has", "pictures have")
        notes.append(
            f"{deep} more than 8 bits: {_scale_in_words(spec.scale)} for all of them"
            f"{f', which cuts off values of {beyond:,}' if beyond else ''}; others with data.image.white and "
            f"data.image.black.{f' The other {len(facts) - len(ranges):,} have 8.' if len(ranges) < len(facts) else ''}"
        )
    elif ranges:
        deep = counted(len(ranges), "held-out picture has", "held-out pictures have")
        notes.append(f"Only {deep} more than 8 bits: each has a scale of its own.")
    elif config.white is not None or config.black is not None:
        notes.append("No picture has more than 8 bits: data.image.white and data.image.black change nothing.")
    colours = Counter(fact.colour for fact in facts)
    made = {number: name for name, number in CHANNELS.items()}[spec.channels]
    ground = ", what is transparent on white" if colours["rgba"] and made != "rgba" else ""
    if set(colours) - {made}:
        counts = ", ".join(f"{n:,} {name}" for name, n in colours.most_common())
        what = "Colours are mixed" if len(colours) > 1 else "Colours are changed"
        notes.append(f"{what} ({counts}): all become {made}{ground}; choose with data.image.channels.")
    stacks = [fact.pages for fact in facts if fact.pages > 1]
    if stacks and all(fact.pages for fact in facts):
        left = counted(sum(stacks) - len(stacks), "is", "are")
        notes.append(
            f"{counted(len(stacks), 'file holds', 'files hold')} {sum(stacks):,} pictures: the first page of each is "
            f"used, and {left} not; --pages all uses every one."
        )


def _size(sizes: Counter[tuple[int, int]], fit: str, notes: Notes) -> tuple[int, int]:
    """Height and width for pictures of these sizes, when nobody asked for one."""
    (common, count), total = sizes.most_common(1)[0], sum(sizes.values())
    if count >= 0.9 * total and max(common) <= NATIVE_SIDE:
        if count < total:
            odd = counted(total - count, "picture is", "pictures are")
            notes.append(f"{odd} not {common[0]}x{common[1]} like the rest: resized ({fit}).")
        return common
    sides = np.repeat([min(size) for size in sizes], list(sizes.values()))
    side = min(MIXED_SIDE, int(np.median(sides)))
    side = side if side < 16 else (side + 4) // 8 * 8  # networks halve and double: multiples of 8 suit them
    lows, highs = np.min(list(sizes), 0), np.max(list(sizes), 0)
    what = f"from {lows[0]}x{lows[1]} to {highs[0]}x{highs[1]}" if len(sizes) > 1 else f"{common[0]}x{common[1]}"
    notes.append(f"Sizes are {what}: all become {side}x{side} ({fit}); choose another with data.image.size.")
    return side, side
