"""Form: whether a text keeps the layout that its class has in the data.

Found from the data: a class has a form where at least 95 % of its training texts have the same number of lines
and the same number of characters in each (a quatrain of Tang verse has four lines of five).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAME = 0.95
LEAST = 20  # texts of a class, below which agreement may be chance

Layout = tuple[int, ...]


def layout(text: str) -> Layout:
    """Characters in each line; empty lines and spaces around a line do not count."""
    return tuple(len(line.strip()) for line in text.splitlines() if line.strip())


@dataclass(frozen=True)
class Forms:
    """by_class: the layout of each class that has one, by the number of the class."""

    by_class: dict[int, Layout]

    def kept(self, texts: Sequence[str], classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the texts whose class has a form: whether each keeps it, bool[k], and its class, i64[k]."""
        known = [(layout(text) == self.by_class[int(c)], int(c)) for text, c in zip(texts, classes, strict=True)
                 if int(c) in self.by_class]  # fmt: skip
        kept, of = zip(*known, strict=True) if known else ((), ())
        return np.array(kept, dtype=bool), np.array(of, dtype=np.int64)


def find_forms(texts: Sequence[str], classes: np.ndarray) -> Forms | None:
    """The forms of the classes of training texts; None where no class has one.

    Texts of one line all of one length are a form too; the layout of empty texts is none.
    """
    groups: dict[int, Counter[Layout]] = {}
    for text, c in zip(texts, classes, strict=True):
        groups.setdefault(int(c), Counter())[layout(text)] += 1
    found = {}
    for c, layouts in groups.items():
        most, n = layouts.most_common(1)[0]
        if most and layouts.total() >= LEAST and n >= SAME * layouts.total():
            found[c] = most
    return Forms(found) if found else None


def form_text(form: Layout) -> str:
    """E.g. `4 lines of 5`."""
    if len(set(form)) == 1:
        return f"{len(form)} line{'' if len(form) == 1 else 's'} of {form[0]}"
    return "lines of " + ", ".join(map(str, form))
