"""Finds pictures that nearly equal one another, so that a copy never stands on both sides of a split.

The signs of the 63 lowest frequencies of the discrete cosine transform against their median (the "pHash") propose
pairs, and the correlation of the pixels decides. A hash alone will not do: on plain drawings such as MNIST thousands
of different pictures share one.
"""

from __future__ import annotations

import numpy as np

BANDS = 4  # a pair is proposed when one of 4 x 16 bits is equal ...
MAX_BITS = 6  # ... and at most this many of 64 differ
MAX_NEIGHBOURS = 48  # comparisons for a picture within one band: bounds the time on uniform data
MIN_CORRELATION = 0.99  # a JPEG of quality 75 of the same picture passes, another handwritten "1" rarely
MIN_CONTRAST = 4.0  # standard deviation in grey levels below which a picture has nothing to compare


class Likeness:
    """Collects perceptual hashes of u8[n, C, H, W], chunk by chunk."""

    def __init__(self) -> None:
        self._hashes: list[np.ndarray] = []
        self._waves: list[np.ndarray] = []

    def add(self, items: np.ndarray) -> None:
        hashes, waves = _perceive(items)
        self._hashes.append(hashes)
        self._waves.append(waves)

    def pairs(self, stored: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """i64[P, 2], positions in `rows` i64[n]: pictures of `stored` u8[M, C, H, W] that nearly equal each other."""
        pairs = _proposed(np.concatenate(self._hashes)[rows], np.concatenate(self._waves)[rows])
        return pairs[_correlated(stored, rows, pairs)]


def _perceive(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """u8[n, C, H, W] -> hashes u64[n] and their 63 normalised frequencies f16[n, 64] (0 where all is flat)."""
    n, channels, height, width = pixels.shape
    grey = pixels[:, :3].mean(1, dtype=np.float32) if channels > 1 else pixels[:, 0].astype(np.float32)
    if channels == 4:
        grey *= pixels[:, 3] / np.float32(255)
    waves = (_cosines(height) @ grey @ _cosines(width).T).reshape(n, 64)
    waves[:, 0] = 0  # the mean: brightness does not tell pictures apart
    bits = waves > np.median(waves[:, 1:], axis=1, keepdims=True)
    bits[:, 0] = False
    bits = bits.reshape(n, 64 // BANDS, BANDS).transpose(0, 2, 1).reshape(n, 64)  # every band: low and high ones
    hashes = np.packbits(bits, axis=1, bitorder="little").view("<u8")[:, 0]
    length = np.linalg.norm(waves, axis=1, keepdims=True)
    flat = grey.reshape(n, -1).std(1, keepdims=True) < MIN_CONTRAST
    return hashes, np.where(flat, 0, waves / np.maximum(length, 1e-6)).astype(np.float16)


def _cosines(n: int) -> np.ndarray:
    """The 8 lowest rows of the discrete cosine transform (type II) of length n: f32[8, n], orthonormal."""
    k, j = np.ogrid[:8, :n]
    rows = np.cos(np.pi * (j + 0.5) * k / n) * np.sqrt(2 / n)
    rows[0] /= np.sqrt(2)
    made: np.ndarray = rows.astype(np.float32)
    return made


def _proposed(hashes: np.ndarray, waves: np.ndarray) -> np.ndarray:
    """Pairs i64[P, 2] that share a band of their hash, differ in few bits and agree in their frequencies."""
    alive = np.flatnonzero(waves.any(1))
    found = []
    for band in range(BANDS):
        value = (hashes[alive] >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        # Within a band the whole hash orders them, so that the closest stand together in a crowd.
        order = alive[np.lexsort((hashes[alive], value))]
        key = (hashes[order] >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        for step in range(1, min(MAX_NEIGHBOURS, len(order) - 1) + 1):
            same = np.flatnonzero(key[step:] == key[:-step])
            if not len(same):
                break
            a, b = order[same], order[same + step]
            close = _ones(hashes[a] ^ hashes[b]) <= MAX_BITS
            a, b = a[close], b[close]
            found.append(np.minimum(a, b) * len(hashes) + np.maximum(a, b))
    both = np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)  # one number a pair sorts fast,
    both = both[np.diff(both, prepend=-1) != 0]  # and this is a third of the time of np.unique
    pairs = np.stack(np.divmod(both, max(len(hashes), 1)), 1)
    keep = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), 65536):
        a, b = pairs[start : start + 65536].T
        alike = np.einsum("nk,nk->n", waves[a].astype(np.float32), waves[b].astype(np.float32))
        keep[start : start + 65536] = alike >= MIN_CORRELATION - 0.01
    return pairs[keep]


def _ones(x: np.ndarray) -> np.ndarray:
    """u64[N] -> number of bits that are set."""
    if hasattr(np, "bitwise_count"):  # NumPy 2
        return np.asarray(np.bitwise_count(x))
    return np.asarray(np.unpackbits(np.ascontiguousarray(x)[:, None].view(np.uint8), axis=1).sum(1))


def _correlated(pixels: np.ndarray, rows: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """bool[P]: whether the pixels of each pair correlate (which forgives brightness and contrast)."""
    made = np.zeros(len(pairs), bool)
    size = max(1, 2**22 // max(1, int(np.prod(pixels.shape[1:]))))
    for start in range(0, len(pairs), size):
        some = pairs[start : start + size]
        a, b = (pixels[rows[some[:, k]]].reshape(len(some), -1).astype(np.float32) for k in (0, 1))
        a -= a.mean(1, keepdims=True)
        b -= b.mean(1, keepdims=True)
        length = np.sqrt(np.einsum("nk,nk->n", a, a) * np.einsum("nk,nk->n", b, b))
        made[start : start + size] = np.einsum("nk,nk->n", a, b) >= MIN_CORRELATION * np.maximum(length, 1e-6)
    return made
