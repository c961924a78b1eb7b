"""Finds pictures that are the same, or nearly so, so that a copy never stands on both sides of a split.

Exact: equal digests of the prepared pixels. Near: the signs of the 63 lowest frequencies of the discrete
cosine transform against their median (the "pHash") propose pairs, and the correlation of the pixels decides.
A hash alone will not do: on plain drawings such as MNIST thousands of different pictures share one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BANDS = 4  # a pair is proposed when one of 4 x 16 bits is equal ...
MAX_BITS = 6  # ... and at most this many of 64 differ
MAX_NEIGHBOURS = 48  # comparisons for a picture within one band: bounds the time on uniform data
MIN_CORRELATION = 0.99  # a JPEG of quality 75 of the same picture passes, another handwritten "1" rarely
MIN_CONTRAST = 4.0  # standard deviation in grey levels below which a picture has nothing to compare


@dataclass(frozen=True)
class Groups:
    """exact, near: i64[N], number of the group of each picture; a near group holds whole exact ones.

    A picture without a twin is a group of one.
    """

    exact: np.ndarray
    near: np.ndarray


class Hasher:
    """Collects digests and perceptual hashes of u8[n, C, H, W], chunk by chunk."""

    def __init__(self) -> None:
        self._digests: list[np.ndarray] = []
        self._hashes: list[np.ndarray] = []
        self._waves: list[np.ndarray] = []

    def add(self, pixels: np.ndarray) -> None:
        rows = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
        joined = b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in rows)
        self._digests.append(np.frombuffer(joined, "<u8"))
        hashes, waves = _perceive(pixels)
        self._hashes.append(hashes)
        self._waves.append(waves)

    @property
    def digests(self) -> np.ndarray:
        """u64[N], of the pixels."""
        return np.concatenate(self._digests) if self._digests else np.zeros(0, np.uint64)

    def groups(self, pixels: np.ndarray, rows: np.ndarray) -> Groups:
        """Groups among these rows of `pixels` u8[M, C, H, W] (rows: i64[N])."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        _, first, exact = np.unique(self.digests[rows], return_index=True, return_inverse=True)
        exact = exact.reshape(-1)
        hashes, waves = np.concatenate(self._hashes)[rows[first]], np.concatenate(self._waves)[rows[first]]
        pairs = _proposed(hashes, waves)
        pairs = pairs[_correlated(pixels, rows[first], pairs)]
        links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(first), len(first)))
        _, joined = connected_components(links, directed=False)
        return Groups(exact, joined[exact])


def sizes(groups: np.ndarray) -> tuple[int, int]:
    """(groups of two and more, pictures in them beyond the first of each)."""
    counts = np.bincount(groups) if len(groups) else np.zeros(0, np.int64)
    return int((counts > 1).sum()), int((counts[counts > 1] - 1).sum())


def examples(groups: np.ndarray, names: Sequence[str], most: int = 5) -> list[list[str]]:
    """Names of the first pictures of the largest groups."""
    counts = np.bincount(groups) if len(groups) else np.zeros(0, np.int64)
    largest = np.argsort(-counts, kind="stable")[:most]
    return [[names[i] for i in np.flatnonzero(groups == g)[:4]] for g in largest if counts[g] > 1]


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
