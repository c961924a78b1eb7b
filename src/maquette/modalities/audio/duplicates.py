"""Finds sounds that nearly equal one another, so that a copy never stands on both sides of a split.

Copies of other loudness, rate or coding are found: the shape of the spectrogram proposes pairs, and the correlation of
the waves decides. Two takes of one word by one voice have like spectrograms, and waves that correlate less (0.93 at
most in 2,500 spoken digits).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

BANDS, STRETCHES = 12, 16  # of the spectrogram in which sounds are compared
FRAME = 256  # samples
ALIKE = 0.97  # correlation of spectrograms by which a pair is proposed ...
COPY = 0.96  # ... and of the waves, at the best shift, by which it is one: of MP3, Vorbis and Opus 0.965 and more
SHIFT = 0.1  # a copy is cut at other ends by so much of its length, at most
COMPARED = 2**12  # sounds of about one length that one is compared with: bounds the time
PROPOSED = 16  # later sounds that one is a copy of at most, the most alike: of an hour of hum, all windows are alike
AT_ONCE = 512


class Likeness:
    """Collects fingerprints of i16[n, C, N], chunk by chunk."""

    def __init__(self) -> None:
        self._prints: list[np.ndarray] = []
        self._lengths: list[np.ndarray] = []

    def add(self, items: np.ndarray) -> None:
        waves = items.astype(np.float32).mean(1)
        spans = [np.flatnonzero(wave) for wave in waves]
        self._lengths.append(np.array([span[-1] + 1 - span[0] if len(span) else 0 for span in spans]))
        self._prints.append(
            np.stack([_fingerprint(wave[span[0] : span[-1] + 1] if len(span) else wave[:0])
                      for wave, span in zip(waves, spans, strict=True)])
        )  # fmt: skip

    def pairs(self, stored: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """i64[P, 2], positions in `rows` i64[n]: sounds of `stored` i16[M, C, N] that nearly equal each other."""
        prints, lengths = np.concatenate(self._prints)[rows], np.concatenate(self._lengths)[rows]
        found = [pair for pair in _proposed(prints, lengths) if _correlation(*(stored[rows[i]] for i in pair)) >= COPY]
        return np.array(found, np.int64).reshape(-1, 2)


def _fingerprint(wave: np.ndarray) -> np.ndarray:
    """f32[n] -> f32[BANDS * STRETCHES], of mean 0 and length 1: how loud each band is in each stretch of it, in
    logarithms; zeros of a wave that is shorter than a frame."""
    if len(wave) < 2 * FRAME:
        return np.zeros(BANDS * STRETCHES, np.float32)
    starts = np.linspace(0, len(wave) - FRAME, max(4 * STRETCHES, 2 * len(wave) // FRAME)).astype(np.int64)
    frames = wave[starts[:, None] + np.arange(FRAME)] * np.hanning(FRAME).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(frames))).astype(np.float32)
    edges = np.unique(np.geomspace(2, FRAME // 2, BANDS + 1).astype(np.int64))
    bands = np.stack([power[:, a:b].mean(1) for a, b in pairwise(edges)], 1)
    parts = np.stack([part.mean(0) for part in np.array_split(bands, STRETCHES)])
    made = np.log(parts + 1e-4 * parts.max() + 1e-6)  # what is 40 dB below the loudest is noise
    made -= made.mean()
    flat = np.zeros(BANDS * STRETCHES, np.float32)
    flat[: made.size] = made.reshape(-1) / max(float(np.linalg.norm(made)), 1e-6)
    return flat


def _proposed(prints: np.ndarray, lengths: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of about one length whose fingerprints agree."""
    order = np.argsort(lengths, kind="stable")
    order = order[prints[order].any(1)]
    found: list[tuple[int, int]] = []
    for start in range(0, len(order), AT_ONCE):
        ours = order[start : start + AT_ONCE]
        theirs = order[start : start + AT_ONCE + COMPARED]
        likeness = prints[ours] @ prints[theirs].T
        alike = likeness >= ALIKE
        alike &= lengths[theirs][None] <= (1 + 2 * SHIFT) * lengths[ours][:, None] + 2 * FRAME
        alike = np.triu(alike, 1)
        if alike.shape[1] > PROPOSED:
            others = np.argpartition(np.where(alike, likeness, -1), -PROPOSED, axis=1)[:, :-PROPOSED]
            np.put_along_axis(alike, others, False, axis=1)
        a, b = np.nonzero(alike)
        found += zip(ours[a].tolist(), theirs[b].tolist(), strict=True)
    return found


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of two sounds i16[C, N], at the shift at which it is largest, whichever way up."""
    x, y = (wave.astype(np.float32).mean(0) for wave in (a, b))
    size = 2 * len(x)
    both = np.fft.irfft(np.fft.rfft(x, size) * np.conj(np.fft.rfft(y, size)), size)
    return float(np.abs(both).max() / max(float(np.linalg.norm(x) * np.linalg.norm(y)), 1e-6))
