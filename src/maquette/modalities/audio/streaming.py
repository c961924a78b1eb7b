"""A sound as a WAV file that is written as it is made, of which nobody knows yet how long it will be."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator

import numpy as np

from maquette.core.about import About
from maquette.core.spec import ColumnSpec
from maquette.modalities.audio.levels import sixteen_bits

_UNKNOWN = 2**32 - 1  # the length of what goes on until the pipe ends, as players take it


def stream(pieces: Iterable[np.ndarray], spec: ColumnSpec, about: About) -> Iterator[bytes]:
    """The head of the file, and each piece of the sound, f32[C, n], as soon as it is made."""
    yield head(spec.channels, spec.rate_hz, json.dumps(about.fields, ensure_ascii=False))
    for piece in pieces:
        yield sixteen_bits(piece).T.astype("<i2").tobytes()


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
