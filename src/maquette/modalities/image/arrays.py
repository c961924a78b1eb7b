"""Pictures that are already arrays: their layout, guessed once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from maquette.core.errors import UserError
from maquette.core.modality import Notes
from maquette.data.raw import Array, Cell
from maquette.modalities.image.depth import Numbers, eight_bits

FEW_BITS = 31  # bytes none of which is larger are numbers of fewer bits, and not a night without a moon


class Pictures:
    """Cells [C, H, W] out of arrays of any layout (NHW, NHWC, NCHW, flat squares): bytes where that is what they are,
    else numbers of any type, whose scale `depth` finds."""

    def __init__(self, cells: Array, layout: Callable[[np.ndarray], np.ndarray]) -> None:
        self._parts, self._layout, self._white = cells.parts, layout, cells.scale_max
        self._starts = np.cumsum([0, *map(len, cells.parts)])
        bytes_ = all(part.dtype == np.uint8 for part in cells.parts)
        self._few = bytes_ and max((int(part.max()) for part in cells.parts if part.size), default=0) <= FEW_BITS

    @classmethod
    def of(cls, cells: Array, notes: Notes) -> Pictures:
        """The layout is guessed over all parts, and said in the notes."""
        parts = [part for part in cells.parts if len(part)]
        if not parts:
            raise UserError("The arrays hold no picture.", "Save at least some hundreds.")
        if any(part.shape[1:] != parts[0].shape[1:] for part in parts):
            raise UserError("The arrays hold pictures of different shapes.", "Save the splits with one shape.")
        if any(part.dtype.kind not in "buif" for part in parts):
            raise UserError(
                f"An array of type {parts[0].dtype} is not a set of pictures.", "Save whole numbers or fractions."
            )
        return cls(cells, _layout(parts[0].shape, notes))

    def __len__(self) -> int:
        return int(self._starts[-1])

    def take(self, rows: Sequence[int]) -> list[Cell]:
        wanted, made = np.asarray(rows, np.int64), list[Cell]([None] * len(rows))
        which = np.searchsorted(self._starts, wanted, side="right") - 1
        for part in np.unique(which):
            here = np.flatnonzero(which == part)
            pictures = self._layout(np.asarray(self._parts[part][wanted[here] - self._starts[part]]))
            if self._white is not None:
                pictures = eight_bits(Numbers(pictures), (0.0, self._white))
            elif self._few:
                pictures = pictures.astype(np.uint16)
            for k, picture in zip(here.tolist(), np.ascontiguousarray(pictures), strict=True):
                made[k] = picture
        return made

    def order(self) -> Sequence[int]:
        return range(len(self))


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
