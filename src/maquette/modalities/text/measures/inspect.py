"""What is looked at in a preview of text while a model still trains: repetition, copying, and the held-out loss.

Each is cheap, and each is set against real text, so that 0 means "as real text does".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from maquette.core.model import Model, Streams
from maquette.core.spec import DataSpec
from maquette.core.table import Dataset
from maquette.evaluation.bootstrap import Array
from maquette.modalities.text.measures.copies import Hashes, codes, rolling
from maquette.modalities.text.measures.fold import fold
from maquette.modalities.text.measures.loss import held_out_nats
from maquette.modalities.text.measures.read import decoded, passages, texts_of
from maquette.modalities.text.measures.script import Script, script_of
from maquette.modalities.text.measures.variety import repeats

REPETITION, COPIED, HELD_OUT = "preview/repetition", "preview/copied", "preview/held_out_nats"
KEPT = 1_000_000  # hashes of training passages that are remembered: 8 MB
READ = 50_000_000  # characters of training text that are read for them
CONTROL = 200  # held-out texts
TOKENS = 4096  # of the held-out batch

Inspect = Callable[[Model, dict[str, Tensor]], dict[str, float]]


def text_inspector(dataset: Dataset, spec: DataSpec) -> Inspect:
    """(model, samples of a preview) -> values to log and to watch:

    preview/repetition:    share of runs of 4 words that repeat earlier ones of the same sample, less that of real text
    preview/copied:        share of runs of 30 characters (10 where words have no spaces; fewer for short texts) that
                           stand in the training text, less the share in held-out text; not of models with a source
    preview/held_out_nats: nats per token on a fixed batch of held-out text

    A value that cannot be had (samples too short, a model that tells no probabilities) is left out.
    """
    (name,) = spec.target
    column = spec.columns[name]
    rng = np.random.default_rng(0)
    rows = np.sort(rng.permutation(len(dataset.test))[:CONTROL])
    held = texts_of(dataset.test, name, rows)
    script = script_of(held)
    usual = _share(*repeats([script.words(text) for text in held], 4)) or 0.0
    typical = int(np.median([len(fold(text, script).text) for text in held])) if held else 0
    known = None
    if spec.source is None:  # that a sentence is translated twice alike is no copying
        known = Known.of(dataset, name, max(min(script.telling, typical // 2), 4), script)
    control = (known.share(held) or 0.0) if known else 0.0
    batch = dataset.test.batch(_some(rows, dataset, spec), spec) if len(rows) else None

    def inspect(model: Model, samples: dict[str, Tensor]) -> dict[str, float]:
        found: dict[str, float] = {}
        made = decoded(samples[name].cpu(), column)
        repeated = _share(*repeats([script.words(text) for text in made], 4))
        if repeated is not None:
            found[REPETITION] = repeated - usual
        copied = known.share(made) if known else None
        if copied is not None:
            found[COPIED] = copied - control
        if batch is not None and isinstance(model, Streams):
            found[HELD_OUT] = held_out_nats(model, batch, _device(model))
        return found

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


def _some(rows: np.ndarray, dataset: Dataset, spec: DataSpec) -> np.ndarray:
    """Held-out rows of about TOKENS tokens together."""
    lengths = dataset.test.lengths(spec)
    own = dataset.test.columns[next(iter(spec.target))].lengths
    width = spec.x.shape[0] if lengths is None or own is None else float(np.asarray(own)[rows].mean())
    return rows[: max(1, int(TOKENS / max(width, 1)))]


def _device(model: torch.nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))
