"""Whether texts are as long as real ones."""

from __future__ import annotations

import numpy as np

from maquette.core.measure import Found, Matters, Measure
from maquette.evaluation.bootstrap import Array, mean
from maquette.evaluation.evidence import Evidence
from maquette.modalities.text.measures.beside import both, written
from maquette.modalities.text.measures.translation import translated

_TITLE = "Characters of a text"


def _of(evidence: Evidence) -> Found | None:
    """Beside real texts, or beside those that the samples should be; None where windows are all of one length."""
    if (pair := translated(evidence)) is not None:
        ours, theirs = (mean(_lengths(side), evidence.rng("length", word))
                        for side, word in ((pair.made, "ours"), (pair.real, "theirs")))  # fmt: skip
        return Found(ours, theirs, len(pair.real), len(pair.made))
    found = written(evidence)
    if found is None or not evidence.spec.framed:
        return None
    return both(evidence, "length", _TITLE, mean, (_lengths(found.made),), (_lengths(found.real),), found.of)


def _lengths(texts: list[str]) -> Array:
    return np.array([len(text) for text in texts], dtype=np.float64)


MEASURES = (
    Measure(
        name="length", title=_TITLE, better="floor", unit="characters", of=_of, place=45,
        matters=Matters(0.0, times=0.1), sees=("length",),
        asks="Whether texts are as long as real ones.",
        says=lambda m: f"A sample has {m.show(m.value)} characters on average; a real text has {m.show(m.floor)}.",
    ),
)  # fmt: skip
