"""What can be asked of pictures: of how samples are shown, and of how data is prepared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from maquette.core.option import Option, sides

if TYPE_CHECKING:
    from maquette.core.model import Model
    from maquette.core.spec import ColumnSpec, DataSpec

# Of the recipe's section data.image, by the names they have there.
DATA_OPTIONS = (
    Option("size", sides, None, "Pixels of pictures: 64, or height x width as 48x64. [default: their own]",
           metavar="64, or height x width as 48x64"),
    Option("pages", str, None, "Of files that hold several pictures (TIFF, GIF, DICOM): the first of each, or all. "
           "[default: first, of fewer than 5 files all]", choices=("first", "all")),
)  # fmt: skip
SMALLEST = 16  # pixels of the shorter side, of what is proposed for a first look
IN_COLOUR = 32  # pixels a side from which pictures in colour are for image/colour: docs/large_pictures.md
GRID = Option("grid", bool, False, "One picture of them all instead of a file each.", only="command")


def OPTIONS(model: Model, spec: ColumnSpec) -> tuple[Option, ...]:
    """Of sampling."""
    return (GRID,)


def first_recipe(given: Sequence[type[ColumnSpec]], spec: ColumnSpec | None = None) -> str:
    """What to begin with. given: forms of the columns that pictures are made from."""
    from maquette.core.spec import ClassSpec

    if not all(issubclass(form, ClassSpec) for form in given):
        return "image/flow"
    large = spec is not None and spec.shape[0] >= 3 and extent(spec)[0] >= IN_COLOUR
    return "image/colour" if large else "image/gan"


def extent(spec: ColumnSpec) -> tuple[float, str]:
    """How large pictures are, as the table of needs counts it: the side of a square of as many pixels; and in words."""
    height, width = spec.shape[1:]
    return math.sqrt(height * width), f"{height}x{width}"


def smaller(spec: ColumnSpec) -> dict[str, ColumnSpec]:
    """Smaller pictures, the largest first, by the option that asks for them."""
    channels, height, width = spec.shape
    found = {}
    while min(height, width) >= 2 * SMALLEST:
        height, width = height // 2, width // 2
        words = f"--size {height}" if height == width else f"--size {height}x{width}"
        found[words] = spec.model_copy(update={"shape": (channels, height, width)})
    return found


def first_command(spec: DataSpec, run: str) -> str:
    """What to try after training."""
    return f"sample {run} -n 64 --grid"
