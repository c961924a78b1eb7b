"""Digits that move within a frame and bounce off its sides (Srivastava et al. 2015, section 4.2), and clips that are
made when they are asked for: of a seed and a number, so that none is kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from maquette.core.rng import derive

STEP = 0.1  # of the way from side to side, that a digit moves from frame to frame


class Made:
    """Clips u8[C, T, H, W] by number, as an array would have them."""

    dtype = np.dtype(np.uint8)

    def __init__(self, count: int, shape: tuple[int, int, int, int], make: Callable[[int], np.ndarray]) -> None:
        self.shape = (count, *shape)
        self._make = make

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, number: int) -> np.ndarray:
        return self._make(number)


def bounced(start: np.ndarray, speed: np.ndarray, frames: int) -> np.ndarray:
    """f64[K, 2] and f64[K, 2] -> f64[frames, K, 2]: places in [0, 1] of what is reflected at both ends."""
    at = np.abs(start + speed * np.arange(frames)[:, None, None]) % 2
    return np.where(at > 1, 2 - at, at)


class MovingDigits:
    """Clips of several digits. digits: u8[n, h, w]      side: of the frame, in pixels"""

    def __init__(self, digits: np.ndarray, side: int, frames: int, each: int, seed: int) -> None:
        self.digits, self.side, self.frames, self.each, self.seed = digits, side, frames, each, seed

    def which(self, number: int) -> np.ndarray:
        """i64[each]: the digits of a clip."""
        return self._draws(number).integers(0, len(self.digits), self.each)

    def places(self, number: int) -> np.ndarray:
        """i64[T, each, 2]: the upper left corner of each digit, down and right."""
        draws = self._draws(number)
        draws.integers(0, len(self.digits), self.each)
        angle = draws.uniform(0, 2 * np.pi, self.each)
        way = bounced(draws.random((self.each, 2)), STEP * np.stack([np.sin(angle), np.cos(angle)], 1), self.frames)
        return np.floor(way * (self.side - np.array(self.digits.shape[1:]))).astype(np.int64)

    def clip(self, number: int) -> np.ndarray:
        """u8[1, T, side, side]: where digits are over one another, the brighter is seen."""
        made = np.zeros((1, self.frames, self.side, self.side), np.uint8)
        height, width = self.digits.shape[1:]
        shown, places = self.digits[self.which(number)], self.places(number).tolist()
        for frame, at in zip(made[0], places, strict=True):
            for digit, (top, left) in zip(shown, at, strict=True):
                seen = frame[top : top + height, left : left + width]
                np.maximum(seen, digit, out=seen)
        return made

    def _draws(self, number: int) -> np.random.Generator:
        return np.random.default_rng(derive(self.seed, "moving", number))
