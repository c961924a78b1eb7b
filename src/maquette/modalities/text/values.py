"""What a person asks in words, and what is shown of tokens: the text itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.spec import ColumnSpec
from maquette.modalities import text

PRINTED = True
RULE = text.RULE  # between one text and the next


def asked(value: Any, spec: ColumnSpec, notify: Callable[[str], None]) -> Tensor:
    """i64[L]: the tokens of a text; refuses characters and lengths that the model has never seen, and nothing."""
    if not str(value).strip():
        raise UserError("The text is empty.", "Give some, or leave it out where it is not required.")
    tokens = text.tokenize(text.known(str(value), spec), spec)
    if len(tokens) > spec.shape[0]:
        raise UserError(
            f"This has {len(tokens):,} tokens; the model was trained on texts of up to {spec.shape[0]:,}.",
            "Shorten it, or train with a larger data.text.longest.",
        )
    return torch.from_numpy(tokens)


def caption(item: Tensor, spec: ColumnSpec) -> str:
    """The text."""
    return view(item, spec)


def view(item: Tensor, spec: ColumnSpec) -> str:
    """The text."""
    return text.decode(item, spec)
