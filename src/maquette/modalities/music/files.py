"""Canonical tunes, and files of them: MIDI, ABC, and sound, each with the label of where it comes from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maquette.core.about import About
from maquette.core.errors import UserError
from maquette.core.files import atomic, ready
from maquette.core.spec import PAD, ColumnSpec
from maquette.modalities.music.abc_notation.writing import write as in_abc
from maquette.modalities.music.midi import write as in_midi
from maquette.modalities.music.sound import RATE, render, wav
from maquette.modalities.music.tokens import Score, pieces, read, score
from maquette.modalities.music.tune import Key, Note, Tune

SUFFIXES = (".mid", ".midi", ".abc", ".wav")  # that are written


def canonical(stored: np.ndarray) -> Tensor:
    """u16[B, L] -> i64[B, L]."""
    return torch.from_numpy(np.asarray(stored, np.int64))


def score_of(item: Tensor, spec: ColumnSpec) -> Score:
    """What one canonical item says, i64[L]."""
    return read(item.tolist(), spec.grid, spec.relative)


def write(item: Tensor, path: Path, spec: ColumnSpec, about: About) -> Path:
    """Writes i64[L] as MIDI, ABC or WAV, by the suffix of `path`, atomically."""
    return save([score_of(item, spec).tune], path, about)


def preview(items: Tensor, path: Path, spec: ColumnSpec, captions: Sequence[str], about: About) -> Path:
    """Writes i64[B, L] one after the other."""
    return save([score_of(item, spec).tune for item in items], path, about)


def save(tunes: Sequence[Tune], path: Path, about: About) -> Path:
    """Writes tunes by the suffix of `path`; `about` goes into a text of MIDI, remarks of ABC, the comment of WAV."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in (".mid", ".midi"):
        data = in_midi(tunes, about.fields)
    elif suffix == ".abc":
        data = in_abc(tunes, about.fields).encode()
    elif suffix == ".wav":
        rendered = [render(tune) for tune in tunes]
        joined = np.concatenate(rendered or [np.zeros(1, np.float32)])
        data = wav(joined, RATE, json.dumps(about.fields, ensure_ascii=False))
    else:
        raise UserError(f"Tunes cannot be written as '{path.suffix}'.", f"Use {', '.join(SUFFIXES)}.")
    with atomic(ready(path)) as temporary:
        temporary.write_bytes(data)
    return path


def made_up(spec: ColumnSpec, items: int, seed: int = 0) -> Tensor:
    """Scales up and down over chords, in 3/4 and 4/4, of as many bars as there is room for; i64[items, L]."""
    draws = np.random.default_rng(seed)
    made = torch.full((items, spec.shape[0]), PAD)
    for i in range(items):
        metre, key = ((4, 4), (3, 4))[i % 2], Key(int(draws.integers(12)))
        steps = np.cumsum(draws.integers(-1, 2, 64)) % 7
        notes = [
            Note(Fraction(k), Fraction(1), 60 + key.do + (0, 2, 4, 5, 7, 9, 11)[step]) for k, step in enumerate(steps)
        ]
        notes += [Note(bar.start, Fraction(1), 48 + key.do, lead=False) for bar in notes[:: metre[0]]]
        whole = Tune(tuple(notes), (metre,) * -(-64 // metre[0]), key)
        tokens = pieces(score(whole, spec.grid)[0], spec.relative, spec.shape[0])[0][: spec.shape[0]]
        made[i, : len(tokens)] = torch.tensor(tokens)
    return made
