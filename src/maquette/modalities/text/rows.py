"""Whether a file that is read as one long text looks like a text a line, or a table; and how it is read as that."""

from __future__ import annotations

from collections import Counter

import numpy as np

from maquette.data.separated import sheet_of

SAMPLE = 2**17  # characters that are looked at
FEW = 20  # lines, below which nothing is said
NEARLY_ALL, MOST = 0.95, 0.8  # shares of the lines
SHORT, SENTENCE = 40, 300  # characters: of words and names by their median; of sentences, 95 of 100 of them
ENDS = ".!?…。！？\"'”’»)"  # of sentences  # noqa: RUF001


def rows_of(text: str) -> str | None:
    """What there is to say of a text of many lines that are alike; None: it is simply a long text."""
    lines = text[:SAMPLE].split("\n")[: -1 if len(text) > SAMPLE or text.endswith("\n") else None]
    full = [line for line in lines if line.strip()]
    if len(full) < FEW:
        return None
    tabs, many = Counter(line.count("\t") for line in full).most_common(1)[0]
    if tabs and many >= NEARLY_ALL * len(full):
        header = sheet_of("\n".join(full), "").header
        return (
            f"Nearly all lines hold {tabs + 1} parts with a tab between: as a table of columns they are read with "
            f"--target {header[1]} --given {header[0]}."
        )
    sizes = [len(line) for line in full]
    sentences = sum(line.rstrip()[-1] in ENDS for line in full) >= MOST * len(full)
    alike = np.median(sizes) <= SHORT or (sentences and np.quantile(sizes, NEARLY_ALL) <= SENTENCE)
    bare = sum(not line[0].isspace() for line in full) >= NEARLY_ALL * len(lines)  # neither blank lines nor indented
    if not (alike and bare):
        return None
    return (
        f"The lines are short and alike (half of them at most {np.median(sizes):.0f} characters): if each is a text of "
        "its own, read them with --items lines."
    )
