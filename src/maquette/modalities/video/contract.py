"""Made-up clips, for the contract."""

from __future__ import annotations

import numpy as np

from maquette.data.raw import Cell, File
from maquette.modalities.video.files import moving


def made_up_cells(items: int, seed: int = 0) -> list[Cell]:
    """GIF files of a square that moves: grey, 64x64, 10 frames a second; of any other seed coloured, wider, slower."""
    draws = np.random.default_rng(seed)
    height, width, channels, fps = (64, 64, 1, 10.0) if seed == 0 else (48, 80, 3, 8.0)
    cells: list[Cell] = []
    for i in range(items):
        clip = np.full((16 + 4 * (seed != 0), height, width, channels), 20, np.uint8)
        clip[:, ::8] = draws.integers(30, 80, channels)
        (top, left), colour = draws.integers(0, 20, 2), draws.integers(120, 255, channels)
        for number, frame in enumerate(clip):
            frame[top + number : top + number + 12, left + number : left + number + 12] = colour
        cells.append(File(f"{i}.gif", moving(clip, fps, ".gif")))
    return cells


def broken_cells() -> list[Cell]:
    """A file that was cut off, one that is no clip, one frame, and one that is too short."""
    noise = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 1), np.uint8)
    whole = moving(noise, 10, ".gif")
    return [
        File("cut off.gif", whole[: len(whole) // 2]), File("words.mp4", b"no clip"), File("words.gif", b"GIF89a?"),
        File("one.gif", moving(noise[:1], 10, ".gif")), File("short.gif", moving(noise[:5], 10, ".gif")),
        File("cut off.mkv", b"\x1a\x45\xdf\xa3" + bytes(40)), File("sound.frames", b"\0gathered\0" + bytes(7)),
    ]  # fmt: skip
