"""Which files are sounds."""

from __future__ import annotations

from maquette.modalities.audio.opening import SUFFIX_FORMATS, format_of

SUFFIXES = tuple(SUFFIX_FORMATS)


def claims(name: str, head: bytes) -> bool:
    """Whether a file is a sound: by its suffix, or by how it begins."""
    return format_of(head) is not None if head else name.lower().endswith(SUFFIXES)
