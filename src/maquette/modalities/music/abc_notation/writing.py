"""Tunes -> ABC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

from maquette.modalities.music.abc_notation.fields import QUALITIES, STEPS, key_of
from maquette.modalities.music.tune import NAMES, WHOLE, Tune


def write(tunes: Sequence[Tune], about: Mapping[str, str] | None = None, number: int = 1) -> str:
    """Tunes in ABC, numbered from `number`; what it is about as notes (N:). Of what goes with the melody, what can be
    said as chord symbols."""
    made = []
    for i, tune in enumerate(tunes, number):
        first = tune.metres[0] if tune.metres else WHOLE
        head = [f"X:{i}", f"T:Tune {i}", *(f"N:{name}: {value}" for name, value in (about or {}).items())]
        head += [f"M:{first[0]}/{first[1]}", "L:1/8", f"Q:1/4={tune.tempo:.0f}", f"K:{tune.key.name}"]
        bars = _bars_of(tune)
        lines = ["|".join(bars[k : k + 4]) + "|" for k in range(0, len(bars), 4)]
        made.append("\n".join([*head, *lines]) + ("]\n" if lines else "\n"))
    return "\n".join(made)


def _bars_of(tune: Tune) -> list[str]:
    """The melody bar by bar, with chord symbols before its notes."""
    _, signature = key_of(tune.key.name)
    lead = [(Fraction(note.start), Fraction(note.length), note.pitch) for note in tune.notes if note.lead]
    beside: dict[Fraction, set[int]] = {}
    for note in tune.notes:
        if not note.lead:
            beside.setdefault(Fraction(note.start), set()).add(note.pitch)
    symbols = {at: name for at, pitches in beside.items() if (name := _symbol(pitches))}
    made, before, said = list[str](), tune.metres[0] if tune.metres else WHOLE, ""
    for metre, (start, end) in zip(tune.metres, pairwise(tune.bars), strict=True):
        parts = _filled([part for note in lead if (part := _within(note, start, end))], start, end)
        if not made and parts[0][2] is None and len(parts) > 1:
            parts = parts[1:]  # it begins within the bar
        signs: dict[str, int] = {}
        words = [f"[M:{metre[0]}/{metre[1]}]"] if metre != before else []
        left = 0  # notes of a triplet that are still to come
        for i, (at, length, pitch, ties) in enumerate(parts):
            if at in symbols and symbols[at] != said:
                said = symbols[at]
                words.append(f'"{said}"')
            if not left and [part[1] for part in parts[i : i + 3]] == [length] * 3 and length.denominator % 3 == 0:
                words.append("(3")
                left = 3
            units = 2 * length * (Fraction(3, 2) if left else 1)
            left = max(left - 1, 0)
            name = "z" if pitch is None else _spelled(pitch, signature, signs)
            words.append(f"{name}{_length(units)}{'-' if ties else ''}")
        made.append("".join(words))
        before = metre
    return made


def _within(
    note: tuple[Fraction, Fraction, int], start: Fraction, end: Fraction
) -> tuple[Fraction, Fraction, int, bool] | None:
    """What of a note sounds within a bar, and whether it goes on behind it."""
    first, last = max(note[0], start), min(note[0] + note[1], end)
    return (first, last - first, note[2], note[0] + note[1] > end) if first < last else None


def _filled(
    parts: list[tuple[Fraction, Fraction, int, bool]], start: Fraction, end: Fraction
) -> list[tuple[Fraction, Fraction, int | None, bool]]:
    """Notes of a bar with the rests between them; one that begins while another sounds ends it."""
    made: list[tuple[Fraction, Fraction, int | None, bool]] = []
    at = start
    for i, (first, length, pitch, ties) in enumerate(parts):
        if first > at:
            made.append((at, first - at, None, False))
        following = parts[i + 1][0] if i + 1 < len(parts) else end
        if following > first:
            made.append((first, min(length, following - first), pitch, ties))
        at = max(at, first + min(length, following - first))
    return [*made, (at, end - at, None, False)] if at < end else made


def _spelled(pitch: int, signature: Mapping[str, int], signs: dict[str, int]) -> str:
    """A pitch as ABC has it in a key, after the accidentals of its bar, which it adds to."""
    flat = any(sign < 0 for sign in signature.values())
    choices = [(letter, sign) for letter in STEPS for sign in (signature.get(letter, 0), 0, -1 if flat else 1)
               if (STEPS[letter] + sign - pitch) % 12 == 0]  # fmt: skip
    letter, sign = min(choices, key=lambda choice: (choice[1] != signature.get(choice[0], 0), choice[1] != 0))
    octave = (pitch - STEPS[letter] - sign) // 12 - 5
    name = letter if octave < 1 else letter.lower()
    marks = "," * -octave if octave < 0 else "'" * (octave - 1)
    accidental = ""
    if signs.get(letter, signature.get(letter, 0)) != sign:
        signs[letter] = sign
        accidental = {1: "^", -1: "_", 0: "="}[sign]
    return f"{accidental}{name}{marks}"


def _length(units: Fraction) -> str:
    top = "" if units.numerator == 1 else str(units.numerator)
    return top if units.denominator == 1 else f"{top}/{units.denominator}"


def _symbol(pitches: set[int]) -> str:
    """The chord symbol for pitches, the root lowest; "" of none."""
    classes = {pitch % 12 for pitch in pitches}
    root = min(pitches) % 12
    steps = tuple(sorted((one - root) % 12 for one in classes))
    quality = next((name for name, of in QUALITIES.items() if of == steps), None)
    return "" if quality is None else f"{NAMES[root]}{quality}"
