"""How a text falls into words, and of how many of them a repeated or copied passage is made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Scripts that put no spaces between words: Han, kana, Thai, Lao, Khmer, Myanmar, Tibetan.
_UNSPACED = re.compile(
    r"[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_KANA = re.compile(r"[\u3040-\u30ff]")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
_LOOKED_AT = 200_000  # characters are enough to know a script


@dataclass(frozen=True)
class Script:
    """spaced: whether words stand apart; where they do not, a character is taken for a word.

    bleu: the tokenizer that sacreBLEU is asked for ("13a", "zh", "char")
    language: where the script tells it: "zh", "ja" or ""
    """

    spaced: bool
    bleu: str
    language: str = ""

    @property
    def word(self) -> str:
        return "word" if self.spaced else "character"

    @property
    def copied(self) -> tuple[int, ...]:
        """Characters of a passage that is looked for in the training text."""
        return (20, 30, 50) if self.spaced else (5, 10, 20)

    @property
    def copied_words(self) -> tuple[int, ...]:
        return (4, 8) if self.spaced else ()

    @property
    def telling(self) -> int:
        """Characters of a passage that two texts of one kind seldom share by chance."""
        return self.copied[1]

    def words(self, text: str) -> list[str]:
        """Words and punctuation marks; characters without spaces where the script has none."""
        return _WORD.findall(text) if self.spaced else [c for c in text if not c.isspace()]


def script_of(texts: Iterable[str]) -> Script:
    """The script that most letters are written in."""
    looked: list[str] = []
    size = 0
    for text in texts:
        looked.append(text)
        size += len(text)
        if size > _LOOKED_AT:
            break
    sample = "".join(looked)[:_LOOKED_AT]
    unspaced = len(_UNSPACED.findall(sample))
    if unspaced <= 0.3 * max(len(_LETTER.findall(sample)), 1):
        return Script(spaced=True, bleu="13a")
    if _KANA.search(sample):
        return Script(spaced=False, bleu="char", language="ja")
    if len(_HAN.findall(sample)) < 0.5 * unspaced:
        return Script(spaced=False, bleu="char")
    return Script(spaced=False, bleu="zh", language="zh")


def one_line(text: str) -> str:
    """The text with every run of white space as one space: how a passage is broken into lines is no difference."""
    return " ".join(text.split())


def grams(items: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Runs of n items, overlapping."""
    return [tuple(items[i : i + n]) for i in range(len(items) - n + 1)]
