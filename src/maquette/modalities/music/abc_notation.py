"""ABC (Walshaw's standard, 2.1): its common part, read into tunes, and tunes written in it.

Read are key and metre, the unit of length, notes with octaves, accidentals and lengths, rests, bars, repeats and
endings, chords in brackets and chord symbols, ties, tuplets and broken rhythm. Passed over: decorations, grace notes,
slurs, words, remarks. What else there is (several voices, overlays, macros) is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from maquette.core.modality import Unreadable
from maquette.modalities.music.tune import METRES, MOST_BARS, NAMES, WHOLE, Key, Metre, Note, Tune, melody, quarters

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
TUPLETS = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}  # so many notes in the time of so many; 5, 7 and 9 by the metre
BEATS = {4: 1, 8: Fraction(3, 2), 2: 2}  # quarter notes of a beat, by the lower number of a metre that counts in three
MOST_BYTES = 2**17  # of one tune
ODD = 0.1  # share of the bars that may fail to add up to the metre, before a tune is left out

_PARTS = re.compile(
    r'(?P<remark>%.*)|(?P<quoted>"[^"]*")|(?P<passed>![^!\n]*!|\{[^}]*\}|[~.HIJKLMNOPQRSTUVWhijklmnopqrstuvw](?=[\^_=(\[A-Ga-gxz"~.{])|[\s\\`y)]|\*|\$)'
    r"|(?P<inline>\[[A-Za-z]:[^\[\]\n]*\])|(?P<ending>\[(?=[\d\"])[\d,.-]*)"
    r"|(?P<bar>(?::*\|+[:|\]]*|\[\||::+|:\|?)(?P<number>\d[\d,.-]*)?)"
    r"|(?P<tuplet>\(\d(?::\d{0,3}){0,2})|(?P<slur>\()"
    r"|(?P<note>(?P<sign>[\^_=]*)(?P<letter>[A-Ga-gxzZX])(?P<octave>[,']*)(?P<length>\d*/*\d*))"
    r"|(?P<open>\[)|(?P<close>\](?P<times>\d*/*\d*))|(?P<tie>-)|(?P<broken><+|>+)|(?P<other>.)",
)  # fmt: skip
_FIELD = re.compile(r"^([A-Za-z]):(?!\|)(.*)$")  # "A:|" is a note
_CHORD = re.compile(r"([A-G])([#b]?)([^/\s]*)(?:/.*)?$", re.IGNORECASE)


def tunes(text: str) -> list[str]:
    """The tunes of a file, each from its X: on, after what the file says before the first; [] where there is none."""
    starts = [found.start() for found in re.finditer(r"^X:", text, re.MULTILINE)]
    before = text[: starts[0]].splitlines(True) if starts else []  # of it short lines, and the last of each: it is
    shared = "".join({line[0]: line for line in before if re.match(r"[LM]:.{0,80}$", line)}.values())  # in every tune
    parts = [text[a:b] for a, b in pairwise([*starts, len(text)])]
    return [part.split("\n", 1)[0] + "\n" + shared + part.split("\n", 1)[-1] for part in parts]


@dataclass
class _Bar:
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


def read(text: str, repeats: bool = False) -> Tune:
    """One tune; raises Unreadable with what it is that cannot be read. repeats: repeated parts twice, as played."""
    if len(text) > MOST_BYTES:
        raise Unreadable(f"a tune of {len(text):,} characters, more than {MOST_BYTES:,}")
    reader = _Reader()
    for line in text.splitlines():
        reader.line(line)
    reader.end_bar()
    if not any(bar.notes for bar in reader.bars):
        raise Unreadable("no note in it")
    bars, odd = _whole(_played(reader.bars, repeats))
    if odd > ODD * len(bars):
        raise Unreadable(f"bars that do not add up to their metre: {odd} of {len(bars)}")
    return _tune(bars, odd, reader)


class _Reader:
    """Line by line, what is known so far."""

    def __init__(self) -> None:
        self.bars: list[_Bar] = []
        self.metre: Metre = WHOLE
        self.unit: Fraction | None = None  # quarter notes
        self.key, self.signature = Key(), dict[str, int]()
        self.tempo = 0.0
        self.begun = False  # K: ends the head
        self._bar = _Bar(WHOLE)
        self._signs: dict[str, int] = {}
        self._tuplet = (0, Fraction(1))  # notes that are left in it, and how long each is
        self._broken = Fraction(1)  # of the next note
        self._last: list[int] = []  # the notes of this bar that came last
        self._stack: list[tuple[int, Fraction]] | None = None  # of a chord in brackets: pitches and lengths
        self._ties = set[int]()  # which of them are tied

    def line(self, line: str) -> None:
        if found := _FIELD.match(line):
            self._field(found[1], found[2].partition("%")[0].strip())
        elif self.begun:
            for part in _PARTS.finditer(line):
                self._part(part)

    def _field(self, name: str, value: str) -> None:
        if name == "M":
            self.metre = _metre(value)
            if not self._bar.length:
                self._bar.metre = self.metre
        elif name == "L":
            if not re.fullmatch(r"0*[1-9]\d{0,3}/0*[1-9]\d{0,3}", value[:20]):
                raise Unreadable(f"L:{value[:20]} is no length")
            self.unit = 4 * Fraction(value)
        elif name == "Q":
            self.tempo = self.tempo or _tempo(value)
        elif name == "K":
            key, self.signature = _key(value)
            self.key = self.key if self.begun else key
            self.begun = True
        elif name == "V" and self.begun and re.match(r"\s*[^1\s]", value):
            raise Unreadable("several voices (V:)")
        elif name in "mU" and value:
            raise Unreadable(f"a macro or a symbol of its own ({name}:)")

    def _part(self, part: re.Match[str]) -> None:
        if part["other"]:
            raise Unreadable(f"'{part['other']}' is not read")
        if part["quoted"]:
            symbol = part["quoted"][1:-1].strip()
            if symbol[:1] not in ("^", "_", "<", ">", "@", ""):
                self._bar.symbols.append((self._bar.length, symbol))
        elif part["inline"]:
            self._field(part["inline"][1], part["inline"][3:-1].strip())
        elif part["ending"]:
            self._end_of_part(part["ending"][1:])
        elif part["bar"]:
            self._line(part["bar"], part["number"])
        elif part["tuplet"]:
            self._begin_tuplet(part["tuplet"])
        elif part["letter"]:
            self._note(part)
        elif part["open"]:
            self._stack, self._ties = [], set()
        elif part["close"]:
            stack, self._stack = self._stack or [], None
            if stack:
                self._sound([pitch for pitch, _ in stack], stack[0][1] * _times(part["times"]))
                self._tie([self._last[i] for i in self._ties if i >= 0])
        elif part["tie"] and self._stack is not None:  # of one note of a chord
            self._ties.add(len(self._stack) - 1)
        elif part["tie"]:
            self._tie(self._last)
        elif part["broken"]:
            self._break(part["broken"])

    # -- notes ---------------------------------------------------------------------------------------

    def _note(self, part: re.Match[str]) -> None:
        letter, times = part["letter"], _times(part["length"])
        length = self._unit() * times
        if letter in "ZX":  # rests of whole bars
            for _ in range(int(times)):
                self._bar.length += self._bar.whole
                self.end_bar()
        elif letter in "zx":
            self._sound([], length)
        elif self._stack is not None:
            self._stack.append((self._pitch(part), length))
        else:
            self._sound([self._pitch(part)], length)

    def _tie(self, notes: Sequence[int]) -> None:
        for i in notes:
            start, length, pitch, _ = self._bar.notes[i]
            self._bar.notes[i] = (start, length, pitch, True)

    def _pitch(self, part: re.Match[str]) -> int:
        letter = part["letter"].upper()
        if part["sign"]:
            self._signs[letter] = part["sign"].count("^") - part["sign"].count("_")
        sign = self._signs.get(letter, self.signature.get(letter, 0))
        octave = part["letter"].islower() + part["octave"].count("'") - part["octave"].count(",")
        pitch = 60 + STEPS[letter] + sign + 12 * octave
        if not 0 <= pitch < 128:
            raise Unreadable(f"'{part[0][:20]}' is beyond all instruments")
        return pitch

    def _sound(self, pitches: list[int], length: Fraction) -> None:
        """Notes that sound together, or a rest."""
        left, factor = self._tuplet
        length *= factor * self._broken
        self._broken = Fraction(1)
        self._tuplet = (left - 1, factor if left > 1 else Fraction(1)) if left else (0, Fraction(1))
        first = len(self._bar.notes)
        self._bar.notes += [(self._bar.length, length, pitch, False) for pitch in pitches]
        self._last = list(range(first, len(self._bar.notes)))
        self._bar.length += length
        self._length = length

    def _break(self, marks: str) -> None:
        """a>b: the first is longer by half, the second shorter; a<b the other way; two marks by three quarters."""
        if len(marks) > 3:
            raise Unreadable(f"'{marks[:20]}' is no broken rhythm")
        by = Fraction(1, 2 ** len(marks))
        here, self._broken = (2 - by, by) if marks[0] == ">" else (by, 2 - by)
        if not self._bar.length:
            raise Unreadable("broken rhythm without a note before it")
        for i in self._last:
            start, length, pitch, tied = self._bar.notes[i]
            self._bar.notes[i] = (start, length * here, pitch, tied)
        self._bar.length += self._length * (here - 1)

    def _begin_tuplet(self, text: str) -> None:
        numbers = [int(number) if number else 0 for number in text[1:].split(":")]
        count = numbers[0]
        compound = self.metre[0] % 3 == 0 and self.metre[1] == 8
        time = (numbers[1] if len(numbers) > 1 else 0) or TUPLETS.get(count, 3 if compound else 2)
        if count < 2:
            raise Unreadable(f"'{text}' is no tuplet")
        self._tuplet = ((numbers[2] if len(numbers) > 2 else 0) or count, Fraction(time, count))

    def _unit(self) -> Fraction:
        """Where nothing is said an eighth note, of metres below 3/4 a sixteenth."""
        if self.unit is None:
            self.unit = Fraction(1, 2) if quarters(self.metre) >= 3 else Fraction(1, 4)
        return self.unit

    # -- bars ----------------------------------------------------------------------------------------

    def _line(self, marks: str, number: str | None) -> None:
        """A bar line, which may repeat what was, open what comes, end a part, and number the ending that follows."""
        sign = marks.removesuffix(number or "")
        closes, opens = sign.startswith(":"), sign.endswith(":") and sign != ":"
        self.end_bar()
        if self.bars:
            self.bars[-1].closes |= closes
            self.bars[-1].parts |= opens or (not closes and len(sign) > 1)
        self._bar.opens |= opens
        if closes or opens or len(sign) > 1:
            self._bar.ending = frozenset()
        if number:
            self._end_of_part(number)

    def end_bar(self) -> None:
        bar = self._bar
        if bar.length:
            self.bars.append(bar)
            if len(self.bars) > MOST_BARS:
                raise Unreadable(f"more than {MOST_BARS:,} bars")
            self._bar = _Bar(self.metre, ending=bar.ending)
        self._signs, self._last = {}, []

    def _end_of_part(self, numbers: str) -> None:
        """[1 and the like: what follows is an ending, for these passages."""
        if self._bar.length:
            self.end_bar()
        found: set[int] = set()
        for first, last in re.findall(r"(\d)(?:-(\d))?", numbers):
            found |= set(range(int(first), int(last or first) + 1))
        self._bar.ending = frozenset(found)


def _played(bars: list[_Bar], repeats: bool) -> list[_Bar]:
    """The bars in the order in which they sound. repeats: parts twice; else once, with their last ending."""
    if not repeats:
        later = [max((max(b.ending, default=0) for b in bars[i : i + 16]), default=0) for i in range(len(bars))]
        return [bar for bar, last in zip(bars, later, strict=True) if not bar.ending or max(bar.ending) >= last]
    made: list[_Bar] = []
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


def _whole(bars: list[_Bar]) -> tuple[list[_Bar], int]:
    """Bars of their full length, and how many were not: a bar that a part ends in is made whole by what the next
    begins with; the first begins late, and the last ends early."""
    made: list[_Bar] = []
    for bar in bars:
        last = made[-1] if made else None
        if last is not None and len(made) > 1 and last.length + bar.length == last.whole:
            made[-1] = _joined(last, bar)
        else:
            made.append(bar)
    first = made[0]
    if first.length < first.whole:
        made[0] = _joined(_Bar(first.metre, length=first.whole - first.length), first)
    odd = sum(bar.length != bar.whole for bar in made[:-1]) + (made[-1].length > made[-1].whole)
    return made, odd


def _joined(a: _Bar, b: _Bar) -> _Bar:
    notes = [*a.notes, *((start + a.length, length, pitch, tied) for start, length, pitch, tied in b.notes)]
    symbols = [*a.symbols, *((at + a.length, symbol) for at, symbol in b.symbols)]
    return _Bar(a.metre, notes, symbols, a.length + b.length)


def _tune(bars: list[_Bar], odd: int, reader: _Reader) -> Tune:
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
    tempo = reader.tempo or (180.0 if reader.metre[1] == 8 else 120.0)
    return Tune((*melody(lead), *beside), tuple(bar.metre for bar in bars), reader.key, tempo, odd)


# -- fields ------------------------------------------------------------------------------------------


def chord(symbol: str) -> tuple[int, ...]:
    """The pitches of a chord symbol such as "Am7" or "D/f#"; () of what is none."""
    found = _CHORD.match(symbol)
    if not found:
        return ()
    root = (STEPS[found[1].upper()] + (found[2] == "#") - (found[2] == "b")) % 12
    quality = QUALITIES.get(found[3], QUALITIES["m"] if found[3][:1] == "m" and found[3][:3] != "maj" else (0, 4, 7))
    return tuple(LOW + root + step for step in quality)


def _metre(value: str) -> Metre:
    said = {"C": WHOLE, "C|": (2, 2), "none": WHOLE, "": WHOLE}.get(value)
    if said is None:
        found = re.fullmatch(r"(\d{1,3})/(\d{1,3})", value)
        said = (int(found[1]), int(found[2])) if found else None
    if said not in METRES:
        raise Unreadable(f"the metre {value[:20]}, which is none of those that are known")
    return said


def _tempo(value: str) -> float:
    """Quarter notes a minute; 0 where nothing is said in numbers."""
    found = re.search(r"(?:(\d{1,4})/(\d{1,4})\s*=\s*)?(\d{1,4})\s*$", re.sub(r'"[^"]*"', "", value).strip())
    if not found or not int(found[3]):
        return 0.0
    beat = Fraction(int(found[1]), int(found[2])) if found[1] and int(found[2]) else Fraction(1, 4)
    return min(max(float(4 * beat * int(found[3])), 20.0), 400.0)


def _key(value: str) -> tuple[Key, dict[str, int]]:
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


def _times(text: str) -> Fraction:
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


# -- write -------------------------------------------------------------------------------------------


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
    _, signature = _key(tune.key.name)
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
