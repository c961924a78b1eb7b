"""Which files and columns are texts."""

from __future__ import annotations

from collections.abc import Sequence

from maquette.data.decode import looks_like_characters
from maquette.modalities.text.tokens import SUFFIXES

CALLED = ("text", "texts", "caption", "captions", "prompt", "description", "sentence", "summary")


def claims(name: str, head: bytes) -> bool:
    """Whether a file is a text: by its name, or by how it begins."""
    return looks_like_characters(head) if head else name.lower().endswith(SUFFIXES)


def claims_values(name: str, values: Sequence[object], role: str, category: bool) -> float:
    """2.5 for captions and the like by their name; else 1, and 0.5 for numbers; see data/typing.py."""
    some = False
    for value in values:
        if value is not None and (bare := str(value).strip()):
            some = True
            try:
                float(bare)
            except ValueError:
                return 2.5 if name.lower() in CALLED else 1.0
    return 0.5 if some else 0.0
