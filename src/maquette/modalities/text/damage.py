"""Known damage to texts, for measures to be tried on: swapped words, loops, lost forms and lost ends."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from maquette.core.find import find_modality
from maquette.core.measure import Damage
from maquette.core.spec import ColumnSpec
from maquette.modalities.text.measures.read import decoded
from maquette.modalities.text.measures.script import script_of

_SPACE = re.compile(r"(\s+)")
SHARE = (0.3, 1.0)  # of the words that change places, of the texts that lose their form; mild and strong
LOOP = (0.5, 0.9)  # share of a text that repeats what stands before it
CUT = (0.2, 0.5)  # share of a text that is missing at its end

Alter = Callable[[list[str], float, np.random.Generator], list[str]]
"""What stands between white space, or characters where words have no spaces -> the same, changed."""


def _on_words(change: Alter, shares: tuple[float, float]) -> Callable[..., Tensor]:
    """A damage that changes the words of each text and leaves its white space where it is."""

    def of(items: Tensor, spec: ColumnSpec, strength: int, rng: np.random.Generator) -> Tensor:
        texts = decoded(items, spec)
        spaced = script_of(texts).spaced
        made = []
        for text in texts:
            parts = _SPACE.split(text) if spaced else list(text)
            places = [i for i, word in enumerate(parts) if word and not word.isspace()]
            for i, word in zip(places, change([parts[i] for i in places], shares[strength - 1], rng), strict=True):
                parts[i] = word
            made.append("".join(parts))
        return _items(made, spec, items.shape[1])

    return of


def _swapped(words: list[str], share: float, rng: np.random.Generator) -> list[str]:
    moved = np.flatnonzero(rng.random(len(words)) < share)
    out = list(words)
    for place, word in zip(moved, [words[i] for i in rng.permutation(moved)], strict=True):
        out[place] = word
    return out


def _looped(words: list[str], share: float, rng: np.random.Generator) -> list[str]:
    new = max(int(len(words) * (1 - share)), 1)
    return [words[i] if i < new else words[new - 1 - (new - 1 - i) % min(new, 6)] for i in range(len(words))]


def _formless(items: Tensor, spec: ColumnSpec, strength: int, rng: np.random.Generator) -> Tensor:
    """Of a share of the texts, lines run into one another."""
    texts = decoded(items, spec)
    lost = rng.random(len(texts)) < SHARE[strength - 1]
    made = ["".join(text.split("\n")) if gone else text for text, gone in zip(texts, lost, strict=True)]
    return _items(made, spec, items.shape[1])


def _cut(items: Tensor, spec: ColumnSpec, strength: int, rng: np.random.Generator) -> Tensor:
    texts = decoded(items, spec)
    return _items([text[: int(len(text) * (1 - CUT[strength - 1]))] for text in texts], spec, items.shape[1])


def _items(texts: list[str], spec: ColumnSpec, longest: int) -> Tensor:
    """Texts as items i64[n, L]; what no longer fits is cut."""
    tokenize = find_modality("text").tokenize
    tokens = [torch.as_tensor(tokenize(text, spec))[:longest] for text in texts]
    return torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)


DAMAGES = (
    Damage("with words swapped", "item", _on_words(_swapped, SHARE)),
    Damage("in loops", "loops", _on_words(_looped, LOOP)),
    Damage("without their form", "form", _formless),
    Damage("cut short", "length", _cut),
)
