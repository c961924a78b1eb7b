"""Which tokens suit a text, and the tokenizer that is trained on its training split alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from maquette.core.find import find_modality
from maquette.core.recipe import DataConfig
from maquette.data.sources import Say

SMALL_BYTES = 3_000_000  # of training text, up to which characters learn best
MOST_CHARACTERS = 6000  # different ones
AT_ONCE = 1_000_000  # characters that are encoded together
LEARNED_FROM = 50_000_000  # characters a bpe or unigram tokenizer is trained on; more changes next to nothing
_SPACELESS = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True)
class Tokenizer:
    """unit: "char", "bpe" or "unigram"; json: of the `tokenizers` library."""

    unit: str
    json: str

    @property
    def vocab(self) -> int:
        return len(find_modality("text").vocabulary(self.json))


def unit_of(texts: Sequence[str], config: DataConfig, pairs: bool) -> str:
    """What a token of these training texts should be.

    Characters for scripts without spaces and for little text; bpe for pairs, and for all else.
    """
    if config.of("text").tokenizer != "auto":
        return config.of("text").tokenizer
    if _spaceless(texts):
        return "char"
    if pairs or sum(len(text.encode("utf-8", "replace")) for text in texts) >= SMALL_BYTES:
        return "bpe"
    return "char" if len(set().union(*texts)) < MOST_CHARACTERS else "bpe"


def train(columns: dict[str, Sequence[str]], config: DataConfig, pairs: bool, say: Say) -> dict[str, Tokenizer]:
    """A tokenizer for each column of training texts: one for all if config.of("text").joint, else one for each."""
    # By name: the same pairs give the same tokens whichever of the two is the target.
    names = sorted(columns)
    if config.of("text").joint and len(names) > 1:
        made = _train([text for name in names for text in columns[name]], config, pairs, say)
        return dict.fromkeys(columns, made)
    return {name: _train(columns[name], config, pairs, say) for name in columns}


def encode(texts: Sequence[str], tokenizer: Tokenizer) -> list[np.ndarray]:
    """Bare tokens of each text, in the type in which they are stored; never much more in memory than these."""
    module = find_modality("text")
    vocabulary, dtype = module.vocabulary(tokenizer.json), stored_as(tokenizer.vocab)
    made: list[list[np.ndarray]] = [[np.zeros(0, dtype)] for _ in texts]
    group: list[tuple[int, str]] = []

    def finish() -> None:
        found = vocabulary.encode_all([part for _, part in group])
        for (i, _), tokens in zip(group, found, strict=True):
            made[i].append(tokens.astype(dtype))
        group.clear()

    size = 0
    for i, text in enumerate(texts):
        for part in module.in_parts(text):
            group.append((i, part))
            size += len(part)
            if size > AT_ONCE:
                finish()
                size = 0
    finish()
    return [np.concatenate(parts) for parts in made]


def unknown(texts: Iterable[str], tokenizer: Tokenizer) -> dict[str, int]:
    """Characters that the tokenizer does not know, the most frequent first."""
    vocabulary = find_modality("text").vocabulary(tokenizer.json)
    found: dict[str, int] = vocabulary.unknown("".join(texts))
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def stored_as(vocab: int) -> type[np.unsignedinteger]:
    """The smallest type that holds every token."""
    return np.uint16 if vocab <= 2**16 else np.uint32


def _train(texts: Sequence[str], config: DataConfig, pairs: bool, say: Say) -> Tokenizer:
    unit = unit_of(texts, config, pairs)
    if unit != "char":
        say(f"Training a {unit} tokenizer of at most {config.of('text').vocab:,} tokens")
    module = find_modality("text")
    return Tokenizer(
        unit,
        module.train_tokenizer(
            _some(texts) if unit != "char" else texts, unit, config.of("text").vocab, config.of("text").lowercase
        ),
    )


def _some(texts: Sequence[str]) -> Iterator[str]:
    """All of the texts, or parts from all over them that together are LEARNED_FROM characters."""
    total = sum(map(len, texts))
    if total <= LEARNED_FROM:
        yield from texts
        return
    in_parts = find_modality("text").in_parts
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
