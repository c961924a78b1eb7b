"""Canonical pictures f32[B, C, H, W] -> what a page can hold: small files as data URIs."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup as Html
from torch import Tensor

from maquette.core import limits
from maquette.core.spec import ColumnSpec
from maquette.modalities.image.files import quantised
from maquette.modalities.image.opening import complaints, opened
from maquette.report.page import TIMES
from maquette.report.show import NEAR, Amounts

if TYPE_CHECKING:
    from PIL import Image

AMOUNTS = Amounts(samples=64, classes=20, per_class=12)

# Up to this many pixels a side, a picture is shown enlarged, with its pixels as squares: smoothing would
# flatter it. It is stored exactly, too.
PIXELATED = 32
# A tile is never stored larger than this: the page shows it smaller still, and stays small itself.
LARGEST_TILE = 144
LARGEST_SHEET = 1400
LARGEST_PREVIEW, SHOWN_PREVIEW = 640, 480


def shape_words(spec: ColumnSpec) -> str:
    """E.g. `28 × 28 grey`."""
    channels, height, width = spec.shape
    colour = {1: "grey", 3: "colour", 4: "colour and transparency"}.get(channels, f"{channels}-channel")
    return f"{width} {TIMES} {height} {colour}"


def tiles(items: Tensor, spec: ColumnSpec, captions: Sequence[str] = (), near: int = NEAR) -> list[Html]:
    """Each picture as an <img>, its caption as its alternative text. near: wished width on screen, in CSS pixels."""
    made = []
    for index, pixels in enumerate(to_bytes(items)):
        picture = to_pil(pixels)
        small = max(picture.size) <= PIXELATED
        if max(picture.size) > LARGEST_TILE:
            picture.thumbnail((LARGEST_TILE, LARGEST_TILE))
        alt = captions[index] if index < len(captions) else ""
        made.append(img(encode(picture, small), picture.size, shown_width(picture.width, near), alt, small))
    return made


def img(uri: str, size: tuple[int, int], shown: int, alt: str = "", pixelated: bool = False) -> Html:
    """shown: its width on screen, in CSS pixels."""
    return Html('<img src="{}" width="{}" height="{}" alt="{}"{}{} style="width:{}px" decoding="sync">').format(
        uri, *size, alt, Html(' title="{}"').format(alt) if alt else "", Html(' class="px"') if pixelated else "", shown
    )


def to_bytes(items: Tensor) -> np.ndarray:
    """Canonical pictures f32[B, C, H, W] in [-1, 1] -> u8[B, H, W, C]; what is no number is grey."""
    return quantised(items).transpose(0, 2, 3, 1)


def to_pil(pixels: np.ndarray) -> Image.Image:
    """u8[H, W, C] -> a PIL picture; a channel count that no picture format knows shows its first channel."""
    from PIL import Image

    if pixels.shape[-1] in (3, 4):
        return Image.fromarray(np.ascontiguousarray(pixels))
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0]))


def data_uri(content: bytes, kind: str) -> str:
    """The bytes of a picture file (kind: png, webp) as a data: URI, for a page that needs no other file."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def encode(picture: Image.Image, lossless: bool) -> str:
    """A PIL picture as a data URI: exact PNG when it is small, WebP otherwise."""
    file = io.BytesIO()
    if lossless:
        picture.save(file, "PNG", optimize=True)
        return data_uri(file.getvalue(), "png")
    picture.save(file, "WEBP", quality=86, method=4)
    return data_uri(file.getvalue(), "webp")


def shown_width(width: int, near: int = NEAR) -> int:
    """A width on screen near `near` at which every pixel of a small picture has the same size."""
    return near if width > PIXELATED else width * max(1, round(near / width))


def sheet(items: Tensor, columns: int, gap: int = 0) -> Image.Image:
    """Canonical pictures side by side as one PIL picture; gaps are transparent, so they fit any page."""
    from PIL import Image

    pixels = to_bytes(items)
    n, height, width, _ = pixels.shape
    rows = -(-n // columns)
    made = Image.new("RGBA", (columns * (width + gap) - gap, rows * (height + gap) - gap), (0, 0, 0, 0))
    for index in range(n):
        row, column = divmod(index, columns)
        made.paste(to_pil(pixels[index]).convert("RGBA"), (column * (width + gap), row * (height + gap)))
    return made


def mosaic(items: Tensor, spec: ColumnSpec, columns: int, says: str) -> Html:
    """Pictures side by side without gaps as one <img>."""
    made, pixelated = sheet(items, columns), items.shape[-1] <= PIXELATED
    shown = min(shown_width(items.shape[-1], 24 if columns < 16 else 30) * columns, 720)
    if max(made.size) > LARGEST_SHEET:
        made.thumbnail((LARGEST_SHEET, LARGEST_SHEET))
        pixelated = False
    return img(encode(made, pixelated), made.size, shown, says, pixelated)


def draw(axes: Any, items: Tensor, spec: ColumnSpec, columns: int) -> None:
    """Pictures side by side on Matplotlib axes, with white gaps where there are few of them."""
    gap = max(1, math.ceil(items.shape[-1] / 16)) if len(items) <= 64 else 0
    axes.imshow(np.asarray(sheet(items, columns, gap)), interpolation="nearest")
    axes.set_axis_off()


def previewed(path: Path, spec: ColumnSpec, says: str, captioned: bool = False) -> Html:
    """A picture file, encoded anew, so that nothing but its pixels enters the page."""
    with complaints():
        file: Image.Image = opened(limits.contents(path))
        picture = file.convert("RGBA" if "A" in file.getbands() else "RGB")
        if max(picture.size) > LARGEST_PREVIEW:
            picture.thumbnail((LARGEST_PREVIEW, LARGEST_PREVIEW))
        # Grey previews shrink to a third as grey; and PNG keeps flat areas exact at little cost.
        if picture.mode == "RGB":
            red, green, blue = (np.asarray(band) for band in picture.split())
            if np.array_equal(red, green) and np.array_equal(red, blue):
                picture = picture.convert("L")
        return img(encode(picture, lossless=picture.mode == "L"), picture.size, SHOWN_PREVIEW, says)
