"""Files that hold several pictures: stacks of a microscope, scans of many pages, animations."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from maquette.core import limits
from maquette.core.modality import Unreadable
from maquette.modalities.image.opening import opened, within

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

MOST = 100_000  # pages of one file

_open = threading.local()  # the file whose pages were asked for last


def frames(img: ImageFile, size: int) -> list[int]:
    """The pictures of a file that was opened, by their numbers in it, and the file back at its first.

    Small copies that are kept beside a picture (in TIFF, and in JPEG as phones write it) are none of their own.
    size: bytes of the file; Unreadable where its pictures come to far more
    """
    if img.format == "MPO":
        return [0]
    whole = list[int]()
    total = 0
    for number in _numbers(img):
        total += img.width * img.height * len(img.getbands())
        limits.check(total, of=size)
        if img.format != "TIFF" or not int(img.tag_v2.get(254, 0)) & 1:  # type: ignore[attr-defined]
            whole.append(number)  # NewSubfileType: a smaller copy
    return whole or [0]


def _numbers(img: ImageFile) -> Iterator[int]:
    """Each number of a picture, of TIFF with the file at it, whose pictures have sizes of their own."""
    if img.format != "TIFF":
        if img.format == "GIF" and img.fp.getvalue().count(b"\0,") > MOST:  # type: ignore[union-attr]
            raise Unreadable(f"more than {MOST:,} pages")  # to count them takes minutes
        yield from range(min(getattr(img, "n_frames", 1), MOST))
        return
    yield from itertools.takewhile(lambda number: _there(img, number), range(MOST))
    img.seek(0)


def _there(img: ImageFile, number: int) -> bool:
    try:
        img.seek(number)
    except EOFError:
        return False
    return True


def page(data: bytes, number: int) -> ImageFile:
    """The picture of this number in a file. The file stays open, since its pages are asked for one after the other: to
    find the last of many anew each time takes as long as all of them."""
    if number == 0:
        return opened(data)
    if getattr(_open, "data", None) is not data:
        img = opened(data)
        _open.data, _open.img, _open.frames = data, img, frames(img, len(data))
    if number >= len(_open.frames):
        raise Unreadable(f"its page {number + 1} is missing")
    made: ImageFile = _open.img
    made.seek(_open.frames[number])
    within(made)  # pages have sizes of their own
    return made
