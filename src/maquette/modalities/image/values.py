"""What a person gives as a picture, and what is shown of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.spec import ColumnSpec
from maquette.modalities import image
from maquette.modalities.image.pictures import pictures_in

if TYPE_CHECKING:
    from PIL.Image import Image

CAPTIONED = False  # a grid of samples is of pictures alone: what can be read below a small one is too little


def asked(value: Any, spec: ColumnSpec, notify: Callable[[str], None]) -> Tensor:
    """f32[C, H, W]: a file of the size that the model was trained on."""
    if not isinstance(value, str | Path) or Path(value).is_dir():
        raise UserError(f"{value!r} is no picture.", "Name one file.")
    return pictures_in(value, spec, None)[0]


def caption(item: Tensor, spec: ColumnSpec) -> str:
    """Nothing: a picture is not said in words."""
    return ""  # a picture is not said in words


def view(item: Tensor, spec: ColumnSpec) -> Image:
    """The picture, as PIL has it."""
    return image.picture(item)
