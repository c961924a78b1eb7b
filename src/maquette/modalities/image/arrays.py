"""Pictures that are already arrays: what their numbers mean, guessed once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from maquette.core.errors import UserError
from maquette.core.modality import Notes, Unreadable
from maquette.data.raw import Array, Cell

CHUNK = 4096


class Pictures:
    """Cells u8[C, H, W] out of arrays of any layout (NHW, NHWC, NCHW, flat squares) and scale."""

    def __init__(self, cells: Array, convert: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
        self._parts, self._convert = cells.parts, convert
        self._starts = np.cumsum([0, *map(len, cells.parts)])

    @classmethod
    def of(cls, cells: Array, notes: Notes) -> Pictures:
        """Layout and scale are guessed over all parts, and said in the notes."""
        return cls(cells, to_bytes([part for part in cells.parts if len(part)], cells.scale_max, notes))

    def __len__(self) -> int:
        return int(self._starts[-1])

    def take(self, rows: Sequence[int]) -> list[Cell]:
        wanted, made = np.asarray(rows, np.int64), list[Cell]([None] * len(rows))
        which = np.searchsorted(self._starts, wanted, side="right") - 1
        for part in np.unique(which):
            here = np.flatnonzero(which == part)
            pictures, finite = self._convert(self._parts[part][wanted[here] - self._starts[part]])
            for k, picture, good in zip(here.tolist(), pictures, finite.tolist(), strict=True):
                made[k] = picture if good else Unreadable("some of its pixels are not numbers")
        return made

    def order(self) -> Sequence[int]:
        return range(len(self))


def to_bytes(
    parts: Sequence[np.ndarray], scale_max: float | None, notes: Notes
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """How to turn rows of these arrays into pictures: a function of rows [n, ...] -> (u8[n, C, H, W], bool[n]).

    The bool says which rows are made of finite numbers. scale_max: the value of white, when known.
    """
    if not parts:
        raise UserError("The arrays hold no picture.", "Save at least some hundreds.")
    layout = _layout(parts[0].shape, notes)
    if any(part.shape[1:] != parts[0].shape[1:] for part in parts):
        raise UserError("The arrays hold pictures of different shapes.", "Save the splits with one shape.")
    low, high = _range(parts)
    scale, offset = _scale(parts[0].dtype, low, high, scale_max, notes)

    def convert(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = layout(np.asarray(rows))
        if rows.dtype == np.uint8 and (scale, offset) == (1.0, 0.0):
            return np.ascontiguousarray(rows), np.ones(len(rows), bool)
        values = rows.astype(np.float64)
        good: np.ndarray = np.asarray(np.isfinite(values).reshape(len(values), -1).all(axis=1))
        values = np.nan_to_num(values * scale + offset, nan=0, posinf=0, neginf=0)
        return np.rint(values).clip(0, 255).astype(np.uint8), good

    return convert


def _layout(shape: tuple[int, ...], notes: Notes) -> Callable[[np.ndarray], np.ndarray]:
    """Rows of any layout -> [n, C, H, W]."""
    if len(shape) == 3:
        notes.append(f"Shape {shape} read as N, H, W: grey pictures.")
        return lambda rows: rows[:, None]
    if len(shape) == 4 and shape[3] in (1, 3, 4):
        notes.append(f"Shape {shape} read as N, H, W, C.")
        return lambda rows: rows.transpose(0, 3, 1, 2)
    if len(shape) == 4 and shape[1] in (1, 3, 4):
        notes.append(f"Shape {shape} read as N, C, H, W.")
        return lambda rows: rows
    if len(shape) == 2:
        for channels in (1, 3):
            side = round((shape[1] / channels) ** 0.5)
            if side >= 4 and side * side * channels == shape[1]:
                notes.append(f"Shape {shape} read as flat pictures of {channels} x {side} x {side}.")
                return lambda rows: rows.reshape(len(rows), channels, side, side)
    raise UserError(
        f"An array of shape {shape} is not a set of pictures.", "Expected N x H x W, N x H x W x C or N x C x H x W."
    )


def _range(parts: Sequence[np.ndarray]) -> tuple[float, float]:
    """Smallest and largest finite value."""
    if any(part.dtype.kind not in "buif" for part in parts):
        raise UserError(
            f"An array of type {parts[0].dtype} is not a set of pictures.", "Save whole numbers or fractions."
        )
    lows, highs = [np.inf], [-np.inf]
    for part in parts:
        for start in range(0, len(part), CHUNK):
            values = np.asarray(part[start : start + CHUNK])
            if values.dtype.kind == "f":
                values = values[np.isfinite(values)]
            if values.size:
                lows.append(float(values.min()))
                highs.append(float(values.max()))
    return min(lows), max(highs)


def _scale(kind: np.dtype, low: float, high: float, scale_max: float | None, notes: Notes) -> tuple[float, float]:
    """(scale, offset) that take the values to 0..255."""
    if scale_max is not None:
        return 255 / scale_max, 0.0
    if not (np.isfinite(low) and high > low):
        return 1.0, 0.0
    if low >= 0 and high <= 1:
        notes.append("Values within 0..1: white is 1.")
        return 255.0, 0.0
    if low >= -1 and high <= 1:
        notes.append("Values within -1..1: black is -1, white is 1.")
        return 127.5, 127.5
    if low >= 0 and high <= 255:
        if kind != np.uint8:
            notes.append("Values within 0..255: white is 255.")
        return 1.0, 0.0
    if kind == np.uint16 or (kind.kind in "iu" and low >= 0 and high <= 65535):
        notes.append("16-bit values: white is 65,535.")
        return 1 / 257, 0.0
    notes.append(f"Values from {low:g} to {high:g} are stretched to black and white.")
    scale = 255 / (high - low)
    return scale, -low * scale
