"""Specifications of the kinds that ship, for tests."""

from __future__ import annotations

from maquette.core.spec import ColumnSpec, DataSpec
from maquette.testing import column_spec, data_spec


def image_spec(channels: int, height: int, width: int, classes: int = 0) -> DataSpec:
    """p(image) or, with classes, p(image | label)."""
    return data_spec(column_spec("image", channels, height, width), **_label(classes))


def text_spec(
    tokens: int = 16, framed: bool = True, classes: int = 0, source: bool = False, vocab: int = 20
) -> DataSpec:
    """p(text), p(text | label) with classes, p(text | source) with a source: i64[tokens] over `vocab` tokens."""
    text = column_spec("text", tokens, framed=framed, vocab=vocab, unit="char")
    return data_spec(text, **({"source": text} if source else {}), **_label(classes))


def _label(classes: int) -> dict[str, ColumnSpec]:
    return {"label": column_spec("label", classes=classes)} if classes else {}
