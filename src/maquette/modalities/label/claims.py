"""The one rule of what a label is: a few short values that come again and again."""

from __future__ import annotations

from collections.abc import Sequence

MOST_CLASSES = 1000
MOST_NUMBERS = 100  # whole numbers of more values are a quantity
ROWS_A_CLASS = 10  # fewer rows than this a value, and a column is no label
ROWS_ASKED = 5  # where the column is named `label`, or is given
LONGEST = 100  # characters of the name of a class
MOST_WORDS = 3  # on average: names of classes are short, and a description of many an item may be the same


def claims_values(name: str, values: Sequence[object], role: str, category: bool) -> float:
    """3 for what is classes by its nature, 2 for few values that come again and again, else 0; see data/typing.py."""
    if role == "target":
        return 0.0  # what is made of values is written
    asked = category or name == "label" or role == "given"
    rows = 2 if category else ROWS_ASKED if asked else ROWS_A_CLASS
    most = min(MOST_CLASSES, max(2, len(values) // rows))
    found: set[str] = set()
    for value in values:
        bare = "" if value is None else str(value).strip()
        if bare and bare not in found:
            found.add(bare)
            if len(found) > most or len(bare) > LONGEST or "\n" in bare or is_fraction(bare):
                return 0.0
    if len(found) < (1 if asked else 2):
        return 0.0
    if category:
        return 3.0
    if all(map(is_whole, found)):
        return 2.0 if len(found) <= MOST_NUMBERS or name == "label" else 0.0
    return 2.0 if sum(len(value.split()) for value in found) <= MOST_WORDS * len(found) else 0.0


def is_whole(text: str) -> bool:
    """Whether a value is a whole number, as it is written."""
    return text.isascii() and text.removeprefix("-").isdigit() and len(text) < 19


def is_fraction(text: str) -> bool:
    """Whether a value is a number that is written with a point or an exponent."""
    if is_whole(text) or not any(c.isdigit() for c in text):
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True
