"""What is sent: items as files with their label, exactly as `maquette sample` writes them, and events of a stream."""

from __future__ import annotations

import io
import json
import uuid
import wave
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from maquette.core.samples import Samples, captions_by_column
from maquette.serve.catalogue import Described

TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
    "wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "opus": "audio/ogg", "ogg": "audio/ogg",
    "pcm": "audio/pcm", "mp4": "video/mp4", "webm": "video/webm", "apng": "image/apng", "mid": "audio/midi",
}  # fmt: skip


STREAMED = {
    "application/json": {"schema": {"type": "object"}},
    "text/event-stream": {"schema": {"type": "object", "description": "With `stream`."}},
}


def content(formats: Iterable[str]) -> dict[str, Any]:
    """What an endpoint answers whose answer is a file, as OpenAPI has it."""
    return {TYPES[one]: {"schema": {"type": "string", "format": "binary"}} for one in formats}


def file_of(
    described: Described, made: Mapping[str, Tensor], given: Mapping[str, Tensor], seed: int, item: int, suffix: str,
    spool: str,
) -> bytes:  # fmt: skip
    """One item as a file. suffix: without its dot; pcm: what a WAV file holds, without its head"""
    assert described.run is not None
    one = Samples(_rows(made), _rows(given), described.run.spec, seed, described.run.about)
    path = Path(spool) / f"{uuid.uuid4().hex}.{'wav' if suffix == 'pcm' else suffix}"
    try:
        content = one.write(path, 0, start=item).read_bytes()
    finally:
        path.unlink(missing_ok=True)
    if suffix != "pcm":
        return content
    with wave.open(io.BytesIO(content)) as sound:
        return sound.readframes(sound.getnframes())


def said_of(described: Described, given: Mapping[str, Tensor], seed: int, item: int) -> dict[str, Any]:
    """Where an item comes from: run, seed, number, what it was given."""
    assert described.run is not None
    about = described.run.about.of(seed, item)
    caption = captions_by_column(_rows(given), described.run.spec, 0)
    return {"source": "AI-generated", "run": about.run, "seed": seed, "item": item, "given": caption}


def _rows(items: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value[None] for name, value in items.items()}


def event(data: Any, name: str = "") -> bytes:
    """An event of a stream (server-sent events)."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)}\n\n".encode()
