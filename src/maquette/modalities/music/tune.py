"""A tune: notes in bars, in quarter notes, before they are put on a grid and become tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np

Metre = tuple[int, int]

METRES: tuple[Metre, ...] = (
    (2, 4), (3, 4), (4, 4), (5, 4), (6, 4), (7, 4), (2, 2), (3, 2), (4, 2),
    (3, 8), (4, 8), (5, 8), (6, 8), (7, 8), (8, 8), (9, 8), (10, 8), (12, 8), (15, 8), (6, 16), (9, 16), (12, 16),
)  # fmt: skip
WHOLE: Metre = (4, 4)  # where nothing is said
MOST_BARS = 4096  # of a tune: a few bytes may say that a note is very long
NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINORS = ("Cm", "C#m", "Dm", "Ebm", "Em", "Fm", "F#m", "Gm", "G#m", "Am", "Bbm", "Bm")

# How well each step of the scale belongs to a key, by listeners (Krumhansl & Kessler 1982).
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


@dataclass(frozen=True)
class Key:
    """tonic: 0 (C) to 11 (B)"""

    tonic: int = 0
    minor: bool = False

    @property
    def name(self) -> str:
        """As MIDI has it: C, F#, Bbm."""
        return (MINORS if self.minor else NAMES)[self.tonic]

    @property
    def do(self) -> int:
        """Semitones from C to the tonic of the major key with its signature, from -5 (G) to 6 (F sharp)."""
        return (self.tonic + (3 if self.minor else 0) + 5) % 12 - 5


@dataclass(frozen=True)
class Note:
    """start, length: in quarter notes, from the beginning of the first bar; pitch: of MIDI, 60 the middle C; lead:
    whether it is of the melody, and not of what goes with it"""

    start: Fraction
    length: Fraction
    pitch: int
    lead: bool = True

    @property
    def end(self) -> Fraction:
        return self.start + self.length


@dataclass(frozen=True)
class Tune:
    """metres: of each bar; tempo: quarter notes a minute; odd: bars whose notes do not add up to their metre, of a form
    that says where bars end; left_out: what of the file is not in it, in words"""

    notes: tuple[Note, ...]
    metres: tuple[Metre, ...]
    key: Key = Key()
    tempo: float = 120.0
    odd: int = 0
    left_out: tuple[str, ...] = field(default=(), compare=False)

    @property
    def bars(self) -> list[Fraction]:
        """Where each bar begins, and the last one ends, in quarter notes."""
        return list(accumulate(map(quarters, self.metres), initial=Fraction(0)))

    @property
    def seconds(self) -> float:
        return float(self.bars[-1]) * 60 / self.tempo


def quarters(metre: Metre) -> Fraction:
    """The length of a bar."""
    return Fraction(4 * metre[0], metre[1])


def melody(notes: Iterable[Note]) -> list[Note]:
    """The skyline: of notes that begin together the highest leads, as long as no higher one still sounds; it ends where
    the next one begins. All others go with it (Uitdenbogerd & Zobel 1998)."""
    ordered = sorted(notes, key=lambda note: (note.start, -note.pitch))
    lead: list[Note] = []
    others: list[Note] = []
    for note in ordered:
        last = lead[-1] if lead else None
        above = last is not None and (last.start == note.start or (last.end > note.start and last.pitch > note.pitch))
        (others if above else lead).append(note)
    cut = [Note(a.start, min(a.length, b.start - a.start), a.pitch) for a, b in pairwise(lead)] + lead[-1:]
    return [*cut, *(Note(note.start, note.length, note.pitch, lead=False) for note in others)]


def likely_key(notes: Sequence[Note]) -> Key:
    """The key whose profile the pitches follow best, each as long as it sounds (Krumhansl 1990)."""
    weights = np.bincount([note.pitch % 12 for note in notes], [float(note.length) for note in notes], 12)
    fits = {
        Key(tonic, minor): np.corrcoef(np.roll(weights, -tonic), profile)[0, 1] if np.ptp(weights) else 0.0
        for minor, profile in ((False, _MAJOR), (True, _MINOR))
        for tonic in range(12)
    }
    return max(fits, key=lambda key: fits[key])
