"""Tunes as tokens, and tokens as tunes: bars, positions in them, pitches and durations (REMI, Huang & Yang 2020).

    BOS KEY TEMPO METRE  BAR POSITION LEAD DURATION CHORD DURATION CHORD DURATION  POSITION LEAD DURATION ... EOS

The melody is one voice, whose notes and rests fill each bar; what goes with it (CHORD) begins with a note or rest of
it, or between two. A bar in another metre than the one before says so behind BAR. Any tokens are read as a tune: what
stands where it cannot is passed over.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from maquette.core.spec import BOS, EOS, PAD, SPECIALS
from maquette.modalities.music.tune import METRES, WHOLE, Key, Metre, Note, Tune, quarters

TEMPOS = (40, 48, 56, 64, 72, 80, 90, 100, 112, 120, 132, 144, 160, 180, 200, 220)
PITCHES = 128
LONGEST = 8  # quarter notes of a bar, and of a note
LEGATO = 4  # a melody pauses for as much as 1 / so much of a quarter note, or it does not
KEY, TEMPO, METRE, BAR, REST, LEAD, CHORD, POSITION, DURATION = range(1, 10)  # those before POSITION are of any grid


class Event(NamedTuple):
    """What begins in a bar. position, length: places of the grid; pitch: of MIDI, None: a rest of the melody"""

    position: int
    pitch: int | None
    length: int
    lead: bool = True


@dataclass(frozen=True)
class Bar:
    """length: places of the grid; events: what begins in it, in the order of the tokens"""

    metre: Metre
    length: int
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Score:
    """A tune on a grid of so many places a quarter note."""

    grid: int
    key: Key
    tempo: float
    bars: tuple[Bar, ...]

    @property
    def tune(self) -> Tune:
        """The same as notes in quarter notes, without its rests."""
        notes, start = [], 0
        for bar in self.bars:
            for event in bar.events:
                if event.pitch is not None:
                    times = (Fraction(start + event.position, self.grid), Fraction(event.length, self.grid))
                    notes.append(Note(*times, event.pitch, event.lead))
            start += bar.length
        return Tune(tuple(notes), tuple(bar.metre for bar in self.bars), self.key, self.tempo)


class Vocabulary:
    """The tokens of a grid, by kind: first token of each, and how many there are."""

    def __init__(self, grid: int) -> None:
        self.grid = grid
        fine, coarse = range(1, 4 * grid + 1), range(4 * grid + grid // 4, LONGEST * grid + 1, grid // 4)
        self.durations = (*fine, *coarse)
        counts = (24, len(TEMPOS), len(METRES), 1, 1, PITCHES, PITCHES, LONGEST * grid, len(self.durations))
        self.first = dict(zip(range(1, len(counts) + 1), np.cumsum([len(SPECIALS), *counts]).tolist(), strict=False))
        self.size = len(SPECIALS) + sum(counts)
        self.kind = np.repeat(range(len(counts) + 1), (len(SPECIALS), *counts))  # of each token; 0: reserved
        self.lengths = {m: int(quarters(m) * grid) for m in METRES}

    def held(self, length: int) -> int:
        """The longest duration there is up to a length, which is 1 or more."""
        return self.durations[bisect_right(self.durations, length) - 1]

    def duration(self, length: int) -> int:
        return self.first[DURATION] + self.durations.index(length)


@functools.cache
def vocabulary(grid: int) -> Vocabulary:
    """The tokens of a grid."""
    return Vocabulary(grid)


# -- a tune on the grid ------------------------------------------------------------------------------


def score(tune: Tune, grid: int) -> tuple[Score, float]:
    """A tune on a grid, without empty bars around it; and how far its notes were moved on average, in quarter notes."""
    known = vocabulary(grid)
    moved = [abs(float(note.start) - round(note.start * grid) / grid) for note in tune.notes]
    ends = [int(end * grid) for end in tune.bars]
    lead, others = list[tuple[int, int, int]](), list[tuple[int, int, int]]()
    for note in tune.notes:
        start, end = round(note.start * grid), round(note.end * grid)
        (lead if note.lead else others).append((start, max(end - start, 1), note.pitch))
    voice, beside = _voice(lead, ends, known), _beside(others, known)
    within: list[list[Event]] = [[] for _ in ends]  # the last: what begins where all bars have ended
    for part, leads in ((voice, True), (beside, False)):
        for at, length, pitch in part:
            i = bisect_right(ends, at) - 1
            within[i].append(Event(at - ends[i], pitch, length, leads))
    bars = [
        Bar(metre, end - start, tuple(sorted(events, key=_order)))
        for metre, (start, end), events in zip(tune.metres, pairwise(ends), within[:-1], strict=True)
    ]
    full = [i for i, bar in enumerate(bars) if any(event.pitch is not None for event in bar.events)]
    kept = bars[full[0] : full[-1] + 1] if full else []
    return Score(grid, tune.key, _nearest(tune.tempo), tuple(kept)), float(np.mean(moved or [0.0]))


def _order(event: Event) -> tuple[int, bool, int]:
    return event.position, not event.lead, event.pitch or 0


def _voice(
    lead: Iterable[tuple[int, int, int]], ends: Sequence[int], known: Vocabulary
) -> list[tuple[int, int, int | None]]:
    """Notes of a melody (start, length, pitch) as one voice without holes: short ones are closed, others are rests."""
    ordered = sorted({start: (start, length, pitch) for start, length, pitch in sorted(lead)}.values())
    made: list[tuple[int, int, int | None]] = []
    at = ends[0]

    def rest(until: int) -> None:
        nonlocal at
        while at < until:
            end = min(until, ends[bisect_right(ends, at)])  # none goes over a bar line
            length = known.held(end - at)
            made.append((at, length, None))
            at += length

    for i, (start, length, pitch) in enumerate(ordered):
        rest(start)
        following = ordered[i + 1][0] if i + 1 < len(ordered) else ends[-1]
        pause = following - start - length
        length = known.held(following - start if pause < known.grid // LEGATO else length)
        made.append((start, length, pitch))
        at = start + length
    rest(ends[-1])
    return made


def _beside(others: Iterable[tuple[int, int, int]], known: Vocabulary) -> list[tuple[int, int, int]]:
    """Notes (start, length, pitch) of which none begins while the same pitch sounds: it ends the one before."""
    made = list[tuple[int, int, int]]()
    following, above = 0, -1  # where the next note of this pitch begins
    for start, length, pitch in sorted(others, key=lambda note: (note[2], note[0], note[1]), reverse=True):
        if pitch != above or start < following:
            most = following - start if pitch == above else length
            made.append((start, known.held(min(length, most)), pitch))
        following, above = start, pitch
    return made


def _nearest(tempo: float) -> float:
    return float(min(TEMPOS, key=lambda known: abs(np.log(known / tempo))))


# -- tokens ------------------------------------------------------------------------------------------


def base(key: Key, relative: bool) -> int:
    """Semitones that are taken off each pitch before it becomes a token."""
    return key.do if relative else 0


def pieces(made: Score, relative: bool, longest: int) -> list[list[int]]:
    """The tokens of a score from BOS to EOS; of one of more than `longest` several, each of whole bars."""
    known = vocabulary(made.grid)
    head = [BOS, known.first[KEY] + made.key.tonic + 12 * made.key.minor,
            known.first[TEMPO] + TEMPOS.index(int(made.tempo))]  # fmt: skip
    found: list[list[int]] = []
    metre: Metre | None = None
    for bar in made.bars:
        says = known.first[METRE] + METRES.index(bar.metre)
        inside = [
            known.first[BAR],
            *([says] if bar.metre != metre else []),
            *_of_bar(bar, base(made.key, relative), known),
        ]
        if not found or len(found[-1]) + len(inside) + 1 > longest:
            inside = [token for token in inside if token != says]
            found.append([*head, says])
        found[-1] += inside
        metre = bar.metre
    return [[*tokens, EOS] for tokens in found]


def _of_bar(bar: Bar, low: int, known: Vocabulary) -> list[int]:
    made: list[int] = []
    position = -1
    for event in bar.events:
        if event.position != position:
            position = event.position
            made.append(known.first[POSITION] + position)
        kind = LEAD if event.lead else CHORD
        made.append(known.first[REST] if event.pitch is None else known.first[kind] + _within(event.pitch - low))
        made.append(known.duration(event.length))
    return made


def _within(pitch: int) -> int:
    """A pitch that was moved, by octaves within what there is."""
    return pitch + 12 if pitch < 0 else pitch - 12 if pitch >= PITCHES else pitch


def opening(tokens: Sequence[int], bars: int, grid: int) -> list[int]:
    """The tokens of an item up to the end of so many bars, without BOS and EOS."""
    known, seen, made = vocabulary(grid), 0, list[int]()
    for token in tokens:
        seen += int(known.kind[token] == BAR)
        if seen > bars or token == EOS:
            break
        made.append(token)
    return made[1:]


def read(tokens: Iterable[int], grid: int, relative: bool) -> Score:
    """What tokens say, whatever they are."""
    known = vocabulary(grid)
    key, tempo, metre = Key(), 120.0, WHOLE
    bars: list[tuple[Metre, list[Event]]] = []
    position, pitch, lead = 0, -1, True  # pitch: -1 none that waits for its duration, -2 a rest
    for token in tokens:
        if token in (EOS, PAD):
            break
        kind = int(known.kind[token])
        value = token - known.first[kind] if kind else 0
        if kind == KEY and not bars:
            key = Key(value % 12, value >= 12)
        elif kind == TEMPO and not bars:
            tempo = float(TEMPOS[value])
        elif kind == METRE:
            metre = METRES[value]
            if bars and not bars[-1][1]:
                bars[-1] = (metre, [])
        elif kind == BAR:
            bars.append((metre, []))
            position = 0
        elif kind == POSITION:
            position = value
        elif kind in (REST, LEAD, CHORD):
            pitch, lead = (-2 if kind == REST else value), kind != CHORD
            continue
        elif kind == DURATION and bars and pitch != -1 and position < known.lengths[bars[-1][0]]:
            sounds = None if pitch == -2 else _within(pitch + base(key, relative))
            bars[-1][1].append(Event(position, sounds, known.durations[value], lead))
        pitch = -1
    return Score(grid, key, tempo, tuple(Bar(m, known.lengths[m], tuple(events)) for m, events in bars))
