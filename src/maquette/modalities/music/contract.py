"""Made-up tunes, for the contract."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from maquette.data.raw import Cell, File
from maquette.modalities.music.midi import write as in_midi
from maquette.modalities.music.tune import Key, Note, Tune


def made_up_cells(items: int, seed: int = 0) -> list[Cell]:
    """Half of them MIDI, half of them ABC: marches and waltzes; of any other seed, in odd metres and keys."""
    draws = np.random.default_rng(seed)
    return [_midi(i, draws) if i % 2 else _abc(i, draws, seed != 0) for i in range(items)]


def made_up(draws: np.random.Generator, bars: int = 8) -> Tune:
    """A tune in eighths and quarters over a chord a bar, which ends on its tonic."""
    key, metre = Key(int(draws.integers(12)), bool(draws.integers(2))), ((4, 4), (3, 4), (6, 8))[int(draws.integers(3))]
    length = Fraction(4 * metre[0], metre[1])
    scale = (0, 2, 3, 5, 7, 8, 10) if key.minor else (0, 2, 4, 5, 7, 9, 11)
    notes, at, step = list[Note](), Fraction(0), 0
    for bar in range(bars):
        chord = [48 + key.tonic + scale[k % 7] for k in (0, 2, 4)]
        notes += [Note(bar * length, length, pitch, lead=False) for pitch in chord]
        while at < (bar + 1) * length:
            long = min(Fraction(int(draws.integers(1, 3)), 2), (bar + 1) * length - at)
            step = int(np.clip(step + draws.integers(-2, 3), -3, 9))
            notes.append(Note(at, long, 60 + key.tonic + scale[step % 7] + 12 * (step // 7)))
            at += long
    last = notes[-1]
    notes[-1] = Note(last.start, last.length, 60 + key.tonic)
    return Tune(tuple(notes), (metre,) * bars, key)


def _midi(number: int, draws: np.random.Generator) -> File:
    return File(f"{number}.mid", in_midi([made_up(draws)], {}))


def _abc(number: int, draws: np.random.Generator, odd: bool) -> File:
    head = f"X:1\nM:{'7/8' if odd else '3/4'}\nL:1/{16 if odd else 8}\nK:{'Ebmin' if odd else 'G'}\n"
    count = 14 if odd else 6
    bars = ("".join("CDEFGABcdefgab"[int(k)] for k in draws.integers(0, 14, count)) for _ in range(6))
    return File(f"{number}.abc", (head + '"G"' + "|".join(bars) + "|\n").encode())


def broken_cells() -> list[Cell]:
    """Files that were cut off, or hold no note, and words."""
    whole = _midi(0, np.random.default_rng(0)).read()
    nothing = in_midi([Tune((), ((4, 4),))], {})
    return [
        File("cut off.mid", whole[: len(whole) // 2]), File("nothing.mid", nothing), File("words.mid", b"a tune"),
        File("words.abc", b"a tune without a number"), File("rests.abc", b"X:1\nK:C\nz4|z4|\n"),
        File("strange.abc", b"X:1\nK:C\nCDEF|@@|\n"),
        File("crooked.abc", b"X:1\nM:4/4\nL:1/4\nK:C\nCDE|CDEFG|C|CDEFGA|\n"),
    ]  # fmt: skip
