"""Tunes as sound, without samples of instruments: plucked strings, added up from their partials.

An ideal string that is plucked at a share p of its length has partials of amplitude sin(pi k p) / k^2 (Fletcher &
Rossing 1998); they die away the faster the higher they are. The melody is plucked nearer to the bridge, and so clearer.
"""

from __future__ import annotations

import io
import wave
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from maquette.modalities.music.tune import Tune

Sound = NDArray[np.float32]

RATE = 22_050
PARTIALS = 24
STIFF = 2e-4  # how much partials of a real string are sharp: k sqrt(1 + STIFF k^2)
ATTACK, RELEASE = 0.004, 0.06  # seconds
RINGS = 1.5  # seconds in which a middle C falls by 60 dB; higher strings sooner
PLUCKED = {True: 0.13, False: 0.32}  # of the melody, of what goes with it
LOUD = {True: 0.5, False: 0.18}
ROOM = 0.25  # seconds after which an echo has died away
LONGEST = 3600.0  # seconds of a file


def render(tune: Tune, rate: int = RATE, seconds: float = LONGEST) -> Sound:
    """f32[n] in (-1, 1), at so many samples a second, from the first note on; of a long tune the beginning."""
    beat = 60 / tune.tempo
    first = min((note.start for note in tune.notes), default=Fraction(0))
    length = int(min(tune.seconds - float(first) * beat + RINGS, seconds) * rate)
    made = np.zeros(length, np.float32)
    held: dict[tuple[int, bool], float] = {}
    for note in tune.notes:
        held[note.pitch, note.lead] = max(held.get((note.pitch, note.lead), 0.0), float(note.length) * beat)
    strings = {key: _string(*key, min(longest, 6.0) + RELEASE, rate) for key, longest in held.items()}
    release = int(RELEASE * rate)
    fade = np.linspace(1, 0, release, dtype=np.float32)
    for note in tune.notes:
        start, sounds = (int(float(time) * beat * rate) for time in (note.start - first, note.length))
        tone = strings[note.pitch, note.lead][: sounds + release][: max(length - start, 0)].copy()
        if len(tone) > sounds:
            tone[sounds:] *= fade[: len(tone) - sounds]
        made[start : start + len(tone)] += tone
    return limited(_in_a_room(made, rate))


def _string(pitch: int, lead: bool, seconds: float, rate: int) -> Sound:
    """One string, f32[n]."""
    frequency = 440.0 * 2 ** ((pitch - 69) / 12)
    k = np.arange(1, PARTIALS + 1)[:, None]
    sharp = frequency * k * np.sqrt(1 + STIFF * k**2)
    k, sharp = k[sharp[:, 0] < 0.45 * rate], sharp[sharp[:, 0] < 0.45 * rate]
    time = np.arange(int(seconds * rate), dtype=np.float32) / np.float32(rate)
    decay = np.log(1000) / RINGS * np.sqrt(frequency / 261.6) * (0.6 + 0.4 * k)
    amplitude = np.sin(np.pi * k * PLUCKED[lead]) / k**1.5
    tone = np.zeros(len(time), np.float32)
    for height, falls, cycles in zip(amplitude[:, 0], decay[:, 0], sharp[:, 0], strict=True):
        tone += np.float32(height) * np.exp(np.float32(-falls) * time) * np.sin(np.float32(2 * np.pi * cycles) * time)
    rise = np.minimum(time / np.float32(ATTACK), 1)
    return tone * rise * np.float32(LOUD[lead])


def _in_a_room(dry: Sound, rate: int) -> Sound:
    """With a short echo of noise that dies away, always the same."""
    from scipy.signal import fftconvolve

    n = int(ROOM * rate)
    echo = np.random.default_rng(0).normal(size=n).astype(np.float32) * np.exp(-7 * np.arange(n, dtype=np.float32) / n)
    echo *= np.float32(0.12) / np.linalg.norm(echo)
    wet: Sound = dry + fftconvolve(dry, echo)[: len(dry)].astype(np.float32) if len(dry) else dry
    return wet


def limited(sound: Sound) -> Sound:
    """Within (-1, 1), what is loud bent softly: by tanh."""
    return np.tanh(sound)


def wav(sound: Sound, rate: int, about: str = "", width: int = 2) -> bytes:
    """f32[n] as a WAV file, mono, of one or two bytes a sample; what it is about in the comment of its LIST INFO."""
    shifted = sound * 127 + 128 if width == 1 else sound * 32767  # a byte has no sign
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(shifted.round().astype("u1" if width == 1 else "<i2").tobytes())
    if not about:
        return file.getvalue()
    text = about.encode() + b"\0"
    text += b"\0" * (len(text) % 2)
    info = b"INFO" + b"ICMT" + len(text).to_bytes(4, "little") + text
    whole = file.getvalue() + b"LIST" + len(info).to_bytes(4, "little") + info
    return whole[:4] + (len(whole) - 8).to_bytes(4, "little") + whole[8:]
