"""Fonts that have the letters of a name in any script, found on this machine; and what to say where there is none.

Names come from people's data, so they may be in any script, and no font has them all. Found in process: fonts are
looked for where Matplotlib does, and in a package that can be installed for Chinese and Japanese.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

EXTRA = "pylopdf_fonts_zh_cn"  # Noto Sans SC under the Open Font License, and nothing else
_BOXES = 0xFFFE  # no letter: a font that has it draws a box for whatever there is
_SCALABLE = 1


def fonts(words: Iterable[str]) -> list[str]:
    """Files of the fonts that these words take, the usual one first; letters that none has are left to it."""
    wanted = _letters(words) - _has(_usual())
    found = [_usual()]
    for path in _others() if wanted else ():
        if known := wanted & _has(path):
            found.append(path)
            wanted -= known
        if not wanted:
            break
    return found


def missing(words: Iterable[str]) -> str:
    """What to say of letters in these words that no font here has; "" where there are none."""
    wanted = _letters(words).difference(*map(_has, fonts(words)))
    if not wanted:
        return ""
    some = "".join(map(chr, sorted(wanted)[:5]))
    return (
        f"No font on this machine has letters such as {some}: they are drawn as boxes. Those of Chinese and Japanese "
        "come with pip install 'maquette[fonts]', any with a font such as Noto for their language."
    )


def pieces(word: str, found: list[str]) -> Iterator[tuple[str, str]]:
    """A word as pieces, each with the first of these fonts that has its letters; accents stay with their letter."""
    of, last = [], found[0]
    for letter in word:
        if not unicodedata.combining(letter):
            last = next((path for path in found if letter.isspace() or ord(letter) in _has(path)), found[0])
        of.append((last, letter))
    for path, group in groupby(of, key=lambda piece: piece[0]):
        yield path, "".join(letter for _, letter in group)


def family(path: str) -> str:
    """The name by which Matplotlib knows a font, from now on."""
    known = matplotlib().font_manager.fontManager
    if all(font.fname != path for font in known.ttflist):
        known.addfont(path)
    return str(matplotlib().ft2font.FT2Font(path).family_name)


@functools.cache
def matplotlib() -> Any:
    """Matplotlib with the user's settings. It would read a `matplotlibrc` of the folder one stands in first, which may
    be a run that somebody sent, and older versions evaluate what stands there: it is imported elsewhere."""
    with contextlib.chdir(Path(__file__).parent):
        import matplotlib.font_manager
        import matplotlib.ft2font
    return matplotlib


def _letters(words: Iterable[str]) -> set[int]:
    return {ord(letter) for word in words for letter in word if letter.isprintable() and not letter.isspace()}


@functools.cache
def _usual() -> str:
    return str(matplotlib().font_manager.findfont("DejaVu Sans"))


def _others() -> Iterator[str]:
    """Files of all other fonts: those that Matplotlib lists, that of the extra, and those that came since."""
    known = matplotlib().font_manager.fontManager.ttflist
    listed = sorted(known, key=lambda font: (font.style != "normal", font.weight not in (400, "normal")))
    yield from (font.fname for font in listed)
    spec = importlib.util.find_spec(EXTRA)
    for folder in spec.submodule_search_locations or () if spec else ():
        yield from sorted(map(str, Path(folder).glob("*.otf")))
    yield from sorted(_installed() - {font.fname for font in listed})


@functools.cache
def _installed() -> set[str]:
    return set(matplotlib().font_manager.findSystemFonts())


@functools.cache
def _has(path: str) -> frozenset[int]:
    """The letters that a font draws; none, if it cannot be read, has but one size, or draws boxes for all."""
    try:
        font = matplotlib().ft2font.FT2Font(path)
        flags: Any = font.face_flags
        flags = getattr(flags, "value", flags)  # a number in older versions
        known = frozenset(font.get_charmap()) if flags & _SCALABLE else frozenset[int]()
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset() if _BOXES in known else known
