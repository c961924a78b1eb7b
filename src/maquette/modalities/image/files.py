"""Pictures: files <-> u8[C, H, W] as stored <-> f32[C, H, W] in [-1, 1] as models see them.

PNG, JPEG, WebP, AVIF, HEIC, BMP, PPM, GIF, TIFF and DICOM; grey, RGB, RGBA, palette, CMYK and more than 8 bits, with
the camera's rotation honoured.
"""

from __future__ import annotations

import functools
import json
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

import maquette.modalities.image.depth as depth
import maquette.modalities.image.dicom as dicom
import maquette.modalities.image.pages as pages
from maquette.core.about import About
from maquette.core.errors import UserError
from maquette.core.files import atomic, ready
from maquette.core.modality import Unreadable
from maquette.core.spec import ColumnSpec
from maquette.modalities.image.lettering import Lettering
from maquette.modalities.image.opening import ALPHA_MODES, complaints, opened

if TYPE_CHECKING:
    from PIL import Image, ImageFile

T = TypeVar("T")

SUFFIX_FORMATS = {
    ".png": "PNG", ".apng": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".mpo": "JPEG",
    ".webp": "WEBP", ".bmp": "BMP", ".dib": "BMP", ".gif": "GIF", ".tif": "TIFF", ".tiff": "TIFF",
    ".ppm": "PPM", ".pgm": "PPM", ".pbm": "PPM", ".pnm": "PPM", ".pfm": "PPM",
    ".avif": "AVIF", ".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF",
    ".dcm": "DICOM", ".dicom": "DICOM",
}  # fmt: skip
SUFFIXES = tuple(SUFFIX_FORMATS)
# What cameras write before it is developed: whoever reads these as TIFF gets the thumbnail in them.
UNDEVELOPED = (".arw", ".cr2", ".cr3", ".dng", ".erf", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw")
CHANNELS = {"grey": 1, "rgb": 3, "rgba": 4}
MIN_SIDE = 8  # pixels
LEGIBLE = 16  # pixels a side; below it nobody reads squares, and what is shown enlarged is smoothed

_ORIENTATIONS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF tag -> PIL.Image.Transpose
_GREY_MODES = ("1", "L", "LA", "La")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a header says of one picture.

    format: PNG, JPEG, ...      colour: "grey", "rgb", or "rgba" when some pixel is not opaque
    height, width: in pixels, after the camera's rotation      note: a warning for people, or ""
    pages: how many pictures its file holds; 0 for one of them that is not the first
    range: of its values, if it has more than 8 bits
    """

    format: str
    colour: str
    height: int
    width: int
    note: str = ""
    pages: int = 1
    range: depth.Range | None = None


def _quiet(function: Callable[..., T]) -> Callable[..., T]:
    """Silences Pillow's remarks on odd files: the doctor reports what matters."""

    @functools.wraps(function)
    def inside(*args: Any, **options: Any) -> T:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **options)

    return inside


@_quiet
def probe(data: bytes, name: str, page: int = 0) -> Facts:
    """Facts about one encoded picture from its header; decodes only to see if an alpha channel is used, and for the
    range of more than 8 bits. page: which one, of a file that holds several."""
    with complaints():
        if dicom.is_one(data):
            return _of_dicom(data, page)
        img = pages.page(data, page)
        count = len(pages.frames(img, len(data))) if page == 0 else 0
        width, height = img.size
        if img.format == "PNG" and b"eXIf" in data:
            img.load()  # a PNG may keep its rotation behind the pixels
        if img.format != "TIFF" and _orientation(img) >= 5:
            width, height = height, width
        found = _format(img)
        suffix = Path(name).suffix.lower()
        note = f"named {suffix} but is {found}" if suffix and SUFFIX_FORMATS.get(suffix) != found else ""
        if not depth.is_deep(img):
            return Facts(found, _colour(img), height, width, note, count)
        deep = depth.numbers(img, lambda: _again(data, img))
        return Facts(found, _colour_of(deep), height, width, note, count, depth.measured(deep))


@_quiet
def read(data: bytes, spec: ColumnSpec, page: int = 0, **policy: Any) -> np.ndarray:
    """One encoded picture -> u8[C, H, W] with the shape of `spec`, more than 8 bits on its scale.

    policy: fit = "crop" (shortest side, then centre crop), "pad" (longest side, then black, or
    transparent, bars) or "stretch". What is transparent shows white when `spec` has no alpha channel.
    enlarged: how many times a side may be enlarged at most; a smaller picture is Unreadable. None: any.
    """
    channels, height, width = spec.shape
    fit = str(policy.get("fit", "crop"))
    with complaints():
        deep = dicom.numbers(dicom.opened(data), page) if dicom.is_one(data) else None
        img = _upright(data, spec, page) if deep is None else _eight_bits(deep, spec)
        times = policy.get("enlarged")
        if times is not None and (img.height * times < height or img.width * times < width):
            raise Unreadable(f"too small: {img.height}x{img.width} px for a target of {height}x{width}")
        return _array(_fit(_to_mode(img, channels), height, width, fit))


def refit(stored: np.ndarray, spec: ColumnSpec, fit: str = "crop") -> np.ndarray:
    """Decoded pictures u8[N, c, h, w] -> u8[N, C, H, W] with the shape of `spec`."""
    channels, height, width = spec.shape
    if stored.shape[1:] == spec.shape:
        return stored
    made = [_array(_fit(_to_mode(_image(item), channels), height, width, fit)) for item in stored]
    return np.stack(made) if made else np.zeros((0, *spec.shape), np.uint8)


def canonical(stored: np.ndarray) -> Tensor:
    """u8[B, C, H, W] -> f32[B, C, H, W]; 0 -> -1 and 255 -> 1 exactly."""
    # NumPy, not torch: its thread pool would wake, spin and fight the training for the cores (25 times slower).
    made = np.subtract(stored, np.float32(127.5), dtype=np.float32)
    made *= np.float32(1 / 127.5)
    return torch.from_numpy(made)


def quantised(items: Tensor) -> np.ndarray:
    """Canonical f32[..., C, H, W] -> u8 of the same shape; the inverse of `canonical`, clipped to [-1, 1]."""
    scaled = torch.nan_to_num(items.detach().float().cpu()).clamp(-1, 1).add(1).mul(127.5)
    return scaled.round().to(torch.uint8).numpy()


def picture(item: Tensor) -> Image.Image:
    """One canonical picture f32[C, H, W] as a PIL image: L, RGB or RGBA."""
    return _image(quantised(item))


def write(item: Tensor, path: Path, spec: ColumnSpec, about: About) -> Path:
    """Writes f32[C, H, W] as PNG (lossless), JPEG or WebP by the suffix of `path`, atomically."""
    return save(picture(item), path, about)


def preview(items: Tensor, path: Path, spec: ColumnSpec, captions: Sequence[str], about: About) -> Path:
    """Writes the sheet of f32[N, C, H, W]."""
    return save(sheet(items, captions=captions), path, about)


def save(img: Image.Image, path: Path, about: About) -> Path:
    """Writes a PIL picture by the suffix of `path`, atomically; `about` goes into its metadata: PNG text chunks, or the
    EXIF description as JSON."""
    from PIL import Image, PngImagePlugin

    path = Path(path)
    kind = SUFFIX_FORMATS.get(path.suffix.lower())
    options: dict[str, Any]
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        for key, value in about.fields.items():
            text.add_text(key.encode("latin-1", "replace")[:79].decode("latin-1"), str(value))
        options = {"pnginfo": text}
    elif kind in ("JPEG", "WEBP"):
        exif = Image.Exif()
        exif[0x010E] = json.dumps(about.fields)  # ImageDescription
        options = {"exif": exif, **({"quality": 95} if kind == "JPEG" else {"lossless": True})}
        img = _on_white(img) if kind == "JPEG" else img
    else:
        raise UserError(f"Pictures cannot be written as '{path.suffix}'.", "Use .png, .jpg or .webp.")
    with atomic(ready(path)) as temporary:
        img.save(temporary, format=kind, **options)
    return path


def sheet(
    items: Tensor, spec: ColumnSpec | None = None, captions: Sequence[str] = (), columns: int | None = None
) -> Image.Image:  # fmt: skip
    """A grid of f32[N, C, H, W], row by row, as one PIL image.

    Small pictures are enlarged by whole numbers, so that a person sees their pixels; the tiniest smoothly.
    Transparency shows as a chequered ground. captions: one below each picture, cut to its width.
    """
    from PIL import Image, ImageDraw

    n, channels, height, width = items.shape
    columns = columns or max(1, math.ceil(math.sqrt(n)))
    scale = max(1, round(64 / max(height, width)))
    lettering = Lettering(captions)
    height, width, gap, line = height * scale, width * scale, 2, lettering.height
    mode = "L" if channels == 1 else "RGB"
    kernel = Image.Resampling.NEAREST if max(items.shape[-2:]) >= LEGIBLE else Image.Resampling.BICUBIC
    rows = math.ceil(n / columns)
    sheet = Image.new(mode, (columns * (width + gap) + gap, rows * (height + line + gap) + gap), _grey(mode, 40))
    draw = ImageDraw.Draw(sheet)
    for i, item in enumerate(quantised(items)):
        x, y = gap + i % columns * (width + gap), gap + i // columns * (height + line + gap)
        tile = _image(item).resize((width, height), kernel)
        if channels == 4:
            ground = _chequered(width, height)
            ground.alpha_composite(tile)
            tile = ground.convert("RGB")
        sheet.paste(tile, (x, y))
        if i < len(captions):
            lettering.draw(draw, (x, y + height), captions[i], width, _grey(mode, 230))
    return sheet


# -- inside ------------------------------------------------------------------------------------------


def _format(img: Image.Image) -> str:
    return {"MPO": "JPEG", "DIB": "BMP"}.get(img.format or "", img.format or "")


def _orientation(img: Image.Image) -> int:
    """EXIF orientation, 1 (upright) when there is none or it is damaged."""
    if img.format in ("BMP", "DIB", "GIF") or (img.format == "PNG" and "exif" not in img.info):
        return 1
    try:
        return int(img.getexif().get(0x0112, 1))
    except Exception:
        return 1


def _colour(img: Image.Image) -> str:
    """grey, rgb, or rgba when some pixel is not opaque."""
    if img.mode in ALPHA_MODES or "transparency" in img.info:
        low, _ = img.convert("RGBA").getchannel("A").getextrema()
        if low < 255:  # type: ignore[operator]
            return "rgba"
    if img.mode in ("P", "PA"):
        palette = np.asarray(img.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return "grey" if (palette == palette[:, :1]).all() else "rgb"
    return "grey" if img.mode in _GREY_MODES else "rgb"


def _colour_of(deep: depth.Numbers) -> str:
    """The same of a deep picture."""
    if deep.alpha and deep.values[..., -1].min() < 0xFF00:
        return "rgba"
    return "rgb" if deep.values.ndim == 3 and deep.values.shape[2] > 2 else "grey"


def _upright(data: bytes, spec: ColumnSpec, page: int) -> Image.Image:
    """A picture decoded to 8 bits, as the camera was held; a JPEG far larger than `spec` a few times smaller."""
    img = pages.page(data, page)
    if img.format == "JPEG" and min(img.size) >= 4 * max(spec.shape[1:]):
        # JPEG halves exactly while decoding; twice the target is left for the antialiasing filter.
        img.draft(None, (2 * max(spec.shape[1:]),) * 2)
    turned = img.format != "TIFF"  # Pillow rotates TIFF by itself
    made: Image.Image = _eight_bits(depth.numbers(img, lambda: _again(data, img)), spec) if depth.is_deep(img) else img
    made.load()
    turn = _ORIENTATIONS.get(_orientation(img)) if turned else None
    return made if turn is None else made.transpose(turn)  # type: ignore[arg-type]


def _again(data: bytes, img: ImageFile.ImageFile) -> ImageFile.ImageFile:
    """The same picture, opened a second time."""
    made = opened(data)
    if number := img.tell():
        made.seek(number)
    return made


def _eight_bits(deep: depth.Numbers, spec: ColumnSpec) -> Image.Image:
    """On the scale of `spec`; of its own, where that knows none."""
    scale = getattr(spec, "scale", None) or depth.found([depth.measured(deep)])
    made = depth.eight_bits(deep, scale) if deep.values.dtype != np.uint8 else deep.values
    return _image(made[None] if made.ndim == 2 else made.transpose(2, 0, 1))


def _of_dicom(data: bytes, page: int) -> Facts:
    found = dicom.opened(data)
    deep = dicom.numbers(found, page)
    known = depth.measured(deep) if deep.values.dtype != np.uint8 else None
    return Facts(
        "DICOM", _colour_of(deep), found.Rows, found.Columns, "", dicom.pages(found) if page == 0 else 0, known
    )


def _to_mode(img: Image.Image, channels: int) -> Image.Image:
    """Any mode of 8 bits -> L, RGB or RGBA."""
    has_alpha = img.mode in ALPHA_MODES or "transparency" in img.info
    if channels == 4:
        return img.convert("RGBA")
    if has_alpha:
        img = _on_white(img)
    if img.mode not in ("1", "L", "RGB"):
        img = img.convert("RGB")
    return img.convert("L" if channels == 1 else "RGB")


def _on_white(img: Image.Image) -> Image.Image:
    from PIL import Image

    if img.mode == "RGB" and "transparency" not in img.info:
        return img
    if img.mode == "L" and "transparency" not in img.info:
        return img
    img = img.convert("RGBA")
    ground = Image.new("RGBA", img.size, (255, 255, 255, 255))
    ground.alpha_composite(img)
    return ground.convert("RGB")


def _fit(img: Image.Image, height: int, width: int, fit: str) -> Image.Image:
    """Resizes with antialiasing; RGBA is filtered with its colours weighted by alpha (Pillow does so)."""
    from PIL import Image

    if img.size == (width, height):
        return img
    shrinks = img.width > width or img.height > height
    kernel = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
    if fit == "stretch":
        return img.resize((width, height), kernel)
    if fit == "pad":
        scale = min(width / img.width, height / img.height)
        inner = img.resize((max(1, round(img.width * scale)), max(1, round(img.height * scale))), kernel)
        sheet = Image.new(img.mode, (width, height))
        sheet.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
        return sheet
    scale = max(width / img.width, height / img.height)
    w, h = min(width / scale, img.width), min(height / scale, img.height)
    left, top = (img.width - w) / 2, (img.height - h) / 2
    return img.resize((width, height), kernel, box=(left, top, left + w, top + h))


def _array(img: Image.Image) -> np.ndarray:
    """L, RGB or RGBA -> u8[C, H, W], contiguous."""
    pixels = np.asarray(img)
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def _image(item: np.ndarray) -> Image.Image:
    """u8[C, H, W] -> L, RGB or RGBA."""
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(item[0] if len(item) == 1 else item.transpose(1, 2, 0)))


def _grey(mode: str, level: int) -> int | tuple[int, int, int]:
    return level if mode == "L" else (level, level, level)


def _chequered(width: int, height: int, cell: int = 8) -> Image.Image:
    rows, columns = np.ogrid[:height, :width]
    levels = np.where((rows // cell + columns // cell) % 2, 200, 245).astype(np.uint8)
    return _image(levels[None]).convert("RGBA")


def made_up(spec: ColumnSpec, items: int, seed: int = 0) -> Tensor:
    """Bright shapes on dark ground, with a little noise, f32[items, C, H, W]."""
    generator = torch.Generator().manual_seed(seed)
    _, height, width = spec.shape
    x = torch.full((items, *spec.shape), -0.9)
    x[:, :, height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 0.8
    return (x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(-1, 1)
