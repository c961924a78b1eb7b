"""From files of notes to tokens. A file of ABC holds tunes, each of which is an item of its own; so is a file of MIDI,
and each piece of one that is long, all of them on one side of the split."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from maquette.core.modality import Examined, Notes, Unreadable
from maquette.core.spec import BOS, ColumnSpec
from maquette.data import decode as decoding
from maquette.data.raw import Cell, File
from maquette.modalities.music.abc_notation.reading import read as of_abc
from maquette.modalities.music.abc_notation.reading import tunes
from maquette.modalities.music.claims import is_midi
from maquette.modalities.music.config import Config, Spec
from maquette.modalities.music.duplicates import Likeness
from maquette.modalities.music.midi import read as of_midi
from maquette.modalities.music.tokens import pieces, score, vocabulary
from maquette.modalities.music.tune import Key, Metre, Tune

__all__ = ["Likeness", "complete", "describe", "encode", "examine", "fit", "itemise", "parts", "tune_of"]

FEW = 500  # tunes, below which a model soon knows them by heart
COARSE = 0.01  # quarter notes that notes are moved by on average, above which the grid is too coarse


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one item: of its tune, of which it may be a piece.

    pieces: how many      bars, odd: of these, those that do not add up to their metre      notes: of the melody
    beside: other notes      moved: quarter notes that notes were moved by on average      left_out: in words
    """

    pieces: int
    bars: int
    odd: int
    notes: int
    beside: int
    seconds: float
    key: Key
    metre: Metre
    moved: float
    left_out: tuple[str, ...] = ()


def itemise(cell: Cell, config: Config, known: ColumnSpec | None) -> list[tuple[int, Cell]]:
    """The tunes of a file of ABC with their numbers, and of one that is long its pieces; [] of MIDI."""
    if not isinstance(cell, File) or is_midi(data := cell.read()):
        return []
    made: list[tuple[int, Cell]] = []
    for number, text in enumerate(tunes(_decoded(cell.name, data)), 1):
        try:
            count = _looked(text.encode(), cell.name, *_options(config))[0].pieces
        except Unreadable:
            count = 1  # it is left out by name, as what is examined is
        made += [(number, File(cell.name, text.encode(), part)) for part in range(count)]
    return made


def examine(cell: Cell, config: Config) -> Facts:
    """What a tune is; raises Unreadable for what is none. Of a file of several tunes: of the first that can be read."""
    if not isinstance(cell, File):
        raise Unreadable("not music")
    return _looked(cell.read(), cell.name, *_options(config))[0]


def tune_of(data: bytes, name: str, repeats: bool = False) -> Tune:
    """The first tune of a file that can be read; Unreadable, with the reason why the first cannot, where none can."""
    if is_midi(data):
        return of_midi(data)
    if not data.strip():
        raise Unreadable("empty")
    reason: Unreadable | None = None
    for text in tunes(_decoded(name, data)):
        try:
            return of_abc(text, repeats)
        except Unreadable as error:
            reason = reason or error
    raise reason or Unreadable("neither MIDI nor ABC, whose tunes begin with X:")


@functools.lru_cache(2048)  # it is examined and then encoded
def _looked(
    data: bytes, name: str, grid: int, relative: bool, repeats: bool, longest: int
) -> tuple[Facts, list[list[int]]]:
    """What is known of the first tune of a file, and its tokens, in pieces."""
    made = tune_of(data, name, repeats)
    on_grid, moved = score(made, grid)
    found = pieces(on_grid, relative, longest)
    if not found:
        raise Unreadable("no note in it")
    lead = sum(note.lead for note in made.notes)
    return Facts(
        len(found), len(made.metres), made.odd, lead, len(made.notes) - lead, made.seconds, made.key, made.metres[0],
        moved, made.left_out,
    ), found  # fmt: skip


def _options(config: Config) -> tuple[int, bool, bool, int]:
    return config.grid, config.relative, config.repeats, config.longest


def parts(facts: Facts, config: Config, files: int) -> int:
    """How many pieces a long tune is cut into."""
    return facts.pieces


def fit(
    cells: Sequence[Cell], facts: Sequence[Facts], config: Config, known: ColumnSpec | None, notes: Notes
) -> ColumnSpec:
    """What tokens mean follows from the grid alone."""
    size = vocabulary(config.grid).size
    return known or Spec(
        shape=(config.longest,), vocab=size, grid=config.grid, relative=config.relative, start=BOS
    )  # fmt: skip


def encode(cells: Sequence[Cell], spec: ColumnSpec, config: Config) -> list[np.ndarray | Unreadable]:
    """u16[L] of each tune, or piece of one, BOS to EOS."""
    known = cast(Spec, spec)
    made: list[np.ndarray | Unreadable] = []
    for cell in cells:
        try:
            if not isinstance(cell, File):
                raise Unreadable("not music")
            options = known.grid, known.relative, config.repeats, config.longest
            made.append(np.array(_looked(cell.read(), cell.name, *options)[1][cell.part], np.uint16))
        except Unreadable as error:
            made.append(error)
    return made


def complete(spec: ColumnSpec, lengths: np.ndarray, facts: Sequence[Facts], known: ColumnSpec | None) -> ColumnSpec:
    """With the longest and the mean length of training items; the known one with room for longer items."""
    longest = int(lengths.max(initial=1))
    if known is not None:
        return known.model_copy(update={"shape": (max(known.shape[0], longest),)})
    return spec.model_copy(update={"shape": (longest,), "mean_length": float(lengths.mean()) if len(lengths) else 0.0})


def describe(column: Examined, notes: Notes) -> dict[str, Any]:
    """Bars, notes, keys, metres and lengths of the tunes, and how well they lie on the grid."""
    spec, lengths = cast(Spec, column.spec), cast(np.ndarray, column.lengths)
    facts = [cast(Facts, column.facts[i]) for i in column.used]
    share = [1 / fact.pieces for fact in facts]  # a fact is of the whole tune, and each of its pieces has it
    notes_, beside, bars, odd, seconds = (
        round(sum(part * value for part, value in zip(share, values, strict=True)))
        for values in zip(*((f.notes, f.beside, f.bars, f.odd, f.seconds) for f in facts), strict=True)
    )
    if column.target and len(column.train) < FEW:
        notes.warn(
            f"There are {len(column.train):,} tunes to learn from: with fewer than {FEW}, a model soon repeats what it "
            "heard."
        )
    for words, count in Counter(words for fact in facts for words in fact.left_out).most_common():
        notes.append(f"{words} of {count:,} tunes left out.".capitalize())
    if odd:
        notes.append(f"{odd:,} of {bars:,} bars do not add up to their metre: filled with rests, or cut.")
    coarse = sum(fact.moved > COARSE for fact in facts)
    if coarse > 0.1 * len(facts):
        notes.warn(
            f"Notes of {coarse:,} tunes lie beside the grid of {spec.grid} a quarter note: played freely, or finer "
            "(data.music.grid=24)."
        )
    moved = float(np.mean([fact.moved for fact in facts]))
    cut = sum(fact.pieces > 1 for fact in facts)
    keys, metres = (Counter(words).most_common() for words in (
        [fact.key.name for fact in facts], [f"{fact.metre[0]}/{fact.metre[1]}" for fact in facts]))  # fmt: skip
    sizes = lengths[column.used]
    middle, most = (np.median(sizes), sizes.max()) if len(sizes) else (0, 0)
    rows = [
        ("bars", f"{bars:,}, {seconds / 60:,.0f} minutes"),
        ("notes", f"{notes_:,} of melodies, {beside:,} beside them"),
        ("keys", _listed(keys)), ("metres", _listed(metres)),
        ("grid", f"{spec.grid} places a quarter note; notes were moved by {moved:.4f} of one on average"),
        ("tokens", f"{int(sizes.sum()):,}, median of a tune {middle:,.0f}, longest {most:,}"
         + (f"; {cut:,} items are pieces of longer tunes" if cut else "")),
    ]  # fmt: skip
    return {
        "bars": bars, "odd": odd, "notes": notes_, "beside": beside, "seconds": seconds, "keys": dict(keys),
        "metres": dict(metres), "moved": moved, "tokens": int(sizes.sum()), "pieces": cut,
        "rows": [list(row) for row in rows],
    }  # fmt: skip


def _decoded(name: str, data: bytes) -> str:
    return decoding.Decoder().decode(data, name)


def _listed(counts: Sequence[tuple[str, int]], most: int = 6) -> str:
    more = f" and {len(counts) - most:,} more" if len(counts) > most else ""
    return ", ".join(f"{word} ({n:,})" for word, n in counts[:most]) + more
