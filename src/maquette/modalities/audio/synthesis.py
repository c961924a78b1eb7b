"""Spoken digits that no one spoke: English words by a formant synthesiser, a source and a filter (Klatt 1980).

A voice is a train of glottal pulses, or noise, through four resonators in a row; what hisses is noise through one of
its own. A word is a row of phones, each of which aims at formants and loudness; on the way from one to the next all of
it glides. How fast and how high each clip is, is drawn by seed. Clips are made together, a sample of all at a time.

That words can be told was tried: a network that had learned digits from recordings of other people named four of five
as they were meant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RATE = 8000
STEP = 40  # samples between settings of the filter, 5 ms
GLIDE = 9  # settings over which one phone becomes the next
REST = 0.04  # seconds of silence around a word
BANDWIDTHS = (70.0, 110.0, 230.0, 400.0)  # Hz, of the formants
FOURTH = 3300.0  # Hz: the fourth formant, of all phones
TILT = 3000.0  # Hz: bandwidth of what softens the pulses
HIGHEST = (1200.0, 2700.0, 3100.0, 3700.0)  # Hz: what formants can be at this rate


@dataclass(frozen=True)
class Phone:
    """F: formants 1 to 3 in Hz; voiced, breath, hiss: loudness of pulses and of noise, through the formants and through
    a resonator (its centre and bandwidth in Hz); length in ms; abrupt: it begins without a glide, as bursts do."""

    F: tuple[float, float, float]
    length: float
    voiced: float = 1.0
    breath: float = 0.0
    hiss: tuple[float, float, float] = (0.0, 3000.0, 1000.0)
    abrupt: bool = False


# Formants of a man's vowels: Peterson & Barney 1952; of the rest: Klatt 1980, table III, rounded.
PHONES = {
    "iy": Phone((270, 2290, 3010), 150), "ih": Phone((400, 1920, 2560), 95), "eh": Phone((530, 1840, 2480), 120),
    "ah": Phone((620, 1220, 2550), 110), "ao": Phone((570, 840, 2410), 130), "aa": Phone((700, 1150, 2500), 110),
    "uw": Phone((310, 900, 2240), 170), "ow": Phone((540, 1000, 2400), 90), "ou": Phone((400, 800, 2300), 110),
    "ey": Phone((480, 1900, 2520), 80), "w": Phone((290, 610, 2150), 75, 0.6), "r": Phone((310, 1060, 1380), 90, 0.7),
    "n": Phone((270, 1340, 2470), 90, 0.35), "v": Phone((230, 1100, 2080), 65, 0.35, 0.0, (0.04, 3000, 2500)),
    "z": Phone((240, 1390, 2530), 95, 0.25, 0.0, (0.22, 3500, 500)),
    "s": Phone((320, 1390, 2530), 125, 0.0, 0.0, (0.4, 3600, 450)),
    "f": Phone((340, 1100, 2080), 105, 0.0, 0.0, (0.09, 2600, 3000)),
    "th": Phone((320, 1290, 2540), 95, 0.0, 0.0, (0.06, 3000, 3000)),
    "-": Phone((300, 1500, 2500), 50, 0.0),
    "t": Phone((350, 1800, 2600), 25, 0.0, 0.01, (0.5, 3500, 900), True),
    "h": Phone((350, 1600, 2500), 30, 0.0, 0.03),
    "k": Phone((320, 1900, 2500), 30, 0.0, 0.02, (0.5, 2100, 500), True),
}  # fmt: skip
WORDS = {
    "zero": "z ih r ow ou", "one": "w ah n", "two": "- t h uw uw", "three": "th r iy iy", "four": "f ao ao r",
    "five": "f aa ih v", "six": "s ih - k s", "seven": "s eh v ah n", "eight": "ey ih - t h", "nine": "n aa ih n",
}  # fmt: skip


@dataclass(frozen=True)
class Speaker:
    """pitch in Hz; tract: its formants beside those of the table; pace: lengths, likewise; breath: noise of the voice;
    melody: how far the pitch falls over a word, as a share."""

    pitch: float
    tract: float
    pace: float
    breath: float
    melody: float


SPEAKERS = {
    "ada": Speaker(205, 1.15, 1.0, 0.012, 0.25), "ben": Speaker(112, 0.98, 1.0, 0.004, 0.2),
    "cleo": Speaker(180, 1.1, 0.88, 0.006, 0.1), "dov": Speaker(92, 0.92, 1.15, 0.006, 0.15),
    "eve": Speaker(235, 1.19, 1.1, 0.02, 0.35), "finn": Speaker(135, 1.03, 0.85, 0.01, 0.3),
}  # fmt: skip


def spoken(words: list[str], speakers: list[str], seed: int) -> list[Array]:
    """A clip f64[N] in (-1, 1) at RATE of each word, as a speaker says it, no two alike."""
    rng = np.random.default_rng(seed)
    tracks = [_track(word, SPEAKERS[who], rng) for word, who in zip(words, speakers, strict=True)]
    settings = np.zeros((len(tracks), max(map(len, tracks)), tracks[0].shape[1]))
    for row, track in zip(settings, tracks, strict=True):
        row[: len(track)] = track
        row[len(track) :, : _LOUD.start] = track[-1, : _LOUD.start]  # silent from here on
    made = _filtered(settings, rng)
    rest = np.zeros(round(REST * RATE))
    clips = [np.concatenate([rest, clip[: len(track) * STEP], rest]) for clip, track in zip(made, tracks, strict=True)]
    loud = rng.uniform(0.35, 0.9, len(clips))
    return [clip / np.abs(clip).max() * most for clip, most in zip(clips, loud, strict=True)]


# Of a setting: pitch, four formants, centre and bandwidth of the hiss; loudness of pulses, breath and hiss.
_FORMANTS, _HISS, _LOUD = slice(1, 5), slice(5, 7), slice(7, 10)


def _track(word: str, speaker: Speaker, rng: np.random.Generator) -> Array:
    """Settings f64[T, 10] of one word, one every STEP samples."""
    tract, pace = speaker.tract * rng.normal(1, 0.02), speaker.pace * rng.normal(1, 0.08)
    rows: list[Array] = []
    abrupt = []
    for name in WORDS[word].split():
        phone = PHONES[name]
        formants = np.array([*phone.F, FOURTH]) * tract * rng.normal(1, 0.015, 4)
        aim = np.array([0, *formants, *phone.hiss[1:], phone.voiced, phone.breath + speaker.breath * phone.voiced,
                        phone.hiss[0]])  # fmt: skip
        length = max(round(phone.length * pace * rng.normal(1, 0.1) / 1000 * RATE / STEP), 3)
        abrupt += [phone.abrupt] + [False] * (length - 1)
        rows += [aim] * length
    track = np.array(rows)
    track[:, _FORMANTS] = np.minimum(track[:, _FORMANTS], HIGHEST)
    parts = np.split(track, [i for i, now in enumerate(abrupt) if now])
    track = np.concatenate([_glided(part) for part in parts if len(part)])
    t = np.linspace(0, 1, len(track))
    ends = np.minimum(1, np.minimum(t, 1 - t) * len(track) / 5)  # a voice sets in and dies away within 25 ms
    track[:, _LOUD] *= ends[:, None]
    wander = np.cumsum(rng.normal(0, 0.004, len(track)))
    track[:, 0] = speaker.pitch * rng.normal(1, 0.05) * (1 + speaker.melody * (0.5 - t)) * np.exp(wander)
    return track


def _glided(part: Array) -> Array:
    """Each setting as the mean of those around it."""
    width = min(GLIDE, len(part) // 2 * 2 - 1)
    if width < 3:
        return part
    around = np.pad(part, ((width // 2, width // 2), (0, 0)), mode="edge")
    weight = np.hanning(width + 2)[1:-1]
    return np.lib.stride_tricks.sliding_window_view(around, width, axis=0) @ (weight / weight.sum())


def _filtered(settings: Array, rng: np.random.Generator) -> Array:
    """Settings f64[B, T, 10] as sounds f64[B, T * STEP]."""
    loudness = np.repeat(settings[..., _LOUD], STEP, 1)
    noise = rng.normal(0, 1, loudness.shape[:2])
    pulses = _pulses(np.repeat(settings[..., 0], STEP, 1))
    flat = np.zeros(settings.shape[:2])
    pulses = _resonated(pulses, flat, flat + TILT)
    source = loudness[..., 0] * pulses + loudness[..., 1] * noise
    voice = source
    for i in range(4):
        voice = _resonated(voice, settings[..., _FORMANTS.start + i], np.full(settings.shape[:2], BANDWIDTHS[i]))
    voice = np.diff(voice, axis=1, prepend=0)  # lips radiate differences
    voiced = loudness[..., 0] > 0.5 * loudness[..., 0].max(1, keepdims=True)
    voice /= np.sqrt((voice**2 * voiced).sum(1, keepdims=True) / voiced.sum(1, keepdims=True))
    hiss = _resonated(noise, settings[..., _HISS.start], settings[..., _HISS.start + 1])
    hiss = np.diff(hiss, axis=1, prepend=0)  # without what is low, which a resonator lets through
    return voice + loudness[..., 2] * hiss / hiss.std(1, keepdims=True)


def _pulses(pitch: Array) -> Array:
    """Glottal flow f64[B, N] of a pitch in Hz: opening for 40 % of a period, closing for 16 (Rosenberg 1971, B)."""
    phase = np.cumsum(pitch / RATE, 1) % 1
    opening, closing = phase / 0.4, (phase - 0.4) / 0.16
    flow = np.where(phase < 0.4, 3 * opening**2 - 2 * opening**3, np.where(phase < 0.56, 1 - closing**2, 0.0))
    made: Array = flow - flow.mean(1, keepdims=True)
    return made


def _resonated(x: Array, centre: Array, bandwidth: Array) -> Array:
    """f64[B, N] through a resonator whose centre and bandwidth f64[B, T], in Hz, change every STEP samples; Klatt's
    coefficients, with which a constant passes as it is."""
    r = np.exp(-np.pi * bandwidth / RATE)
    c, b = -(r**2), 2 * r * np.cos(2 * np.pi * centre / RATE)
    a = 1 - b - c
    made = np.empty_like(x)
    before, earlier = np.zeros(len(x)), np.zeros(len(x))
    for t in range(x.shape[1]):
        now = a[:, t // STEP] * x[:, t] + b[:, t // STEP] * before + c[:, t // STEP] * earlier
        made[:, t], before, earlier = now, now, before
    return made
