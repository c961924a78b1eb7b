"""Which files are music."""

from __future__ import annotations

MIDI, ABC = (".mid", ".midi", ".kar"), (".abc", ".abc.gz")
SUFFIXES = (*MIDI, *ABC)


def claims(name: str, head: bytes) -> bool:
    """Whether a file is music: by its suffix, or, of MIDI, by how it begins."""
    return is_midi(head) if head else name.lower().endswith(SUFFIXES)


def is_midi(data: bytes) -> bool:
    """Whether it begins as MIDI does."""
    return data.startswith(b"MThd")
