"""Pictures of more than 8 bits: their numbers, and the one scale by which those of a whole set become bytes.

Sensors, scanners and microscopes write 10, 12 or 14 bits into 16, or fractions. What is black and what is white is
therefore found over all pictures that are learned from, and never for each alone, which would lose how bright they are
beside each other; nor is it what the file could hold, which would leave 12 bits in 16 nearly black.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from maquette.core.modality import Unreadable

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

Scale = tuple[float, float]  # the values that become black and white

WHITES = (1, 255, 1023, 4095, 16383, 65535)  # what the brightest value usually can be
ODD = 0.001  # share of the pixels of a picture, at each end, that may be defects of a sensor
ODD_PICTURES = 0.01  # and share of the pictures
OVERSHOOT = 0.05  # of fractions beyond 0 and 1, which resampling leaves behind
STRIP = 256  # rows that are made 8 bits at once
MOST_MEASURED = 2**18  # pixels of a picture that are looked at for its range


@dataclass(frozen=True)
class Numbers:
    """The values of one picture as its file has them.

    values: [H, W], or [H, W, C], where of C = 2 or 4 the last is alpha, u16
    window: what the file says is to be black and white      inverted: whether its lowest value is white
    """

    values: np.ndarray
    window: Scale | None = None
    inverted: bool = False

    @property
    def alpha(self) -> bool:
        return self.values.ndim == 3 and self.values.shape[2] % 2 == 0


@dataclass(frozen=True, slots=True)
class Range:
    """The values of one deep picture.

    least, most: the smallest and the largest      low, high: the same without the oddest ODD of the pixels
    whole: whether they are whole numbers           window: what its file says is to be black and white
    """

    least: float
    low: float
    high: float
    most: float
    whole: bool
    window: Scale | None = None


def is_deep(img: ImageFile) -> bool:
    """Whether a picture that was opened, not yet decoded, has more than 8 bits a channel."""
    return img.mode in ("I", "F") or img.mode.startswith("I;16") or bool(_deep_colour(img))


def numbers(img: ImageFile, again: Callable[[], ImageFile]) -> Numbers:
    """The values of a deep picture.

    again: opens the same one a second time. For Pillow reads colours of 16 bits as their higher bytes alone, and as the
    lower ones if it is told that they come in the other order.
    """
    raw = _deep_colour(img)
    if not raw:  # of TIFF Pillow inverts 8 bits, and leaves more as they are
        return Numbers(np.asarray(img), inverted=img.format == "TIFF" and img.tag_v2.get(262) == 0)  # type: ignore[attr-defined]
    if img.format == "PPM":  # Pillow cuts it to 8 bits: read as it stands
        return Numbers(_of_ppm(img))
    if raw == "LA;16B":  # pixels of four bytes, like those of RGBA: grey, its lower byte, alpha, its lower byte
        _read_as(img, "RGBA")
        return Numbers(np.ascontiguousarray(np.asarray(img)).view(">u2").astype(np.uint16))
    own = {"N": sys.byteorder[0].upper()}.get(raw[-1], raw[-1])
    other = again()
    _read_as(other, raw[:-1] + {"L": "B", "B": "L"}[own])
    high, low = np.asarray(img).astype(np.uint16), np.asarray(other)
    return Numbers(high << 8 | low)


def measured(picture: Numbers) -> Range:
    """The range of the values of one picture; Unreadable where some are not numbers."""
    values = picture.values
    flat = (values[..., :-1] if picture.alpha else values).ravel()
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        raise Unreadable("some of its pixels are not numbers")
    least, most = float(flat.min()), float(flat.max())
    some = flat[:: max(1, flat.size // MOST_MEASURED)]
    odd = int(ODD * (some.size - 1))
    ends = np.partition(some, (odd, some.size - 1 - odd))
    whole = flat.dtype.kind in "bui"
    return Range(least, float(ends[odd]), float(ends[some.size - 1 - odd]), most, whole, picture.window)


def found(ranges: Sequence[Range]) -> Scale:
    """The scale of pictures with these ranges: what most of their files say, else what they are likely to be in.

    That is the range of 1, 8, 10, 12, 14 or 16 bits, of fractions from 0 or from -1 to 1, where the values fill at
    least half of it; else their own range, without the oddest pictures and pixels.
    """
    windows = [one.window for one in ranges if one.window is not None]
    common = max(set(windows), key=windows.count, default=None)
    if common is not None and 2 * windows.count(common) > len(ranges):
        return common
    least, most = min(one.least for one in ranges), max(one.most for one in ranges)
    low = float(np.quantile([one.low for one in ranges], ODD_PICTURES, method="lower"))
    high = float(np.quantile([one.high for one in ranges], 1 - ODD_PICTURES, method="higher"))
    if high <= low:  # a few dots on an even ground
        low, high = least, most
    beyond = 0 if all(one.whole for one in ranges) else OVERSHOOT
    if least < -beyond * max(high, 0):
        signed = -1 - beyond <= least <= -0.5 and most <= 1 + beyond
        return (-1.0, 1.0) if signed and beyond else _apart(low, high)
    if 2 * low > high:  # nothing is dark: a narrow band of values
        return _apart(low, high)
    for top, share in ((most, 4), (high, 2)):  # a sensor's stuck pixels can be as bright as the file allows
        white = next((white for white in WHITES if top <= white * (1 + beyond)), 0)
        if 2 * top > white and share * high > white > 0:
            return 0.0, float(white)
    return _apart(0.0, high)


def eight_bits(picture: Numbers, scale: Scale) -> np.ndarray:
    """u8 of the same shape: black becomes 0, white 255."""
    (black, white), values = scale, picture.values
    made = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), STRIP):  # as a whole, it would take 24 bytes for each of its values
        part = (values[start : start + STRIP].astype(np.float64) - black) * (255 / (white - black))
        made[start : start + STRIP] = np.rint(part).clip(0, 255)
    if picture.inverted:
        made = 255 - made
    if picture.alpha:
        made[..., -1] = values[..., -1] >> 8
    return made


def _apart(low: float, high: float) -> Scale:
    return (low, high) if high > low else (min(low, 0.0), max(high, 1.0))


def _deep_colour(img: ImageFile) -> str:
    """How colours of 16 bits lie in a file ("RGB;16B"); "" where there are none."""
    if img.format not in ("PNG", "TIFF", "PPM") or img.mode not in ("RGB", "RGBA", "LA", "RGBX") or not img.tile:
        return ""
    args = img.tile[0].args
    if img.format == "PPM":
        return "PPM" if isinstance(args, tuple) and args[-1] > 255 and img.tile[0].codec_name == "ppm" else ""
    raw = args[0] if isinstance(args, tuple) else args
    return raw if isinstance(raw, str) and ";16" in raw else ""


def _of_ppm(img: ImageFile) -> np.ndarray:
    """u16[H, W, 3] of a PPM file, its own white at 65,535, as Pillow has it for a PGM."""
    tile, file = img.tile[0], img.fp
    assert file is not None and isinstance(tile.args, tuple)
    file.seek(tile.offset)
    data = file.read(6 * img.width * img.height)
    if len(data) < 6 * img.width * img.height:
        raise Unreadable("truncated")
    values = np.frombuffer(data, ">u2").reshape(img.height, img.width, 3)
    return np.rint(values * (65535 / tile.args[1])).astype(np.uint16)


def _read_as(img: ImageFile, raw: str) -> None:
    """Lets Pillow read the bytes of a picture, not yet decoded, in another order."""
    img.tile = [tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw) for tile in img.tile]
