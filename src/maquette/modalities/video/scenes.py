"""Where scenes begin, how fast frames follow one another, and which of them are shown at given times."""

from __future__ import annotations

import math

import numpy as np

BINS = 8  # of each colour
CHANGED, APART = 0.5, 25.0  # a scene begins where half of the colours and each pixel by so many levels, on average, do
USUAL = 30.0  # frames a second, above which every second one will do
ROUNDED = 0.0101  # seconds that a time stamp may be off: GIF has hundredths
NEAR = 0.1  # of the time between two frames, that a time stamp may be off


class Scenes:
    """Collects, frame by frame, by how much each differs from the one before."""

    def __init__(self) -> None:
        self.starts = [0]
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self._count = 0

    def add(self, frame: np.ndarray) -> None:
        """frame: u8[H, W, 3]"""
        frame = frame[::2, ::2]
        levels = frame >> 5
        bins = (levels[..., 0].astype(np.int32) * BINS + levels[..., 1]) * BINS + levels[..., 2]
        colours = np.bincount(bins.ravel(), minlength=BINS**3)
        if self._last is not None:
            before, other = self._last
            if (
                np.abs(colours - other).sum() > 2 * CHANGED * bins.size
                and np.abs(frame.astype(np.int16) - before).mean() > APART
            ):
                self.starts.append(self._count)
        self._last = frame, colours
        self._count += 1


def rate_of(times: np.ndarray) -> float:
    """Frames a second of f64[n] times, at most USUAL: of faster ones every second frame counts, or third, ..."""
    steps = np.diff(times)
    steps = steps[steps > 0]
    if not len(steps):
        return 1.0
    middle = float(np.median(steps))
    even = np.abs(steps - middle) <= ROUNDED + 0.05 * middle
    rate = 1 / (float(steps[even].mean()) if even.mean() > 0.9 else middle)
    return usual(rate)


def usual(rate: float) -> float:
    """The rate itself, or the part of it that is USUAL at most."""
    made = rate / max(1, math.ceil(rate / USUAL - 0.02))  # stamps are rounded: 30.02 is 30
    return float(round(made)) if abs(made - round(made)) < 0.02 * made and made > 5 else round(made, 3)


def shown_at(times: np.ndarray, wanted: np.ndarray, step: float) -> np.ndarray:
    """i64[k]: which of the frames that begin at f64[n] is shown at each of f64[k]. step: between two wanted times"""
    return np.maximum(np.searchsorted(times, wanted + NEAR * step, side="right") - 1, 0)
