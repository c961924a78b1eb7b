"""A sound as a WAV file that is written as it is made, of which nobody knows yet how long it will be."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from maquette.core.about import About
from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.model import Unfolds
from maquette.core.rng import ItemRng
from maquette.modalities.audio.files import quantised

_UNKNOWN = 2**32 - 1  # the length of what goes on until the pipe ends, as players take it


def stream(
    generator: Generator, column: str, asked: Mapping[str, Any], given: Mapping[str, Tensor], seed: int, item: int,
    about: About,
) -> Iterator[bytes]:  # fmt: skip
    """The head of the file, and each piece of the sound as soon as it is made. UserError where that is all at once."""
    if not isinstance(generator.model, Unfolds):
        raise UserError("This model makes a whole sound at once.", "Leave --stream out.")
    return _pieces(generator.model, generator, column, asked, given, ItemRng(seed, [item], generator.device), about)


def _pieces(
    model: Unfolds, generator: Generator, column: str, asked: Mapping[str, Any], given: Mapping[str, Tensor],
    rng: ItemRng, about: About,
) -> Iterator[bytes]:  # fmt: skip
    spec = generator.spec.columns[column]
    yield head(spec.channels, spec.rate_hz, json.dumps(about.fields, ensure_ascii=False))
    with torch.no_grad():
        for piece in model.unfold({name: value.to(generator.device) for name, value in given.items()}, rng, **asked):
            yield quantised(piece).T.astype("<i2").tobytes()


def head(channels: int, rate: int, comment: str) -> bytes:
    """Of 16-bit WAV, with a comment in its chunk LIST INFO, up to the first sample."""
    words = comment.encode() + b"\0" * (2 - len(comment.encode()) % 2)
    info = struct.pack("<4s4sI", b"INFO", b"ICMT", len(words)) + words
    return b"".join((
        struct.pack("<4sI4s", b"RIFF", _UNKNOWN, b"WAVE"),
        struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, 2 * channels * rate, 2 * channels, 16),
        struct.pack("<4sI", b"LIST", len(info)) + info,
        struct.pack("<4sI", b"data", _UNKNOWN),
    ))  # fmt: skip
