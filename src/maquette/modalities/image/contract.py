"""Made-up pictures, for the contract."""

from __future__ import annotations

import io

import numpy as np

from maquette.data.raw import Cell, File


def made_up_cells(items: int, seed: int = 0) -> list[Cell]:
    """PNG files of noise: grey and 16x16; of any other seed, coloured and larger."""
    draws = np.random.default_rng(seed)
    shape = (16, 16) if seed == 0 else (24, 20, 3)
    return [File(f"{i}.png", png(draws.integers(0, 256, shape, np.uint8))) for i in range(items)]


def broken_cells() -> list[Cell]:
    """A file that was cut off, one that is no picture, and one that is too small."""
    whole = png(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    return [
        File("cut off.png", whole[: len(whole) // 2]), File("words.png", b"no picture"),
        File("dot.png", png(np.zeros((1, 1), np.uint8))),
    ]  # fmt: skip


def png(pixels: np.ndarray) -> bytes:
    """The bytes of a PNG file of pixels u8[H, W] or u8[H, W, C]."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
