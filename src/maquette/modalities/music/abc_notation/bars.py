"""Bars as they are written, in the order in which they are played, and made whole: a tune."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from maquette.modalities.music.abc_notation.fields import chord
from maquette.modalities.music.tune import Key, Metre, Note, Tune, melody, quarters


@dataclass
class Bar:
    """A bar as it is written: times within it, in quarter notes."""

    metre: Metre
    notes: list[tuple[Fraction, Fraction, int, bool]] = field(default_factory=list)  # start, length, pitch, tied
    symbols: list[tuple[Fraction, str]] = field(default_factory=list)
    length: Fraction = Fraction(0)
    opens: bool = False  # a repeat begins with it
    closes: bool = False
    parts: bool = False  # a double bar follows it
    ending: frozenset[int] = frozenset()

    @property
    def whole(self) -> Fraction:
        return quarters(self.metre)


def played(bars: list[Bar], repeats: bool) -> list[Bar]:
    """The bars in the order in which they sound. repeats: parts twice; else once, with their last ending."""
    if not repeats:
        later = [max((max(b.ending, default=0) for b in bars[i : i + 16]), default=0) for i in range(len(bars))]
        return [bar for bar, last in zip(bars, later, strict=True) if not bar.ending or max(bar.ending) >= last]
    made: list[Bar] = []
    start, i, turn = 0, 0, 1
    while i < len(bars):
        bar = bars[i]
        if bar.opens and i != start:
            start, turn = i, 1
        skipped = bool(bar.ending) and turn not in bar.ending
        if not skipped:
            made.append(bar)
        if bar.closes and not skipped and turn == 1:
            i, turn = start, 2
            continue
        if (bar.closes and not skipped) or (bar.parts and not bar.ending):
            start, turn = i + 1, 1
        i += 1
    return made


def whole(bars: list[Bar]) -> tuple[list[Bar], int]:
    """Bars of their full length, and how many were not: a bar that a part ends in is made whole by what the next
    begins with; the first begins late, and the last ends early."""
    made: list[Bar] = []
    for bar in bars:
        last = made[-1] if made else None
        if last is not None and len(made) > 1 and last.length + bar.length == last.whole:
            made[-1] = _joined(last, bar)
        else:
            made.append(bar)
    first = made[0]
    if first.length < first.whole:
        made[0] = _joined(Bar(first.metre, length=first.whole - first.length), first)
    odd = sum(bar.length != bar.whole for bar in made[:-1]) + (made[-1].length > made[-1].whole)
    return made, odd


def _joined(a: Bar, b: Bar) -> Bar:
    notes = [*a.notes, *((start + a.length, length, pitch, tied) for start, length, pitch, tied in b.notes)]
    symbols = [*a.symbols, *((at + a.length, symbol) for at, symbol in b.symbols)]
    return Bar(a.metre, notes, symbols, a.length + b.length)


def tune_of(bars: list[Bar], odd: int, key: Key, tempo: float) -> Tune:
    """The tune of whole bars. odd: how many of them were not; tempo: quarter notes a minute"""
    lead: list[Note] = []
    beside: list[Note] = []
    start, tied, symbol = Fraction(0), dict[int, int](), ""
    for bar in bars:
        going: dict[int, int] = {}
        for at, length, pitch, ties in bar.notes:
            if at >= bar.whole:
                continue
            length = length if ties else min(length, bar.whole - at)
            before = tied.pop(pitch, None)
            if before is not None and lead[before].end == start + at:
                lead[before] = Note(lead[before].start, lead[before].length + length, pitch)
            else:
                before = len(lead)
                lead.append(Note(start + at, length, pitch))
            if ties:
                going[pitch] = before
                tied[pitch] = before
        tied = going
        if symbol and not (bar.symbols and bar.symbols[0][0] == 0):
            bar.symbols.insert(0, (Fraction(0), symbol))  # the chord goes on
        for (at, symbol), (end, _) in pairwise([*bar.symbols, (bar.whole, "")]):
            if at < end <= bar.whole:
                beside += [Note(start + at, end - at, pitch, lead=False) for pitch in chord(symbol)]
        start += bar.whole
    return Tune((*melody(lead), *beside), tuple(bar.metre for bar in bars), key, tempo, odd)
