"""Canonical picture tensors -> what a page can hold: small files as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from maquette.core.spec import DataSpec

if TYPE_CHECKING:
    from PIL import Image

# Up to this many pixels a side, a picture is shown enlarged, with its pixels as squares: smoothing would
# flatter it. It is stored exactly, too.
PIXELATED = 32
# A tile is never stored larger than this: the page shows it smaller still, and stays small itself.
LARGEST_TILE = 144
# The width on screen that a tile comes nearest to, in whole multiples of its own pixels.
SHOWN_TILE = 56


@dataclass(frozen=True)
class Tile:
    """One picture inside the page. shown: its width on screen, in CSS pixels."""

    uri: str
    width: int
    height: int
    shown: int
    pixelated: bool
    alt: str = ""


def picture_column(spec: DataSpec) -> str | None:
    """The first target column that can be shown as pictures."""
    return next((name for name in spec.target if spec.columns[name].kind == "image"), None)


def to_bytes(items: Tensor) -> np.ndarray:
    """Canonical pictures f32[B, C, H, W] in [-1, 1] -> u8[B, H, W, C]; non-finite values become black."""
    array = items.detach().float().cpu().nan_to_num(-1.0, 1.0, -1.0).clamp(-1, 1)
    return ((array + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def to_pil(pixels: np.ndarray) -> Image.Image:
    """u8[H, W, C] -> a PIL picture; a channel count that no picture format knows shows its first channel."""
    from PIL import Image

    if pixels.shape[-1] in (3, 4):
        return Image.fromarray(pixels)
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0]))


def data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def encode(picture: Image.Image, lossless: bool) -> str:
    """A PIL picture as a data URI: exact PNG when it is small, WebP otherwise."""
    file = io.BytesIO()
    if lossless:
        picture.save(file, "PNG", optimize=True)
        return data_uri(file.getvalue(), "png")
    picture.save(file, "WEBP", quality=86, method=4)
    return data_uri(file.getvalue(), "webp")


def shown_width(width: int, near: int = SHOWN_TILE) -> int:
    """A width on screen near `near` at which every pixel of a small picture has the same size."""
    if width > PIXELATED:
        return near
    return width * max(1, round(near / width))


def tiles(items: Tensor, alts: Sequence[str] = (), near: int = SHOWN_TILE) -> list[Tile]:
    """Canonical pictures -> tiles. near: wished width on screen, in CSS pixels."""
    made = []
    for index, pixels in enumerate(to_bytes(items)):
        picture = to_pil(pixels)
        small = max(picture.size) <= PIXELATED
        if max(picture.size) > LARGEST_TILE:
            picture.thumbnail((LARGEST_TILE, LARGEST_TILE))
        made.append(
            Tile(
                uri=encode(picture, lossless=small),
                width=picture.width,
                height=picture.height,
                shown=shown_width(picture.width, near),
                pixelated=small,
                alt=alts[index] if index < len(alts) else "",
            )
        )
    return made


def mosaic(items: Tensor, columns: int, gap: int = 0) -> Image.Image:
    """Canonical pictures side by side as one PIL picture; gaps are transparent, so they fit any page."""
    from PIL import Image

    pixels = to_bytes(items)
    n, height, width, _ = pixels.shape
    rows = -(-n // columns)
    sheet = Image.new("RGBA", (columns * (width + gap) - gap, rows * (height + gap) - gap), (0, 0, 0, 0))
    for index in range(n):
        row, column = divmod(index, columns)
        sheet.paste(to_pil(pixels[index]).convert("RGBA"), (column * (width + gap), row * (height + gap)))
    return sheet


def sheet_tile(sheet: Image.Image, alt: str, shown: int, pixelated: bool, largest: int = 1400) -> Tile:
    """A mosaic, or a preview, as one tile no larger than `largest` pixels a side."""
    if max(sheet.size) > largest:
        sheet = sheet.copy()
        sheet.thumbnail((largest, largest))
        pixelated = False
    return Tile(encode(sheet, lossless=pixelated), sheet.width, sheet.height, shown, pixelated, alt)


def file_tile(path: Path, alt: str, shown: int = 320, largest: int = 640) -> Tile:
    """A picture file, re-encoded, so that nothing but its pixels enters the page."""
    from PIL import Image

    with Image.open(path) as file:
        picture: Image.Image = file.convert("RGBA" if "A" in file.getbands() else "RGB")
        # Grey previews shrink to a third as grey; and PNG keeps flat areas exact at little cost.
        if picture.mode == "RGB":
            red, green, blue = (np.asarray(band) for band in picture.split())
            if np.array_equal(red, green) and np.array_equal(red, blue):
                picture = picture.convert("L")
        if max(picture.size) > largest:
            picture.thumbnail((largest, largest))
        return Tile(encode(picture, lossless=picture.mode == "L"), *picture.size, shown, False, alt)
