"""MIDI files, read into tunes and written, by mido (MIT): the extra `music`.

Read are formats 0 and 1, notes of all channels but that of drums, the first tempo, key and changes of metre. Where no
key is said, the likeliest is taken. What the melody is, is said by the name of a track, or else it is what sounds
highest.
"""

from __future__ import annotations

import io
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.modalities.music.claims import is_midi
from maquette.modalities.music.tune import (
    METRES,
    MINORS,
    MOST_BARS,
    NAMES,
    WHOLE,
    Key,
    Metre,
    Note,
    Tune,
    likely_key,
    melody,
    quarters,
)

MOST_BYTES = 2**22  # an hour of music has a tenth of it
MOST_HIGH = 2**12  # bytes above 127 in a row: mido reads them as one number, however long, in quadratic time
DRUMS = 9  # the channel that every instrument of General MIDI has drums on
TICKS = 480  # of a quarter note, in files that we write
LEADS = re.compile(r"melod|lead|vocal|voice|solo|tune", re.IGNORECASE)
VOICES = (("melody", 0, 73, 96), ("chords", 1, 24, 64))  # track, channel, instrument (flute, guitar), velocity
_ALIKE = {"C#": "Db", "D#": "Eb", "Gb": "F#", "G#": "Ab", "A#": "Bb", "Cb": "B",
          "Dbm": "C#m", "D#m": "Ebm", "Gbm": "F#m", "Abm": "G#m", "A#m": "Bbm"}  # fmt: skip


def mido() -> Any:
    """The library; UserError, which says how to install it, where it is missing."""
    try:
        import mido as library
    except ImportError:
        raise UserError(
            "MIDI needs mido, which is not installed.", "Install it: pip install 'maquette[music]'"
        ) from None
    return library


# -- read --------------------------------------------------------------------------------------------


def read(data: bytes) -> Tune:
    """The tune of a file; raises Unreadable for what is broken, has no note, or is no piece with bars."""
    if not is_midi(data):
        raise Unreadable("not MIDI" if data else "empty")
    limits.check(len(data))
    if len(data) > MOST_BYTES:
        raise Unreadable(f"{len(data):,} bytes, more than {MOST_BYTES:,}: no file of notes is as large")
    if max((len(run[0]) for run in re.finditer(rb"[\x80-\xff]+", data)), default=0) > MOST_HIGH:
        raise Unreadable("broken: a number without an end")
    library = mido()
    try:
        file = library.MidiFile(file=io.BytesIO(data))
    except Exception as error:  # whatever a parser of foreign bytes may raise
        raise Unreadable(f"broken: {str(error)[:80] or type(error).__name__}") from None
    if file.type == 2:
        raise Unreadable("MIDI of format 2: patterns, and no piece")
    if file.ticks_per_beat <= 0:
        raise Unreadable("timed in seconds (SMPTE), without bars")
    return _tune(file)


def _tune(file: Any) -> Tune:
    voices: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)  # of each track and channel
    named = set[int]()
    metres: list[tuple[int, Metre]] = []
    keys: list[tuple[int, str]] = []
    tempos: list[tuple[int, float]] = []
    empty = drums = 0
    for number, track in enumerate(file.tracks):
        at = 0
        sounding: dict[tuple[int, int], int] = {}
        for message in track:
            at += message.time
            if message.type == "time_signature":
                metres.append((at, (message.numerator, message.denominator)))
            elif message.type == "key_signature":
                keys.append((at, message.key))
            elif message.type == "set_tempo" and message.tempo:
                tempos.append((at, 6e7 / message.tempo))
            elif message.type == "track_name" and LEADS.search(message.name):
                named.add(number)
            elif message.type in ("note_on", "note_off"):
                voice = message.channel, message.note
                if (began := sounding.pop(voice, None)) is not None:  # also where it begins anew
                    if at > began:
                        voices[number, message.channel].append((began, at, message.note))
                    else:
                        empty += 1
                if message.type == "note_on" and message.velocity:
                    if message.channel == DRUMS:
                        drums += 1
                    else:
                        sounding[voice] = at
        for (channel, pitch), began in sounding.items():  # held to the end
            voices[number, channel].append((began, max(at, began + 1), pitch))
    if not voices:
        raise Unreadable("no note in it" + (" but drums" if drums else ""))
    ticks = file.ticks_per_beat
    first = _lead(voices, named)
    lead, beside = ([Note(Fraction(a, ticks), Fraction(b - a, ticks), pitch, leads) for key, notes in voices.items()
                     if (key == first) is leads for a, b, pitch in notes] for leads in (True, False))  # fmt: skip
    notes = [*melody(lead), *beside]
    said = min(keys, default=(0, ""))[1]
    said = _ALIKE.get(said, said)
    names = MINORS if said in MINORS else NAMES
    key = Key(names.index(said), names is MINORS) if said in names else likely_key(notes)
    metres.sort(key=lambda change: change[0])
    bars = _bars([(Fraction(at, ticks), metre) for at, metre in metres], max(note.end for note in notes))
    tempos.sort()
    tempo = tempos[0][1] if tempos else 120.0
    out = [
        (drums, "drums"),
        (empty, "notes without length"),
        (len({round(t) for _, t in tempos}) > 1, "changes of tempo"),
    ]
    left_out = tuple(words for count, words in out if count)
    return Tune(tuple(notes), bars, key, min(max(tempo, 20.0), 400.0), left_out=left_out)


def _lead(voices: dict[tuple[int, int], list[tuple[int, int, int]]], named: set[int]) -> tuple[int, int]:
    """The track and channel of the melody: those named so, and of these the highest on average."""

    def height(voice: tuple[int, int]) -> tuple[bool, float]:
        return voice[0] in named, sum(pitch for _, _, pitch in voices[voice]) / len(voices[voice])

    return max(voices, key=height)


def _bars(changes: Sequence[tuple[Fraction, Metre]], end: Fraction) -> tuple[Metre, ...]:
    """The metre of each bar until the end; a change within a bar counts from the next one on."""
    made: list[Metre] = []
    at, metre, i = Fraction(0), WHOLE, 0
    while at < end:
        while i < len(changes) and changes[i][0] <= at:
            metre, i = changes[i][1], i + 1
        if metre not in METRES:
            raise Unreadable(f"the metre {metre[0]}/{metre[1]}, which is none of those that are known")
        made.append(metre)
        at += quarters(metre)
        if len(made) > MOST_BARS:
            raise Unreadable(f"more than {MOST_BARS:,} bars")
    return tuple(made)


# -- write -------------------------------------------------------------------------------------------


def write(tunes: Sequence[Tune], about: dict[str, str]) -> bytes:
    """Tunes one after the other as a file of format 1: what it is about (as JSON), tempo, key and metre; then a track
    of the melody, and one of the chords."""
    library = mido()
    file = library.MidiFile(type=1, ticks_per_beat=TICKS, charset="utf-8")
    meta = library.MetaMessage
    says: list[tuple[int, int, Any]] = [(0, 0, meta("text", text=json.dumps(about, ensure_ascii=False)))]
    notes: dict[bool, list[tuple[int, int, Any]]] = {True: [], False: []}
    begins = 0
    for tune in tunes:
        says.append((begins, 1, meta("set_tempo", tempo=library.bpm2tempo(tune.tempo))))
        says.append((begins, 2, meta("key_signature", key=tune.key.name)))
        before: Metre | None = None
        for at, metre in zip(tune.bars, tune.metres, strict=False):
            if metre != before:
                change = meta("time_signature", numerator=metre[0], denominator=metre[1])
                says.append((begins + int(at * TICKS), 3, change))
            before = metre
        for note in tune.notes:
            _, channel, _, velocity = VOICES[not note.lead]
            for order, kind, at, loud in ((5, "note_on", note.start, velocity), (4, "note_off", note.end, 0)):
                message = library.Message(kind, channel=channel, note=note.pitch, velocity=loud)
                notes[note.lead].append((begins + round(at * TICKS), order, message))
        begins += int(tune.bars[-1] * TICKS)
    file.tracks.append(_track(says, begins))
    for (name, channel, program, _), lead in zip(VOICES, (True, False), strict=True):
        if notes[lead]:
            head = [(0, 0, meta("track_name", name=name)),
                    (0, 1, library.Message("program_change", channel=channel, program=program))]  # fmt: skip
            file.tracks.append(_track(head + notes[lead], begins))
    made = io.BytesIO()
    file.save(file=made)
    return made.getvalue()


def _track(messages: list[tuple[int, int, Any]], end: int) -> Any:
    """Messages (tick, order at that tick, message) as a track."""
    library = mido()
    track, before = library.MidiTrack(), 0
    for at, _, message in sorted(messages, key=lambda entry: entry[:2]):
        track.append(message.copy(time=at - before))
        before = at
    track.append(library.MetaMessage("end_of_track", time=max(end - before, 0)))
    return track
