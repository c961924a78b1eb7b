"""Every picture is opened here: by formats that are named, which start no other program, and within the limit.

Pillow finds out by itself what a file is; left to it, PostScript that calls itself a PNG would go to Ghostscript.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import maquette.modalities.image.depth as depth
from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable

if TYPE_CHECKING:
    from PIL import ImageFile

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF", "HEIF")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")
ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")
# Bytes that a pixel takes until it is of the shape that is asked for; with alpha, or deep, there are more steps.
BYTES_A_PIXEL, BYTES_A_RICH_PIXEL = 8, 16
_TILE_SIDES = (322, 323)  # tags of TIFF
_OTHER_CONTENT = {
    b"%PDF": "a PDF", b"%!PS": "PostScript", b"<svg": "an SVG drawing", b"<?xml": "XML text", b"<html": "a web page",
    b"<!DOC": "a web page", b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "a gzip file", b"8BPS": "a Photoshop file",
}  # fmt: skip


def opened(data: bytes) -> ImageFile.ImageFile:
    """A picture, of which nothing but the header has been read; Unreadable where it is empty, none, or too large."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise Unreadable("zero bytes")
    if Image.MAX_IMAGE_PIXELS is not None:  # Pillow refuses twice as many by itself, also where more is asked for
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, limits.limit() // (2 * BYTES_A_PIXEL))
    with complaints():
        try:
            img = Image.open(io.BytesIO(data), formats=formats())
        except UnidentifiedImageError:
            raise Unreadable(_unidentified(data)) from None
        within(img)
    return img


def within(img: ImageFile.ImageFile) -> None:
    """Unreadable where the picture that a file is at takes more than the limit to decode."""
    width, height = img.size
    if img.format == "TIFF":  # is decoded by whole tiles, however small the picture is
        tile = [int(img.tag_v2.get(tag, 0)) for tag in _TILE_SIDES]  # type: ignore[attr-defined]
        width, height = max(width, tile[0]), max(height, tile[1])
    rich = img.mode in ALPHA_MODES or "transparency" in img.info or depth.is_deep(img)
    limits.check(width * height * (BYTES_A_RICH_PIXEL if rich else BYTES_A_PIXEL))


@functools.cache
def formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow reads; HEIF with `pillow-heif` alone."""
    from PIL import Image

    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextlib.contextmanager
def complaints() -> Iterator[None]:
    """Whatever decoders raise, within, is Unreadable, with the reason in a person's words."""
    from PIL.Image import DecompressionBombError

    try:
        yield
    except (Unreadable, UserError):
        raise
    except DecompressionBombError:
        limits.check(math.inf)
    except Exception as error:
        raise Unreadable(_reason(error)) from None


def _reason(error: Exception) -> str:
    text = f"{error}".lower()
    if "truncated" in text or isinstance(error, EOFError) or "unexpected end" in text or "eof" in text:
        return "truncated"
    if isinstance(error, MemoryError):
        return "damaged: it asks for more memory than there is"
    detail = " ".join(str(error).split())[:100]
    return f"damaged ({detail or type(error).__name__})"


def _unidentified(data: bytes) -> str:
    from PIL import features

    start = data[:512].lstrip()
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in HEIF_BRANDS and "HEIF" not in formats():
        return "HEIC needs pillow-heif (pip install 'maquette[heif]')"
    if brand in AVIF_BRANDS and not features.check("avif"):
        return "AVIF needs a newer Pillow (pip install -U pillow)"
    if brand and brand not in (*HEIF_BRANDS, *AVIF_BRANDS):
        return f"not a format that Maquette reads ({brand.decode('ascii', 'replace')}, such as video)"
    if not start.strip(b"\0"):
        return "not a picture: only zero bytes"
    for magic, what in _OTHER_CONTENT.items():
        if start[: len(magic)].lower() == magic.lower():
            return f"not a picture: it is {what}"
    for magic in (b"\x89PNG", b"\xff\xd8", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF", data[:4] + b"ftyp"):
        if data.startswith(magic):
            return "damaged: its header cannot be read"
    return "not a picture"
