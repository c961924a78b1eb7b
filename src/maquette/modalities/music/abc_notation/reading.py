"""ABC -> tunes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

from maquette.core.modality import Unreadable
from maquette.modalities.music.abc_notation.bars import Bar, played, tune_of, whole
from maquette.modalities.music.abc_notation.fields import STEPS, key_of, metre_of, tempo_of, times_of
from maquette.modalities.music.tune import MOST_BARS, WHOLE, Key, Metre, Tune, quarters

TUPLETS = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}  # so many notes in the time of so many; 5, 7 and 9 by the metre
MOST_BYTES = 2**17  # of one tune
MOST_VOICES = 16
ODD = 0.1  # share of the bars that may fail to add up to the metre, before a tune is left out

_PARTS = re.compile(
    r'(?P<remark>%.*)|(?P<quoted>"[^"]*")|(?P<passed>![^!\n]*!|\{[^}]*\}|[~.HIJKLMNOPQRSTUVWhijklmnopqrstuvw](?=[\^_=(\[A-Ga-gxz"~.{])|[\s\\`y)]|\*|\$)'
    r"|(?P<inline>\[[A-Za-z]:[^\[\]\n]*\])|(?P<ending>\[(?=[\d\"])[\d,.-]*)"
    r"|(?P<bar>(?::*\|+[:|\]]*|\[\||::+|:\|?)(?P<number>\d[\d,.-]*)?)"
    r"|(?P<tuplet>\(\d(?::\d{0,3}){0,2})|(?P<slur>\()"
    r"|(?P<note>(?P<sign>[\^_=]*)(?P<letter>[A-Ga-gxzZX])(?P<octave>[,']*)(?P<length>\d*/*\d*))"
    r"|(?P<open>\[)|(?P<close>\](?P<times>\d*/*\d*))|(?P<tie>-)|(?P<broken><+|>+)|(?P<other>.)",
)  # fmt: skip
_SHIFTED = re.compile(r"\b(octave|transpose|score|sound|shift)=|\b(clef=)?(treble|bass|alto|tenor)[+-]8")
_FIELD = re.compile(r"^([A-Za-z]):(?!\|)(.*)$")  # "A:|" is a note


def tunes(text: str) -> list[str]:
    """The tunes of a file, each from its X: on, after what the file says before the first; [] where there is none."""
    starts = [found.start() for found in re.finditer(r"^X:", text, re.MULTILINE)]
    before = text[: starts[0]].splitlines(True) if starts else []  # of it short lines, and the last of each: it is
    shared = "".join({line[0]: line for line in before if re.match(r"[LM]:.{0,80}$", line)}.values())  # in every tune
    parts = [text[a:b] for a, b in pairwise([*starts, len(text)])]
    return [part.split("\n", 1)[0] + "\n" + shared + part.split("\n", 1)[-1] for part in parts]


def read(text: str, repeats: bool = False) -> Tune:
    """One tune; raises Unreadable with what it is that cannot be read. repeats: repeated parts twice, as played."""
    if len(text) > MOST_BYTES:
        raise Unreadable(f"a tune of {len(text):,} characters, more than {MOST_BYTES:,}")
    reader = _Reader()
    for line in text.splitlines():
        reader.line(line)
    voices = [reader, *(voice for voice in reader.voices.values() if voice is not reader)]
    for voice in voices:
        voice.end_bar()
    voices = [voice for voice in voices if any(bar.notes for bar in voice.bars)]
    if not voices:
        raise Unreadable("no note in it")
    tempo = reader.tempo or (180.0 if reader.metre[1] == 8 else 120.0)
    return _together([_tune(voice, repeats, tempo) for voice in voices])


def _tune(voice: _Reader, repeats: bool, tempo: float) -> Tune:
    bars, odd = whole(played(voice.bars, repeats))
    if odd > ODD * len(bars):
        raise Unreadable(f"bars that do not add up to their metre: {odd} of {len(bars)}")
    return tune_of(bars, odd, voice.key, tempo)


def _together(voices: Sequence[Tune]) -> Tune:
    """One tune of several voices: the first leads, and the others go with it."""
    first, longest = voices[0], max((voice.metres for voice in voices), key=len)
    if any(voice.metres != longest[: len(voice.metres)] for voice in voices):
        raise Unreadable("voices (V:) whose bars are not those of the others")
    beside = [replace(note, lead=False) for voice in voices[1:] for note in voice.notes]
    odd = sum(voice.odd for voice in voices)
    return replace(first, notes=(*first.notes, *beside), metres=longest, odd=odd)


class _Reader:
    """Line by line, what is known so far of a voice; the first one reads the lines and hands on what is of others."""

    def __init__(self) -> None:
        self.bars: list[Bar] = []
        self.metre: Metre = WHOLE
        self.unit: Fraction | None = None  # quarter notes
        self.key, self.signature = Key(), dict[str, int]()
        self.tempo = 0.0
        self.begun = False  # K: ends the head
        self._bar = Bar(WHOLE)
        self._signs: dict[str, int] = {}
        self._spelled: dict[int, tuple[str, int]] = {}  # pitches of this bar: letter and accidental
        self._held: dict[int, tuple[str, int]] = {}  # those of the bar before that are tied into this one
        self._tuplet = (0, Fraction(1))  # notes that are left in it, and how long each is
        self._broken = Fraction(1)  # of the next note
        self._last: list[int] = []  # the notes of this bar that came last
        self._stack: list[tuple[int, Fraction]] | None = None  # of a chord in brackets: pitches and lengths
        self._ties = set[int]()  # which of them are tied
        self.voices: dict[str, _Reader] = {}  # by name
        self._turn = self  # whose turn it is
        self._head: tuple[Metre, Fraction | None, Key, dict[str, int]] = (WHOLE, None, self.key, {})

    def line(self, line: str) -> None:
        if found := _FIELD.match(line):
            self._said(found[1], found[2].partition("%")[0].strip())
        elif self.begun:
            for part in _PARTS.finditer(line):
                if part["inline"]:
                    self._said(part["inline"][1], part["inline"][3:-1].strip())
                else:
                    self._turn._part(part)

    def _said(self, name: str, value: str) -> None:
        """A field: of the voice whose turn it is; or whose turn is next."""
        if name == "V" and _SHIFTED.search(value):
            raise Unreadable("a voice (V:) that sounds elsewhere than it is written")
        if name == "V" and self.begun and value:
            voice = value.split()[0]
            if not self.voices:  # what stands before is of the first voice
                self.voices["1" if self.bars or self._bar.length else voice] = self
            if voice not in self.voices:
                self.voices[voice] = self._another()
            self._turn = self.voices[voice]
        else:
            begun = self.begun
            self._turn._field(name, value)
            if self.begun and not begun:
                self._head = self.metre, self.unit, self.key, self.signature

    def _another(self) -> _Reader:
        """A voice that begins as the head of the tune says."""
        if len(self.voices) == MOST_VOICES:
            raise Unreadable(f"more than {MOST_VOICES} voices (V:)")
        made = _Reader()
        made.metre, made.unit, made.key, made.signature = self._head
        made.begun, made._bar = True, Bar(made.metre)
        return made

    def _field(self, name: str, value: str) -> None:
        if name == "M":
            self.metre = metre_of(value)
            if not self._bar.length:
                self._bar.metre = self.metre
        elif name == "L":
            if not re.fullmatch(r"0*[1-9]\d{0,3}/0*[1-9]\d{0,3}", value[:20]):
                raise Unreadable(f"L:{value[:20]} is no length")
            self.unit = 4 * Fraction(value)
        elif name == "Q":
            self.tempo = self.tempo or tempo_of(value)
        elif name == "K":
            key, self.signature = key_of(value)
            self.key = self.key if self.begun else key
            self.begun = True
        elif name in "mU" and value:
            raise Unreadable(f"a macro or a symbol of its own ({name}:)")

    def _part(self, part: re.Match[str]) -> None:
        if part["other"]:
            raise Unreadable(f"'{part['other']}' is not read")
        if part["quoted"]:
            symbol = part["quoted"][1:-1].strip()
            if symbol[:1] not in ("^", "_", "<", ">", "@", ""):
                self._bar.symbols.append((self._bar.length, symbol))
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
                self._sound([pitch for pitch, _ in stack], stack[0][1] * times_of(part["times"]))
                self._tie([self._last[i] for i in self._ties if i >= 0])
        elif part["tie"] and self._stack is not None:  # of one note of a chord
            self._ties.add(len(self._stack) - 1)
        elif part["tie"]:
            self._tie(self._last)
        elif part["broken"]:
            self._break(part["broken"])

    # -- notes ---------------------------------------------------------------------------------------

    def _note(self, part: re.Match[str]) -> None:
        letter, times = part["letter"], times_of(part["length"])
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
        natural = 60 + STEPS[letter] + 12 * octave
        if not part["sign"] and not self._bar.length:  # a note that goes on keeps its accidental; others do not
            sign = next((s for p, (held, s) in self._held.items() if held == letter and p - s == natural), sign)
        pitch = natural + sign
        self._spelled[pitch] = (letter, sign)
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
            self._bar = Bar(self.metre, ending=bar.ending)
            tied = [pitch for start, length, pitch, ties in bar.notes if ties and start + length == bar.length]
            self._held = {pitch: self._spelled[pitch] for pitch in tied if pitch in self._spelled}
        self._signs, self._last, self._spelled = {}, [], {}

    def _end_of_part(self, numbers: str) -> None:
        """[1 and the like: what follows is an ending, for these passages."""
        if self._bar.length:
            self.end_bar()
        found: set[int] = set()
        for first, last in re.findall(r"(\d)(?:-(\d))?", numbers):
            found |= set(range(int(first), int(last or first) + 1))
        self._bar.ending = frozenset(found)
