"""What people give of chords, and see of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chord
import torch
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.spec import BOS, EOS

PRINTED = True
RULE = ""


def asked(value: Any, spec: Any, notify: Callable[[str], None]) -> Tensor:
    words = str(value).split()
    if not words or not all(word.isdecimal() and int(word) < chord.PITCHES for word in words):
        raise UserError(f"'{value}' is no chord.", "Write pitches from 0 to 127 with spaces between them.")
    return torch.tensor([BOS, *(chord.FIRST + int(word) for word in words), EOS])


def view(item: Tensor, spec: Any) -> list[int]:
    return chord.pitches(item)


def caption(item: Tensor, spec: Any) -> str:
    return " ".join(map(str, chord.pitches(item)))
