"""Captions below pictures, in any script."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from maquette.report.fonts import fonts, pieces

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

PLAIN, DENSE = 10, 13  # px: of letters, and where some are as dense as Chinese ones


class Lettering:
    """How captions are written. height: of a line in pixels, 0 where there are no captions"""

    def __init__(self, captions: Sequence[str]) -> None:
        plain = all(caption.isascii() for caption in captions)
        self._fonts = [] if plain else fonts(captions)
        self._size = PLAIN if plain else DENSE
        self.height = round(1.25 * self._size) if captions else 0

    def draw(self, on: ImageDraw, at: tuple[int, int], caption: str, width: int, fill: Any) -> None:
        """Writes a caption with its upper left corner there, cut to a width."""
        words = "".join(letter if letter.isprintable() else "?" for letter in caption)
        while words and sum(on.textlength(piece, font=font) for font, piece in self._pieces(words)) > width:
            words = words[:-1]
        x: float = at[0]
        baseline = at[1] + round(0.95 * self._size)
        for font, piece in self._pieces(words):
            on.text((x, baseline), piece, fill=fill, font=font, anchor="ls")
            x += on.textlength(piece, font=font)

    def _pieces(self, words: str) -> list[tuple[Any, str]]:
        if not self._fonts:
            return [(_font("", self._size), words)]
        return [(_font(path, self._size), piece) for path, piece in pieces(words, self._fonts)]


@functools.cache
def _font(path: str, size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.truetype(path, size) if path else ImageFont.load_default(size=size)
