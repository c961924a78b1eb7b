"""What can be asked of clips: of how samples are shown, and of how data is prepared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from maquette.core.option import Option, between, sides
from maquette.modalities.video.config import FASTEST, SLOWEST

if TYPE_CHECKING:
    from maquette.core.model import Model
    from maquette.core.spec import ColumnSpec, DataSpec

# Of the recipe's section data.video, by the names they have there.
DATA_OPTIONS = (
    Option("size", sides, None, "Of clips: the same. [default: 64; of arrays, their own]",
           metavar="64, or height x width as 48x64"),
    Option("frames", int, None, "Frames of a clip; longer files become several. [default: 16; of arrays, all]",
           between(2, 4096)),
    Option("fps", float, None, "Frames a second of clips. [default: as most files have, 30 at most]",
           between(SLOWEST, FASTEST)),
)  # fmt: skip
SMALLEST = 16  # pixels of the shorter side, of what is proposed for a first look
GRID = Option("grid", bool, False, "One moving grid of them all instead of a file each.", only="command")


def OPTIONS(model: Model, spec: ColumnSpec) -> tuple[Option, ...]:
    """Of sampling."""
    return (GRID,)


def first_recipe(given: Sequence[type[ColumnSpec]], spec: ColumnSpec | None = None) -> str:
    """What to begin with. given: forms of the columns that clips are made from."""
    return "video/flow"


def extent(spec: ColumnSpec) -> tuple[float, str]:
    """How large clips are, as the table of needs counts it: the side of a square of as many pixels, of all frames; and
    in words."""
    frames, height, width = spec.shape[1:]
    return math.sqrt(frames * height * width), f"{frames} frames of {height}x{width}"


def smaller(spec: ColumnSpec) -> dict[str, ColumnSpec]:
    """Smaller clips, the largest first, by the option that asks for them."""
    channels, frames, height, width = spec.shape
    found = {}
    while min(height, width) >= 2 * SMALLEST:
        height, width = height // 2, width // 2
        words = f"--size {height}" if height == width else f"--size {height}x{width}"
        found[words] = spec.model_copy(update={"shape": (channels, frames, height, width)})
    return found


def first_command(spec: DataSpec, run: str) -> str:
    """What to try after training."""
    return f"sample {run} -n 16 --grid"
