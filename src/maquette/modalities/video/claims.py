"""Which files and arrays are clips."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from maquette.modalities.video.opening import CONTAINERS, container_of, moves

SUFFIXES = tuple(CONTAINERS)
MOVING = (".gif", ".webp", ".apng", ".png")  # pictures, where nobody asks for clips: of one frame, or pages
FRAMES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
SMALLEST = 8  # pixels of a side, of arrays
_NUMBER = re.compile(r"(\d+)(\D*)$")  # of a frame: the last in its name; and what follows


def claims(name: str, head: bytes) -> bool:
    """Whether a file is a clip: by its suffix, or by how it begins."""
    return container_of(head) is not None if head else name.lower().endswith(SUFFIXES)


def may_be(name: str, head: bytes) -> bool:
    """Whether a file is a clip where clips are what is asked for: moving pictures as well."""
    return claims(name, head) or (moves(head) if head else name.lower().endswith(MOVING))


def gathers(names: Sequence[str], head: Callable[[int], bytes]) -> dict[str, list[int]]:
    """Folders of frames, numbered pictures: the files of each, by their numbers among these, in the order in which they
    are numbered. Pictures that move themselves are none. head: the first bytes of a file"""
    found: dict[str, dict[tuple[str, str], list[tuple[int, int]]]] = {}
    for i, name in enumerate(names):
        folder, _, file = name.rpartition("/")
        stem, _, suffix = file.rpartition(".")
        number = _NUMBER.search(stem)
        if f".{suffix.lower()}" in FRAMES and number:
            around = (stem[: number.start()], f"{number[2]}.{suffix}")
            found.setdefault(folder, {}).setdefault(around, []).append((int(number[1]), i))
    made = {}
    for folder, series in found.items():
        for (start, end), files in series.items():
            if len(files) > 1 and not moves(head(files[0][1])):
                name = folder if len(series) == 1 else f"{folder}/{start}".strip("/_- ")
                called = [name or "frames", f"{folder}/{start}*{end}".strip("/")]  # the second where the first is taken
                made[called[called[0] in made]] = [i for _, i in sorted(files)]
    return made


def claims_array(shape: tuple[int, ...], dtype: np.dtype) -> float:
    """1 for shapes (T, H, W, C), (C, T, H, W) and (T, C, H, W), 0.9 for (T, H, W), of numbers; else 0."""
    if dtype.kind not in "buif" or min(shape, default=0) < 1:
        return 0.0
    at = channels_at(shape)
    sides = shape if at is None else shape[:at] + shape[at + 1 :]
    return (1.0 if at is not None else 0.9) * (len(sides) == 3 and min(sides[1:]) >= SMALLEST)


def channels_at(shape: tuple[int, ...]) -> int | None:
    """Which of four dimensions is of one channel or three: the last, the first or the second; None: none is."""
    return next((at for at in (3, 0, 1) if shape[at] in (1, 3)), None) if len(shape) == 4 else None
