"""Tunes as people see and hear them: piano rolls, players, and what Python has of one."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from maquette.core.spec import ColumnSpec
from maquette.modalities.music.abc_notation.writing import write as in_abc
from maquette.modalities.music.files import score_of
from maquette.modalities.music.sound import render, wav
from maquette.modalities.music.tune import Tune

if TYPE_CHECKING:
    from PIL.Image import Image

PLAYED, PLAYED_RATE = 8.0, 11_025  # seconds that are played on a page, and samples of each: it holds many tunes
WIDTH, NOTE = 480, 3  # pixels of a piano roll across, and of a pitch
INKS = {True: (176, 58, 46, 255), False: (76, 114, 176, 150)}  # the melody, and what goes with it
LINE = (128, 128, 128, 60)  # between bars


@dataclass(frozen=True)
class Music:
    """A tune as Python has it: `tune`, its notes; `abc`, as it is written; a notebook plays it."""

    tune: Tune

    @property
    def abc(self) -> str:
        return in_abc([self.tune])

    def _repr_html_(self) -> str:
        return player(self.tune)


def view(item: Tensor, spec: ColumnSpec) -> Music:
    """One canonical item."""
    return Music(score_of(item, spec).tune)


def sheet(items: Tensor, spec: ColumnSpec, captions: Sequence[str] = ()) -> str:
    """Tunes in ABC, one after the other."""
    tunes = [score_of(item, spec).tune for item in items]
    return "\n".join(in_abc([tune], number=i + 1) for i, tune in enumerate(tunes))


def player(tune: Tune) -> str:
    """The beginning of a tune as an <audio> element with the bytes in it; it needs no network."""
    data = wav(render(tune, PLAYED_RATE, PLAYED), PLAYED_RATE, width=1)
    uri = f"data:audio/wav;base64,{base64.b64encode(data).decode('ascii')}"
    return f'<audio controls preload="metadata" style="width:100%;height:2rem" src="{uri}"></audio>'


def roll(tune: Tune) -> Image:
    """A piano roll: time across, pitch up, lines between bars."""
    from PIL import Image

    pitches = [note.pitch for note in tune.notes] or [60]
    low, high = min(pitches) - 1, max(pitches) + 1
    across = WIDTH / max(float(tune.bars[-1]), 1e-6)
    made = np.zeros(((high - low + 1) * NOTE, WIDTH, 4), np.uint8)
    for start in tune.bars[1:-1]:
        made[:, min(int(start * across), WIDTH - 1)] = LINE
    for note in sorted(tune.notes, key=lambda note: note.lead):
        left, right = int(note.start * across), max(int(note.end * across) - 1, int(note.start * across) + 1)
        top = (high - note.pitch) * NOTE
        made[top : top + NOTE, left:right] = INKS[note.lead]
    return Image.fromarray(made)
