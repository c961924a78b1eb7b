"""What is watched in the previews of a model of text while it trains: repetition, copying, and the held-out loss.

Each is cheap, and each is set against real text, so that 0 means "as real text does".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from maquette.core.model import Model, Watch
from maquette.core.spec import DataSpec, TokenSpec
from maquette.core.table import Dataset
from maquette.evaluation.bootstrap import Array
from maquette.evaluation.over_fitting import OVER_FITTING, held_out_nats
from maquette.modalities.text.measures.copies import Hashes, codes, rolling
from maquette.modalities.text.measures.fold import fold
from maquette.modalities.text.measures.read import decoded, passages, texts_of
from maquette.modalities.text.measures.script import Script, script_of
from maquette.modalities.text.measures.variety import repeats

KEPT = 1_000_000  # hashes of training passages that are remembered: 8 MB
READ = 50_000_000  # characters of training text that are read for them
CONTROL = 200  # held-out texts

REPETITION = Watch(
    name="repetition loops",
    key="preview/repetition",
    above=0.25,
    patience=0.1,
    after=0.3,
    saw="samples say the same again and again (share of repeated runs of 4 words, beyond that of real text)",
    advice="more training or data; when sampling, a repetition penalty or a higher temperature",
)
COPYING = Watch(
    name="copying",
    key="preview/copied",
    above=0.25,
    patience=0.05,
    after=0.1,
    saw="samples repeat passages of the training text (share of such passages, beyond that of held-out text)",
    advice="fewer steps, a smaller model, more dropout or more data",
)
WATCHES = (REPETITION, COPYING, OVER_FITTING)

Inspect = Callable[[Model, dict[str, Tensor]], dict[str, float]]


def inspector(dataset: Dataset, spec: DataSpec, column: str) -> Inspect:
    """(model, samples of a preview) -> values to log and to watch:

    preview/repetition:    share of runs of 4 words that repeat earlier ones of the same sample, less that of real text
    preview/copied:        share of runs of 30 characters (10 where words have no spaces; fewer for short texts) that
                           stand in the training text, less the share in held-out text; not of models with a source
    preview/held_out_nats: nats per token on a fixed batch of held-out text

    A value that cannot be had (samples too short, a model that tells no probabilities) is left out.
    """
    rng = np.random.default_rng(0)
    rows = np.sort(rng.permutation(len(dataset.test))[:CONTROL])
    held = texts_of(dataset.test, column, rows)
    script = script_of(held)
    usual = _share(*repeats([script.words(text) for text in held], 4)) or 0.0
    typical = int(np.median([len(fold(text, script).text) for text in held])) if held else 0
    known = None
    if not spec.givens(TokenSpec):  # that a sentence is translated twice alike is no copying
        known = Known.of(dataset, column, max(min(script.telling, typical // 2), 4), script)
    control = (known.share(held) or 0.0) if known else 0.0
    nats = held_out_nats(dataset, spec, column, rows)

    def inspect(model: Model, samples: dict[str, Tensor]) -> dict[str, float]:
        found: dict[str, float] = {}
        made = decoded(samples[column].cpu(), spec.columns[column])
        repeated = _share(*repeats([script.words(text) for text in made], 4))
        if repeated is not None:
            found[REPETITION.key] = repeated - usual
        copied = known.share(made) if known else None
        if copied is not None:
            found[COPYING.key] = copied - control
        return found | nats(model)

    return inspect


class Known:
    """Runs of n characters of the training text, as sorted hashes u64[K].

    Of more than KEPT, only hashes that 2^shift divides are kept, and only such are asked for, so that the share
    remains an estimate without bias.
    """

    def __init__(self, n: int, hashes: Hashes, shift: int, script: Script) -> None:
        self.n, self.shift, self.script = n, shift, script
        self._hashes = hashes

    @classmethod
    def of(cls, dataset: Dataset, column: str, n: int, script: Script) -> Known:
        kept, shift = np.zeros(0, np.uint64), 0
        waiting: list[Hashes] = []
        size = 0
        for passage in passages(dataset.train, column, READ):
            part = rolling(codes(fold(passage.text, script).text), n)
            part = part[_kept(part, shift)]
            waiting.append(part)
            size += len(part)
            if size >= KEPT:
                kept, shift = _thinned(np.unique(np.concatenate([kept, *waiting])), shift)
                waiting, size = [], 0
        kept, shift = _thinned(np.unique(np.concatenate([kept, *waiting])), shift)
        return cls(n, kept, shift, script)

    def share(self, texts: Sequence[str]) -> float | None:
        """Share of the texts' runs of n characters that are known; None where there is no run to ask for."""
        runs = [rolling(codes(fold(text, self.script).text), self.n) for text in texts]
        asked = np.concatenate(runs) if runs else np.zeros(0, np.uint64)
        asked = asked[_kept(asked, self.shift)]
        if not len(asked) or not len(self._hashes):
            return None
        at = np.searchsorted(self._hashes, asked).clip(max=len(self._hashes) - 1)
        return float((self._hashes[at] == asked).mean())


def _kept(hashes: Hashes, shift: int) -> np.ndarray:
    return (hashes & np.uint64((1 << shift) - 1)) == 0


def _thinned(hashes: Hashes, shift: int) -> tuple[Hashes, int]:
    while len(hashes) > KEPT:
        shift += 1
        hashes = hashes[_kept(hashes, shift)]
    return hashes, shift


def _share(top: Array, bottom: Array) -> float | None:
    return float(top.sum() / bottom.sum()) if bottom.sum() else None
