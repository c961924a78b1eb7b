"""From files of sound to samples of one shape: headers and levels looked at, a rate and a length chosen, encoded.

Stored are 16 bits a sample, whatever the source has: 96 dB, far more than what a model of ours makes is from silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maquette.core.bounds import SIDE
from maquette.core.counts import counted
from maquette.core.errors import UserError
from maquette.core.modality import Examined, Notes, Unreadable
from maquette.core.spec import ClassSpec, ColumnSpec, TokenSpec
from maquette.data.names import some
from maquette.data.raw import Cell, File
from maquette.modalities.audio import levels
from maquette.modalities.audio.bounds import SHORTEST
from maquette.modalities.audio.config import Config, Spec
from maquette.modalities.audio.duplicates import Likeness
from maquette.modalities.audio.levels import STEPS
from maquette.modalities.audio.opening import SUFFIX_FORMATS, Header, header, resampled, samples

__all__ = ["Likeness", "describe", "encode", "examine", "fit", "parts"]

LONG = 20.0  # seconds: longer recordings are read in windows where nobody says how long an item is
WINDOW = 4.0  # seconds of one
MARGIN = 0.05  # seconds around a window that resampling sees as well
MOST_COVERED, FAR = 0.99, 1.5  # so many clips are whole; all, where the longest is at most so many times as long
MULTIPLE = 256  # of samples that an item has, so that networks can halve it
LITTLE_SPEECH = 600.0  # seconds of recordings with their words, below which little will be understood
FEW = 500  # fewer sounds than this are soon known by heart


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one sound.

    header: of its file      seconds: of the sound itself      windows: how many its file is cut into
    loudness: in dBFS, of the root of the mean square      clipped: share of its samples
    sides: 1 or 2, whether two of its channels differ      note: a warning for people, or ""
    """

    header: Header
    seconds: float
    windows: int
    loudness: float
    clipped: float
    sides: int
    note: str = ""


def examine(cell: Cell, config: Config) -> Facts:
    """What a sound is; raises Unreadable for what is broken, none, silent or too short."""
    if not isinstance(cell, File):
        raise Unreadable("not a sound")
    data = cell.read()
    found = header(data)
    sound = _read(data, found, cell.part, config, found.rate)
    windows = _windows(found.seconds, config)
    if windows == 1 or cell.part:
        sound = _heard(sound)
    else:  # it may begin with silence; and a header may say what it will: is the end of the last window there?
        samples(data, round(windows * _item(config) * found.rate) - 1, 1)
    suffix = Path(cell.name).suffix.lower()
    wrong = suffix and SUFFIX_FORMATS.get(suffix) != found.format
    note = f"named {suffix} but is {found.format}" if wrong else ""
    return Facts(
        found, sound.shape[1] / found.rate, windows, levels.loudness(sound),
        levels.clipped(sound), 1 + levels.sides_differ(sound), note,
    )  # fmt: skip


def parts(facts: Facts, config: Config, files: int) -> int:
    """How many windows a file is cut into: all of one file are on one side of a split."""
    return facts.windows


def fit(
    cells: Sequence[Cell], facts: Sequence[Facts], config: Config, known: ColumnSpec | None, notes: Notes
) -> ColumnSpec:
    """The rate, the channels and the length in which all sounds are prepared; `describe` says how they were chosen."""
    if known is not None:
        return known
    rate = config.rate or Counter(fact.header.rate for fact in facts).most_common(1)[0][0]
    stereo = config.mix == "stereo" or (config.mix == "auto" and 2 * sum(fact.sides > 1 for fact in facts) > len(facts))
    clips = [fact.seconds for fact in facts if fact.windows == 1]
    if config.seconds or len(clips) < MOST_COVERED * len(facts):
        length = round(_item(config) * rate)
    else:  # of windows, too, if there are a few of them, no more is used
        length = -(-int(np.ceil(_covering(clips) * rate)) // MULTIPLE) * MULTIPLE
    if length > SIDE:
        raise UserError(
            f"A sound would have {length:,} samples ({length / rate:.3g} s at {rate:,} Hz), and {SIDE:,} are the most.",
            "Take shorter windows or fewer samples a second: --seconds, --rate.",
        )
    return Spec(shape=(1 + stereo, length), rate_hz=rate)


def encode(cells: Sequence[Cell], spec: ColumnSpec, config: Config) -> list[np.ndarray | Unreadable]:
    """i16[C, N] of each sound, zeros behind its end; Unreadable where it is broken, silent, or too long to be used."""
    made: list[np.ndarray | Unreadable] = []
    for cell in cells:
        try:
            if not isinstance(cell, File):
                raise Unreadable("not a sound")
            data = cell.read()
            sound = _heard(_read(data, header(data), cell.part, config, spec.rate_hz))
            made.append(stored(sound, spec, config))
        except Unreadable as error:
            made.append(error)
    return made


def stored(sound: np.ndarray, spec: ColumnSpec, config: Config) -> np.ndarray:
    """f32[c, n] at the rate of `spec` -> i16[C, N] with its channels and its length."""
    channels, length = spec.shape
    sound = levels.loud(levels.mixed(sound, channels), config.loudness)
    if sound.shape[1] > length and config.longer == "leave out":
        raise Unreadable(f"too long: {sound.shape[1] / spec.rate_hz:.3g} s, and an item has {spec.seconds:.3g} s")
    made = np.zeros(spec.shape, np.int16)
    sound = sound[:, :length]
    made[:, : sound.shape[1]] = np.clip(np.rint(sound * STEPS), -STEPS, STEPS - 1)
    if not made.any():
        raise Unreadable("silent")
    return made


def describe(column: Examined, notes: Notes) -> dict[str, Any]:
    """Hours, rates, lengths, levels and formats of the sounds, and the shape that they have now."""
    spec, config = column.spec, column.config
    facts: list[Facts] = [column.facts[i] for i in column.used]
    headers = [fact.header for fact in facts]
    seconds = np.array([fact.seconds for fact in facts])
    if column.target and len(column.train) < FEW:
        are = counted(len(column.train), "sound to learn from is", "sounds to learn from are")
        notes.warn(f"{are} few: what is made of them will stay near to them, and some of it can be copies.")
    wrong: dict[str, list[str]] = {}
    for i in column.used:
        if column.facts[i].note:
            wrong.setdefault(column.facts[i].note, []).append(column.places[i])
    for note, files in wrong.items():
        places = [*dict.fromkeys(files)]  # of each file once, however many windows it is
        are = f"{len(places):,} sounds are" if len(places) > 1 else "A sound is"
        notes.warn(f"{are} {note.replace(' is ', ' are ') if len(places) > 1 else note} ({some(places)}): used.")
    _tell_what_was_chosen(facts, spec, config, notes)
    rates, channels, forms = (
        Counter(words).most_common()
        for words in (
            [f"{head.rate:,} Hz" for head in headers],
            [{1: "mono", 2: "stereo"}.get(head.channels, f"{head.channels} channels") for head in headers],
            [f"{head.format} {_coding(head)}" for head in headers],
        )
    )
    loudness = np.array([fact.loudness for fact in facts])
    clipped = sum(fact.clipped > 0 for fact in facts)
    quietest, middle, loudest = np.quantile(loudness, (0, 0.5, 1)).tolist()
    size = int(np.prod(spec.shape)) * 2 * len(facts)
    shortest, median, longest = np.quantile(seconds, (0, 0.5, 1)).tolist()
    sides = {1: "mono", 2: "stereo"}[spec.channels]
    rows = [
        ("duration", _time(seconds.sum())),
        ("lengths", f"{shortest:.2f} to {longest:.2f} s, half of them below {median:.2f} s"),
        ("rates", _listed(rates)),
        ("channels", _listed(channels)),
        ("formats", _listed(forms)),
        ("loudness", f"{quietest:.0f} to {loudest:.0f} dBFS (RMS), half of them below {middle:.0f}"),
        ("clipping", counted(clipped, "sound holds", "sounds hold") + " clipped samples" if clipped else "none"),
        ("prepared as", f"{spec.seconds:.3g} s, {spec.rate_hz:,} Hz, {sides}, {size / 2**20:,.1f} MiB"),
        *_speech(column, notes),
    ]
    return {
        "hours": float(seconds.sum()) / 3600,
        "seconds": {"shortest": shortest, "median": median, "longest": longest},
        "rates": dict(rates), "channels": dict(channels), "formats": dict(forms),
        "loudness": {"quietest": quietest, "median": middle, "loudest": loudest}, "clipped": clipped,
        "prepared": {"channels": spec.channels, "samples": spec.shape[1], "rate_hz": spec.rate_hz, "bytes": size},
        "rows": [list(row) for row in rows],
    }  # fmt: skip


def _speech(column: Examined, notes: Notes) -> list[tuple[str, str]]:
    """What recordings can carry that are to be made from words; nothing of others."""
    if not column.target or not any(isinstance(other, TokenSpec) for other in column.beside):
        return []
    seconds = sum(column.facts[i].seconds for i in column.train)
    if seconds < LITTLE_SPEECH:
        notes.warn(
            f"There is {_time(seconds)} of speech to learn from: of less than {_time(LITTLE_SPEECH)}, only words that "
            "come up often will be understood."
        )
    told = [_time(seconds)]
    for voice in column.beside:
        if isinstance(voice, ClassSpec) and any(voice.shares):
            fewest = round(min(filter(None, voice.shares)) * len(column.train))
            told.append(
                f"{fewest:,} or more {'sound' if fewest == 1 else 'sounds'} of each of {voice.num_classes} classes"
            )
    return [("speech to learn from", ", ".join(told))]


# -- inside ------------------------------------------------------------------------------------------


def _item(config: Config) -> float:
    """Seconds of an item, where clips do not say it."""
    return config.seconds or WINDOW


def _windows(seconds: float, config: Config) -> int:
    """How many windows a recording is cut into; what is left at its end, less than one, is not used."""
    longer = 2 * config.seconds if config.seconds else LONG
    apart = seconds >= longer if config.windows is None else config.windows
    return max(1, int(seconds / _item(config) + 1e-6)) if apart else 1


def _read(data: bytes, found: Header, part: int, config: Config, rate: int) -> np.ndarray:
    """f32[c, n] at a rate: window number `part` of a recording, or the whole clip, its ends trimmed."""
    if _windows(found.seconds, config) > 1:
        first, last = (round((part + end) * _item(config) * found.rate) for end in (0, 1))
        margin = 0 if rate == found.rate else round(MARGIN * found.rate)
        start, stop = max(first - margin, 0), min(last + margin, found.frames)
        sound = resampled(_within(samples(data, start, stop - start)), found.rate, rate)
        begin = round((first - start) * rate / found.rate)
        return sound[:, begin : begin + round(_item(config) * rate)]
    if found.seconds < SHORTEST:
        raise Unreadable(f"too short: {counted(found.frames, 'sample', 'samples')}")
    sound = _within(samples(data))
    return resampled(sound if config.trim is None else levels.trimmed(sound, found.rate, config.trim), found.rate, rate)


def _within(sound: np.ndarray) -> np.ndarray:
    """What is louder than full scale, as files of floats may be, turned down to it."""
    return sound / max(float(np.abs(sound).max()), 1.0)


def _heard(sound: np.ndarray) -> np.ndarray:
    """What there is something to hear of; Unreadable where there is nothing."""
    if np.abs(sound).max() < 0.5 / STEPS:
        raise Unreadable("silent")
    return sound


def _covering(seconds: Sequence[float]) -> float:
    """As long as nearly all clips are; as the longest, where that is not much more."""
    usual, longest = np.quantile(seconds, (MOST_COVERED, 1.0), method="higher").tolist()
    return float(longest if longest <= FAR * usual else usual)


def _tell_what_was_chosen(facts: Sequence[Facts], spec: ColumnSpec, config: Config, notes: Notes) -> None:
    """Notes on sounds that differ from how they are prepared: in rate, in channels, in length."""
    if other := sum(fact.header.rate != spec.rate_hz for fact in facts):
        notes.append(f"{counted(other, 'sound is', 'sounds are')} resampled to {spec.rate_hz:,} Hz (data.audio.rate).")
    if spec.channels == 1 and (sides := sum(fact.sides > 1 for fact in facts)):
        notes.append(f"{counted(sides, 'sound is', 'sounds are')} mixed to mono (data.audio.mix).")
    windows = sum(fact.windows > 1 for fact in facts)
    if windows:
        notes.append(
            f"{windows:,} windows of {_item(config):g} s are cut from recordings that are longer (data.audio.seconds); "
            "those of one recording are never on both sides of the split."
        )
    longer = sum(fact.seconds > spec.seconds + 1 / spec.rate_hz for fact in facts)
    if longer:
        notes.append(
            f"{counted(longer, 'sound is', 'sounds are')} longer than {spec.seconds:.3g} s, and cut there "
            "(data.audio.seconds)."
        )


def _coding(head: Header) -> str:
    """How samples are written, in a person's words: 16 bit, float, Vorbis, ..."""
    word = head.coding.removeprefix("PCM_")
    return {"S8": "8 bit", "U8": "8 bit", "FLOAT": "float", "DOUBLE": "float, 64 bit"}.get(
        word, f"{word} bit" if word.isdigit() else "" if head.format == "MP3" else word.capitalize()
    )


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _listed(counts: Sequence[tuple[str, int]], most: int = 5) -> str:
    more = f" and {len(counts) - most:,} more" if len(counts) > most else ""
    return ", ".join(f"{word.strip()} ({n:,})" for word, n in counts[:most]) + more
