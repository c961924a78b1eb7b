"""Turns columns of text into columns of classes, where that is what they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maquette.data.text import shown

MOST_CLASSES = 1000
MOST_NUMBERS = 100
MISSING = "(missing)"


@dataclass(frozen=True)
class Classes:
    """names: of the classes, sorted (whole numbers by value); codes: i32[N], the class of each row."""

    names: tuple[str, ...]
    codes: np.ndarray


def classes(values: dict[str, list[str | None]], notes: list[str]) -> dict[str, Classes]:
    """Label columns among `values`; the others are named in `notes`. A column without any value is no column."""
    made = {}
    for column, texts in values.items():
        found = {text for text in texts if text is not None}
        name = shown(column)
        if not found or column == "image":
            continue
        if any(_is_fraction(text) for text in found):
            notes.append(f"Column '{name}' holds numbers with fractions: not a label, not used.")
            continue
        numbers = all(_is_whole(text) for text in found)
        most = MOST_NUMBERS if numbers and column != "label" else MOST_CLASSES
        if len(found) > min(most, max(2, len(texts) // 2)):
            notes.append(f"Column '{name}' has {len(found):,} different values: not a label, not used.")
            continue
        if len(found) == 1 and column != "label":
            notes.append(f"Column '{name}' has one value only: not used.")
            continue
        names = sorted(found, key=int) if numbers else sorted(found)
        missing = len(texts) - sum(text is not None for text in texts)
        if missing:
            names.append(MISSING)
            notes.append(f"{missing:,} pictures have no '{name}': they form the class '{MISSING}'.")
        code = {text: i for i, text in enumerate(names)}
        codes = np.array([code[MISSING if text is None else text] for text in texts], np.int32)
        made[name] = Classes(_distinct(names), codes)
    return made


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Names as they can be shown, still different from one another."""
    made: list[str] = []
    for name in map(shown, names):
        made.append(name if name not in made else f"{name} ({len(made)})")
    return tuple(made)


def _is_whole(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit() and len(text) < 19


def _is_fraction(text: str) -> bool:
    if _is_whole(text) or not any(c.isdigit() for c in text):
        return False
    try:
        return float(text) != int(float(text)) or "." in text or "e" in text.lower()
    except (ValueError, OverflowError):
        return False
