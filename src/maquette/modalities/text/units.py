"""Which tokens suit texts, and the tokenizer that is trained on those of the training split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from maquette.modalities.text.config import Config
from maquette.modalities.text.tokens import in_parts, train_tokenizer, vocabulary

SMALL_BYTES = 3_000_000  # of training text, up to which characters learn best
MOST_CHARACTERS = 6000  # different ones
AT_ONCE = 1_000_000  # characters that are encoded together
LEARNED_FROM = 50_000_000  # characters a bpe or unigram tokenizer is trained on; more changes next to nothing
_SPACELESS = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def train(texts: Sequence[str], config: Config, several: bool) -> tuple[str, str]:
    """(unit, JSON of the tokenizer) for these training texts. several: whether they are of several columns."""
    unit = unit_of(texts, config, several)
    learned = texts if unit == "char" else _some(texts)
    return unit, train_tokenizer(learned, unit, config.vocab, config.lowercase)


def unit_of(texts: Sequence[str], config: Config, several: bool) -> str:
    """What a token of these training texts should be.

    Characters for scripts without spaces and for little text; bpe for several columns, and for all else.
    """
    if config.tokenizer != "auto":
        return config.tokenizer
    if _spaceless(texts):
        return "char"
    if several or sum(len(text.encode("utf-8", "replace")) for text in texts) >= SMALL_BYTES:
        return "bpe"
    return "char" if len(set().union(*texts)) < MOST_CHARACTERS else "bpe"


def tokens_of(texts: Sequence[str], tokenizer: str) -> list[np.ndarray]:
    """Bare tokens of each text, in the type in which they are stored; never much more in memory than these."""
    known = vocabulary(tokenizer)
    dtype = np.uint16 if len(known) <= 2**16 else np.uint32
    made: list[list[np.ndarray]] = [[] for _ in texts]
    group: list[tuple[int, str]] = []

    def finish() -> None:
        found = known.encode_all([part for _, part in group])
        for (i, _), tokens in zip(group, found, strict=True):
            made[i].append(tokens.astype(dtype))
        group.clear()

    size = 0
    for i, text in enumerate(texts):
        for part in in_parts(text):
            group.append((i, part))
            size += len(part)
            if size > AT_ONCE:
                finish()
                size = 0
    finish()
    return [parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, dtype), *parts]) for parts in made]


def _some(texts: Sequence[str]) -> Iterator[str]:
    """All of the texts, or parts from all over them that together are LEARNED_FROM characters."""
    total = sum(map(len, texts))
    if total <= LEARNED_FROM:
        yield from texts
        return
    share, owed = LEARNED_FROM / total, 0.0
    for text in texts:
        for part in in_parts(text):
            owed += len(part) * share
            if owed >= len(part):
                owed -= len(part)
                yield part


def _spaceless(texts: Sequence[str]) -> bool:
    """Whether most letters belong to scripts that put no spaces between words (Chinese, Japanese)."""
    step = max(1, len(texts) // 2000)
    sample = "".join(text[:2000] for text in texts[::step])
    letters = sum(map(str.isalpha, sample))
    return letters > 0 and len(_SPACELESS.findall(sample)) > letters / 2
