"""What the fields of a tune say, its chord symbols, and the lengths behind its notes."""

from __future__ import annotations

import re
from fractions import Fraction

from maquette.core.modality import Unreadable
from maquette.modalities.music.tune import METRES, WHOLE, Key, Metre

STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
SHARPS = "FCGDAEB"  # in the order in which signatures take them
FIFTHS = {"C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5, "F": -1}
# How many fifths the signature of a mode is from that of the major key on the same tonic; whether it counts as minor.
MODES = {"maj": (0, False), "ion": (0, False), "m": (-3, True), "min": (-3, True), "aeo": (-3, True),
         "mix": (-1, False), "dor": (-2, True), "phr": (-4, True), "lyd": (1, False), "loc": (-5, True)}  # fmt: skip
QUALITIES = {  # of chord symbols: semitones above the root
    "": (0, 4, 7), "maj": (0, 4, 7), "m": (0, 3, 7), "min": (0, 3, 7), "7": (0, 4, 7, 10), "m7": (0, 3, 7, 10),
    "maj7": (0, 4, 7, 11), "dim": (0, 3, 6), "dim7": (0, 3, 6, 9), "o": (0, 3, 6), "aug": (0, 4, 8), "+": (0, 4, 8),
    "6": (0, 4, 7, 9), "m6": (0, 3, 7, 9), "9": (0, 4, 7, 10), "sus4": (0, 5, 7), "sus": (0, 5, 7), "sus2": (0, 2, 7),
}  # fmt: skip
LOW = 48  # the pitch from which on roots of chord symbols lie

_CHORD = re.compile(r"([A-G])([#b]?)([^/\s]*)(?:/.*)?$", re.IGNORECASE)


def chord(symbol: str) -> tuple[int, ...]:
    """The pitches of a chord symbol such as "Am7" or "D/f#"; () of what is none."""
    found = _CHORD.match(symbol)
    if not found:
        return ()
    root = (STEPS[found[1].upper()] + (found[2] == "#") - (found[2] == "b")) % 12
    quality = QUALITIES.get(found[3], QUALITIES["m"] if found[3][:1] == "m" and found[3][:3] != "maj" else (0, 4, 7))
    return tuple(LOW + root + step for step in quality)


def metre_of(value: str) -> Metre:
    said = {"C": WHOLE, "C|": (2, 2), "none": WHOLE, "": WHOLE}.get(value)
    if said is None:
        found = re.fullmatch(r"(\d{1,3})/(\d{1,3})", value)
        said = (int(found[1]), int(found[2])) if found else None
    if said not in METRES:
        raise Unreadable(f"the metre {value[:20]}, which is none of those that are known")
    return said


def tempo_of(value: str) -> float:
    """Quarter notes a minute; 0 where nothing is said in numbers."""
    found = re.search(r"(?:(\d{1,4})/(\d{1,4})\s*=\s*)?(\d{1,4})\s*$", re.sub(r'"[^"]*"', "", value).strip())
    if not found or not int(found[3]):
        return 0.0
    beat = Fraction(int(found[1]), int(found[2])) if found[1] and int(found[2]) else Fraction(1, 4)
    return min(max(float(4 * beat * int(found[3])), 20.0), 400.0)


def key_of(value: str) -> tuple[Key, dict[str, int]]:
    """The key, and the sharps (1) and flats (-1) of its signature, by letter."""
    if value[:2] == "Hp":  # of bagpipes
        return Key(2), {"F": 1, "C": 1}
    found = re.match(r"([A-G])([#b]?)\s*([A-Za-z]*)(.*)", value)
    if not found or value.lower().startswith("none"):
        return Key(), {}
    word = found[3].lower()
    mode = word if word == "m" else word[:3]
    fifths, minor = MODES.get(mode, (0, False))
    rest = found[4] if mode in MODES or not mode else f"{found[3]}{found[4]}"
    fifths += FIFTHS[found[1]] + 7 * ((found[2] == "#") - (found[2] == "b"))
    names = SHARPS[: max(fifths, 0)] if fifths > 0 else SHARPS[::-1][: max(-fifths, 0)]
    signature = dict.fromkeys(names, 1 if fifths > 0 else -1)
    rest = re.sub(r"[A-Za-z]{2,}=\S*", "", rest)  # clef=bass makes no note natural
    signature |= {letter.upper(): sign.count("^") - sign.count("_")
                  for sign, letter in re.findall(r"(\^{1,2}|_{1,2}|=)([A-Ga-g])", rest)}  # fmt: skip
    # MIDI and our tokens know major and minor alone: what has a signature counts as the one or the other that has it.
    do = 7 * fifths % 12
    return Key((do - 3) % 12 if minor else do, minor), signature


def times_of(text: str) -> Fraction:
    """The length behind a note: 2, /2, 3/2, //."""
    if len(text) > 20:
        raise Unreadable(f"'{text[:20]}...' is no length")
    top, slash, bottom = text.partition("/")
    if not slash:
        return _bounded(Fraction(int(top or 1)))
    more = bottom.count("/")
    digits = bottom.strip("/")
    under = int(digits) if digits else 2 ** (more + 1)
    if not under:
        raise Unreadable(f"'{text}' is no length")
    return _bounded(Fraction(int(top or 1), under))


def _bounded(length: Fraction) -> Fraction:
    if not 0 < length <= 256 or length.denominator > 768:
        raise Unreadable(f"a note of {length} units")
    return length
