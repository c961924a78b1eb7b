"""Chords: pitches of MIDI played one after the other, a kind of data that ships nowhere. Tests of the house use it.

A file `.chord` holds whole numbers from 0 to 127 with white space between them; a line that begins with # is a remark.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from maquette.core.about import About
from maquette.core.files import write_text
from maquette.core.modality import Examined, Notes, Unreadable
from maquette.core.spec import BOS, EOS, PAD, SPECIALS, ColumnSpec, TokenSpec

KIND = "chord"
NOUN = ("chord", "chords")
PREVIEW_SUFFIX = ".chord"
FIRST = len(SPECIALS)  # the token of pitch 0
PITCHES = 128


class Config(BaseModel):
    """data.chord"""

    model_config = ConfigDict(extra="forbid")

    longest: int = Field(16, ge=1, description="pitches of a chord; longer ones are left out")


class Spec(TokenSpec):
    """BOS, a token for each pitch, EOS."""

    kind: str = "chord"
    vocab: int = FIRST + PITCHES
    lowest: int = 0  # pitch of the training rows


def claims(name: str, head: bytes) -> bool:
    return name.lower().endswith(".chord")


def examine(cell: Any, config: Config) -> list[int]:
    """The pitches of a file; raises Unreadable for what is none."""
    words = [word for line in _lines(cell) for word in line.split()]
    if not words:
        raise Unreadable("no pitch in it")
    for word in words:
        if not word.isdecimal() or int(word) >= PITCHES:
            raise Unreadable(f"'{word[:20]}' is no pitch from 0 to {PITCHES - 1}")
    return [int(word) for word in words]


def fit(
    cells: Sequence[Any], facts: Sequence[list[int]], config: Config, known: ColumnSpec | None, notes: Notes
) -> ColumnSpec:
    if known is not None:
        return known
    sizes = [len(pitches) + 2 for pitches in facts]
    return Spec(
        shape=(config.longest + 2,), start=BOS, mean_length=sum(sizes) / len(sizes), lowest=min(map(min, facts))
    )


def encode(cells: Sequence[Any], spec: ColumnSpec, config: Config) -> list[np.ndarray | Unreadable]:
    made: list[np.ndarray | Unreadable] = []
    for cell in cells:
        pitches = examine(cell, config)
        if len(pitches) > spec.shape[0] - 2:
            made.append(Unreadable(f"{len(pitches)} pitches, more than data.chord.longest={spec.shape[0] - 2}"))
        else:
            made.append(np.array([BOS, *(FIRST + pitch for pitch in pitches), EOS], np.uint8))
    return made


def describe(column: Examined, notes: Notes) -> dict[str, Any]:
    sizes = [len(column.facts[row]) for row in column.used.tolist()]
    return {"pitches": sum(sizes), "rows": [["pitches", f"{sum(sizes):,}"], ["longest", f"{max(sizes)}"]]}


def canonical(stored: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(stored, np.int64))


def pitches(item: Tensor) -> list[int]:
    """Those of one canonical item, i64[L]."""
    return [token - FIRST for token in item.tolist() if token >= FIRST]


def write(item: Tensor, path: Path, spec: ColumnSpec, about: About) -> Path:
    remarks = [f"# {name}: {value}" for name, value in about.fields.items()]
    return write_text(Path(path), "\n".join([*remarks, " ".join(map(str, pitches(item)))]) + "\n")


def sheet(items: Tensor, spec: ColumnSpec, captions: Sequence[str] = ()) -> str:
    """One chord a line, after its caption."""
    heads = [f"{captions[i]}: " if i < len(captions) else "" for i in range(len(items))]
    return "\n".join(head + " ".join(map(str, pitches(item))) for head, item in zip(heads, items, strict=True))


def preview(items: Tensor, path: Path, spec: ColumnSpec, captions: Sequence[str], about: About) -> Path:
    remarks = [f"# {name}: {value}" for name, value in about.fields.items()]
    return write_text(Path(path), "\n".join([*remarks, sheet(items, spec, captions)]) + "\n")


def made_up(spec: ColumnSpec, items: int, seed: int = 0) -> Tensor:
    """Major triads on different roots, of two or three pitches."""
    made = torch.full((items, spec.shape[0]), PAD)
    for i in range(items):
        root = 48 + (5 * i + seed) % 24
        tones = [root, root + 4, root + 7][: 2 + i % 2][: spec.shape[0] - 2]
        made[i, : len(tones) + 2] = torch.tensor([BOS, *(FIRST + tone for tone in tones), EOS])
    return made


def _lines(cell: Any) -> list[str]:
    try:
        found: list[str] = cell.read().decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise Unreadable("not a file of numbers") from None
    return [line for line in found if not line.startswith("#")]
