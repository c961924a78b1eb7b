"""How loud a sound is, and what is done about it: f32[C, n], full scale 1, 0 dBFS a square wave of full scale."""

from __future__ import annotations

from typing import Literal

import numpy as np

STEPS = 2**15  # of 16 bits between silence and full scale
FLOOR = -120.0  # dBFS of what has none
MOMENT = 0.02  # seconds by which silence at the ends is judged
NEAR = 1 - 1.5 / 128  # full scale, about: the largest sample of 8 bits is 127 / 128
RUN = 3  # samples at full scale one after the other are clipped: a single one is a peak
ALIKE = 1e-3  # sides that differ by no more than this are one


def decibels(amplitude: float) -> float:
    """dBFS of an amplitude."""
    return max(20 * float(np.log10(max(amplitude, 1e-12))), FLOOR)


def loudness(sound: np.ndarray) -> float:
    """dBFS of the root of the mean square."""
    return decibels(float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))))


def clipped(sound: np.ndarray) -> float:
    """Share of samples that stand at full scale, several in a row."""
    full = np.abs(sound) >= NEAR
    run = full[:, : -(RUN - 1)].copy() if sound.shape[1] >= RUN else np.zeros((1, 0), bool)
    for k in range(1, RUN) if run.size else ():
        run &= full[:, k : full.shape[1] - (RUN - 1) + k]
    return float(run.sum()) / max(sound.size, 1)


def sides_differ(sound: np.ndarray) -> bool:
    """Whether there are two channels or more, and not all alike."""
    return len(sound) > 1 and bool(np.abs(sound - sound[:1]).max() > ALIKE * np.abs(sound).max())


def mixed(sound: np.ndarray, channels: int) -> np.ndarray:
    """With so many channels: their mean; or the front two, of more with the mean of the others on both sides."""
    if len(sound) == channels:
        return sound
    if channels == 1:
        return sound.mean(0, keepdims=True)
    if len(sound) == 1:
        return np.repeat(sound, channels, 0)
    made: np.ndarray = (sound[:2] + sound[2:].mean(0)) / 2
    return made


def trimmed(sound: np.ndarray, rate: int, below: float) -> np.ndarray:
    """From the first to the last moment that is not quieter than the loudest by more than `below` dB."""
    size = max(1, round(MOMENT * rate))
    moments = -(-sound.shape[1] // size)
    padded = np.pad(sound, ((0, 0), (0, moments * size - sound.shape[1])))
    power = np.square(padded).reshape(len(sound), moments, size).mean((0, 2))
    loud = np.flatnonzero(power >= power.max() * 10 ** (-below / 10))
    return sound[:, loud[0] * size : (loud[-1] + 1) * size]


def loud(sound: np.ndarray, asked: Literal["peak"] | float | None) -> np.ndarray:
    """As loud as it is asked for, in dBFS, without clipping; "peak": as loud as it can be."""
    if asked is None:
        return sound
    most = (1 - 1 / STEPS) / max(float(np.abs(sound).max()), 1e-12)
    gain = most if asked == "peak" else min(10 ** ((asked - loudness(sound)) / 20), most)
    return sound * np.float32(gain)


def sixteen_bits(sound: np.ndarray) -> np.ndarray:
    """f32[...] in [-1, 1] -> i16 of the same shape; what is louder is clipped, what is no number is silent."""
    scaled = np.rint(np.clip(np.nan_to_num(sound), -1, 1) * np.float32(STEPS))
    made: np.ndarray = np.clip(scaled, -STEPS, STEPS - 1).astype(np.int16)
    return made
