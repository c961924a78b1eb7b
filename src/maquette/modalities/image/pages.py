"""Files that hold several pictures: stacks of a microscope, scans of many pages, animations."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from maquette.core.modality import Unreadable

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

MOST = 100_000  # pages of one file that are counted

_open = threading.local()  # the file whose pages were asked for last


def frames(img: ImageFile) -> list[int]:
    """The pictures of a file that was opened, by their numbers in it, and the file back at its first.

    Small copies that are kept beside a picture (in TIFF, and in JPEG as phones write it) are none of their own.
    """
    if img.format == "MPO" or not getattr(img, "is_animated", False):
        return [0]
    count = min(img.n_frames, MOST)  # type: ignore[attr-defined]
    if img.format != "TIFF":
        return list(range(count))
    whole = []
    for number in range(count):
        img.seek(number)
        if not int(img.tag_v2.get(254, 0)) & 1:  # type: ignore[attr-defined]  # NewSubfileType: a smaller copy
            whole.append(number)
    img.seek(0)
    return whole or [0]


def page(data: bytes, number: int, opened: Callable[[bytes], ImageFile]) -> ImageFile:
    """The picture of this number in a file. The file stays open, since its pages are asked for one after the other: to
    find the last of many anew each time takes as long as all of them."""
    if number == 0:
        return opened(data)
    if getattr(_open, "data", None) is not data:
        img = opened(data)
        _open.data, _open.img, _open.frames = data, img, frames(img)
    if number >= len(_open.frames):
        raise Unreadable(f"its page {number + 1} is missing")
    made: ImageFile = _open.img
    made.seek(_open.frames[number])
    return made
