"""A text as passages are compared: without what makes no difference, and with the way back to the text itself.

Where words stand apart, a run of white space is one space: how a passage is broken into lines is no difference.
Where they do not (Chinese), white space and punctuation are left out, so that a run of n is n characters of words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from maquette.modalities.text.measures.script import Script, one_line


class _Kept(dict[int, int | None]):
    """For str.translate: letters, digits and their marks stay; punctuation, symbols and white space go."""

    def __missing__(self, code: int) -> int | None:
        kept = None if unicodedata.category(chr(code))[0] in "PSZC" else code
        self[code] = kept
        return kept


_KEPT = _Kept()


@dataclass(frozen=True)
class Folded:
    """whole: the text itself; text: what of it is compared."""

    whole: str
    text: str
    spaced: bool

    @cached_property
    def at(self) -> NDArray[np.int64]:
        """The place in `whole` of each character of `text`."""
        codes = np.frombuffer(self.whole.encode("utf-32-le", "surrogatepass"), "<u4")
        if not self.spaced:
            return np.flatnonzero(_are(codes, lambda c: _KEPT[ord(c)] is not None))
        space = _are(codes, str.isspace)
        after_space = np.concatenate([[True], space[:-1]]) if len(space) else space
        return np.flatnonzero(~space | ~after_space)[: len(self.text)]  # a space at the end is left out

    def cut(self, start: int, end: int) -> str:
        """The stretch of `whole` that holds text[start:end], line breaks and all."""
        return self.whole[self.at[start] : self.at[end - 1] + 1] if end > start else ""


def fold(text: str, script: Script) -> Folded:
    """The text as it is compared: on one line where spaces part the words, else letters, digits and marks."""
    return Folded(text, one_line(text) if script.spaced else text.translate(_KEPT), script.spaced)


def _are(codes: NDArray[np.uint32], test: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Which characters pass; each different one is asked once."""
    return np.isin(codes, [code for code in np.unique(codes).tolist() if test(chr(code))])
