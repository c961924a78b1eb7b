"""DICOM, the format of hospitals: what its files say of their values. Read with pydicom, which is an extra.

Values are in the unit of the device (Hounsfield's of a CT), by the file's slope and intercept. Its window says which of
them are black and white; `depth.found` makes one scale of the windows of all files.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from maquette.core import limits
from maquette.core.modality import Unreadable
from maquette.modalities.image.depth import Numbers, Scale

_DEFLATED = b"1.2.840.10008.1.2.1.99"  # a whole file compressed: how large it becomes is not to be told beforehand
BYTES_A_VALUE = 16  # until a picture is of the shape that is asked for
LEAST_FRAME = 8  # bytes of one of many pictures
_INVERTED, _PALETTE = "MONOCHROME1", "PALETTE COLOR"


def is_one(data: bytes) -> bool:
    """Whether a file begins as DICOM does."""
    return data[128:132] == b"DICM"


def opened(data: bytes) -> Any:
    """The data set of a file, `Rows` x `Columns`, its pixels not yet decoded; Unreadable where it has none."""
    try:
        from pydicom import dcmread
    except ModuleNotFoundError:
        raise Unreadable("a DICOM file, which needs pydicom (pip install 'maquette[dicom]')") from None
    if _DEFLATED in data:
        raise Unreadable("a deflated DICOM file (save it without deflate)")
    found = dcmread(io.BytesIO(data))
    if "PixelData" not in found or not (found.get("Rows") and found.get("Columns")):
        raise Unreadable("a DICOM file without a picture")
    count, size = pages(found), found.Rows * found.Columns * int(found.get("SamplesPerPixel") or 1)
    limits.check(size * BYTES_A_VALUE)
    limits.check(size * count * int(found.get("BitsAllocated") or 8) // 8, of=len(data))
    if count > 1 + len(found.PixelData) // LEAST_FRAME:
        raise Unreadable(f"truncated: it says to hold {count:,} pictures")
    return found


def pages(found: Any) -> int:
    """How many pictures it says to hold."""
    return max(1, int(found.get("NumberOfFrames") or 1))


def numbers(found: Any, page: int) -> Numbers:
    """The values of one picture, [H, W] or [H, W, 3]; u8 only of colours, which have no scale of their own."""
    from pydicom import pixels

    try:
        values = pixels.pixel_array(found, index=page)
    except RuntimeError as error:  # no decoder is there for how it is compressed
        name = getattr(found.file_meta.TransferSyntaxUID, "name", "")
        if "missing" not in f"{error}" and "not support" not in f"{error}":
            raise
        raise Unreadable(
            f"a DICOM file compressed as {name.partition(',')[0]} (pip install pylibjpeg pylibjpeg-libjpeg "
            "pylibjpeg-openjpeg, or save it uncompressed)"
        ) from None
    if found.PhotometricInterpretation == _PALETTE:
        values = pixels.apply_color_lut(values, found)
    if values.ndim == 3:
        return Numbers(values)
    values = values.astype(np.int32) if values.dtype.kind in "bu" and values.itemsize < 4 else values
    slope, intercept = (_number(found, page, name) for name in ("RescaleSlope", "RescaleIntercept"))
    if (slope or 1.0, intercept or 0.0) != (1.0, 0.0):
        values = values * (slope or 1.0) + (intercept or 0.0)
        values = values.astype(np.int32) if (values == np.rint(values)).all() else values  # whole numbers stay so
    return Numbers(values, _window(found, page), found.PhotometricInterpretation == _INVERTED)


def _window(found: Any, page: int) -> Scale | None:
    """The values that its first window makes black and white (PS3.3 C.11.2.1.2)."""
    centre, width = (_number(found, page, name) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or width <= 1:
        return None
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _number(found: Any, page: int, name: str) -> float | None:
    """A number that stands in the file, or, of files of many pictures, in what it says of this one or of all."""
    places = [found]
    for key, number in (("PerFrameFunctionalGroupsSequence", page), ("SharedFunctionalGroupsSequence", 0)):
        items = found.get(key) or []
        if number < len(items):
            places += [group[0] for tag in items[number] if (group := tag.value) and tag.VR == "SQ"]
    for place in places:
        value = place.get(name)
        if value not in (None, ""):
            return float(value if isinstance(value, int | float | str) else value[0])
    return None
