"""Finds clips that nearly equal one another, so that a copy never stands on both sides of a split.

Copies of another coding, size or brightness are found; of another beginning they are not. What clips look like when
they are averaged to a few cells proposes pairs; the frames decide, and what moves in them: of one ground, that stays,
there are many clips.
"""

from __future__ import annotations

import numpy as np

FRAMES, SIDE = 4, 8  # that clips are averaged to
ALIKE = 0.98  # correlation of these by which a pair is proposed ...
COPY = 0.98  # ... and of the frames by which it is one,
MOTION = 0.9  # with this of how they differ from their mean: coding hits it harder
STILL = 3.0  # levels by which frames differ from their mean, below which nothing moves
COMPARED = 2**12  # clips of about one brightness that one is compared with: bounds the time
PROPOSED = 16  # others that a clip is compared with by its frames at most, the most alike
AT_ONCE = 512


class Likeness:
    """Collects fingerprints of u8[n, C, T, H, W], chunk by chunk."""

    def __init__(self) -> None:
        self._prints: list[np.ndarray] = []
        self._means: list[np.ndarray] = []

    def add(self, items: np.ndarray) -> None:
        small = np.stack([_small(clip) for clip in items]).reshape(len(items), -1)
        self._means.append(small.mean(1))
        small -= small.mean(1, keepdims=True)
        self._prints.append(small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-3))

    def pairs(self, stored: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """i64[P, 2], positions in `rows` i64[n]: clips of `stored` u8[M, C, T, H, W] that nearly equal each other."""
        prints, means = np.concatenate(self._prints)[rows], np.concatenate(self._means)[rows]
        found = [pair for pair in _proposed(prints, means) if _copy(*(stored[rows[i]] for i in pair))]
        return np.array(found, np.int64).reshape(-1, 2)


def _small(clip: np.ndarray) -> np.ndarray:
    """u8[C, T, H, W] -> f32[FRAMES, SIDE, SIDE] or fewer of each: means of grey."""
    made = clip.mean(0, dtype=np.float32)
    for axis, most in enumerate((FRAMES, SIDE, SIDE)):
        size = made.shape[axis]
        ends = np.linspace(0, size, min(most, size) + 1).astype(np.int64)
        counts = np.diff(ends).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
        made = np.add.reduceat(made, ends[:-1], axis) / counts
    return made


def _proposed(prints: np.ndarray, means: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of about one brightness whose fingerprints agree."""
    order = np.argsort(means, kind="stable")
    order = order[prints[order].any(1)]
    found: list[tuple[int, int]] = []
    for start in range(0, len(order), AT_ONCE):
        ours, theirs = order[start : start + AT_ONCE], order[start : start + AT_ONCE + COMPARED]
        likeness = np.triu(prints[ours] @ prints[theirs].T, 1)
        if likeness.shape[1] > PROPOSED:
            least = np.partition(likeness, -PROPOSED, axis=1)[:, -PROPOSED, None]
            likeness[likeness < least] = 0
        a, b = np.nonzero(likeness >= ALIKE)
        found += zip(ours[a].tolist(), theirs[b].tolist(), strict=True)
    return found


def _copy(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether u8[C, T, H, W] are one clip: by all of them, and by what moves where anything does."""
    x, y = (clip.astype(np.float32) for clip in (a, b))
    moving = [clip - clip.mean(1, keepdims=True) for clip in (x, y)]
    still = [float(clip.std()) < STILL for clip in moving]
    return _correlation(x, y) >= COPY and (all(still) or (not any(still) and _correlation(*moving) >= MOTION))


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = (values.reshape(-1) - values.mean() for values in (x, y))
    return float(x @ y / max(float(np.linalg.norm(x) * np.linalg.norm(y)), 1e-6))
