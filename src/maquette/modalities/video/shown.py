"""Clips as people see them: playing, and as a strip of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from maquette.core.spec import ColumnSpec
from maquette.modalities.video.files import GAP, LARGE, enlarged, frames_of, grid, moving

if TYPE_CHECKING:
    from PIL.Image import Image

STRIP = 10  # frames


@dataclass(frozen=True)
class Clip:
    """A clip as Python has it: u8[T, H, W, C], at so many frames a second; a notebook plays it."""

    frames: np.ndarray
    fps: float

    def _repr_mimebundle_(self, **_: object) -> dict[str, bytes]:
        large = enlarged(self.frames, max(1, LARGE // max(self.frames.shape[1:3])))
        return {"image/webp": moving(large, self.fps, ".webp")}


def view(item: Tensor, spec: ColumnSpec) -> Clip:
    """The clip."""
    return Clip(frames_of(item), spec.fps)


def strip(items: Tensor, spec: ColumnSpec, most: int = STRIP) -> np.ndarray:
    """f32[B, C, T, H, W] -> u8[h, w, C]: of each clip, a row of its frames, evenly apart."""
    count = items.shape[2]
    some = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))
    apart = items[:, :, some].transpose(1, 2).flatten(0, 1)[:, :, None]  # each frame as a clip of one
    return grid(apart, spec, columns=len(some))[0]


def sheet(items: Tensor, spec: ColumnSpec, captions: Sequence[str] = (), columns: int | None = None) -> Image:
    """Strips of f32[B, C, T, H, W], one below the other, as one picture."""
    from PIL import Image

    made = strip(items, spec) if len(items) else np.full((GAP, GAP, 1), 127, np.uint8)
    return Image.fromarray(made[..., 0] if made.shape[2] == 1 else made)
