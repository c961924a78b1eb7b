"""What a person gives as a tune, and what is shown of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.core.spec import ColumnSpec
from maquette.modalities.music.data import tune_of
from maquette.modalities.music.shown import view
from maquette.modalities.music.tokens import pieces, score

__all__ = ["CAPTIONED", "asked", "caption", "view"]

CAPTIONED = False  # of tunes one after the other nobody would know which caption is whose


def asked(value: Any, spec: ColumnSpec, notify: Callable[[str], None]) -> Tensor:
    """i64[L], BOS to EOS: the tune of a file; what is longer than any that was learned from is cut at a bar line."""
    if not isinstance(value, str | Path) or Path(value).is_dir():
        raise UserError(f"{value!r} is no tune.", "Name one file of MIDI or ABC.")
    try:
        tune = tune_of(limits.contents(value), Path(value).name)
    except Unreadable as error:
        raise UserError(f"'{value}' cannot be used: {error}.", error.remedy or "Name another file.") from None
    made = pieces(score(tune, spec.grid)[0], spec.relative, spec.shape[0])
    if not made:
        raise UserError(f"'{value}' cannot be used: no note in it.", "Name another file.")
    return torch.tensor(made[0])


def caption(item: Tensor, spec: ColumnSpec) -> str:
    """Nothing: a tune is not said in words."""
    return ""
