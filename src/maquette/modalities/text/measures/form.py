"""Form: whether a text keeps the layout that its class has in the data.

Found from the data: a class has a form where at least 95 % of its training texts have the same number of lines
and the same number of characters in each (a quatrain of Tang verse has four lines of five).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel

from maquette.core.measure import Found, Measure
from maquette.core.spec import ClassSpec
from maquette.core.table import Table
from maquette.evaluation.bootstrap import mean
from maquette.evaluation.evidence import Evidence
from maquette.modalities.text.measures.beside import written
from maquette.modalities.text.measures.read import texts_of

SAME = 0.95
LEAST = 20  # texts of a class, below which agreement may be chance
READ = 20_000  # texts of a split

Layout = tuple[int, ...]


def layout(text: str) -> Layout:
    """Characters in each line; empty lines and spaces around a line do not count."""
    return tuple(len(line.strip()) for line in text.splitlines() if line.strip())


class FormRow(BaseModel):
    """One class of texts and the layout that its texts have in the data.

    form:     in words, e.g. "4 lines of 12"
    n_fake:   samples that were asked to be of this class; kept: share of them with that layout
    real:     the same share of held-out texts
    """

    label: str
    form: str
    n_fake: int
    kept: float
    real: float | None = None


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


# -- the measure ---------------------------------------------------------------------------------------


def _of(evidence: Evidence) -> Found | None:
    """Share of the samples that keep the layout of their class, where the data has such layouts."""
    found = written(evidence) if evidence.spec.framed else None
    if found is None:
        return None
    given = evidence.generator.spec.givens(ClassSpec)
    label = next(iter(given), None)
    forms = find_forms(*_labelled(evidence, evidence.dataset.train, label))
    if forms is None:
        return None
    classes = given[label].classes if label else ("",)
    asked = evidence.sample.given[label].cpu().numpy() if label else np.zeros(len(found.made), dtype=np.int64)
    kept, of = forms.kept(found.made, asked)
    real, real_of = forms.kept(*_labelled(evidence, evidence.dataset.test, label))
    if not len(kept):
        return None
    evidence.details["forms"] = [
        FormRow(
            label=classes[c],
            form=form_text(form),
            n_fake=int((of == c).sum()),
            kept=float(kept[of == c].mean()),
            real=float(real[real_of == c].mean()) if (real_of == c).any() else None,
        )
        for c, form in sorted(forms.by_class.items())
        if (of == c).any()
    ]
    value = mean(kept.astype(np.float64), evidence.rng("form"))
    floor = evidence.attempt("form of real text", lambda: mean(real.astype(np.float64), evidence.rng("form", "floor")))
    title = "Keeps the form of its class" if label else "Keeps the form of the data"
    return Found(value, floor, len(real), len(kept), title=title)


def _labelled(evidence: Evidence, table: Table, label: str | None) -> tuple[list[str], np.ndarray]:
    """Texts of a split and the class of each."""
    rows = np.sort(evidence.rng("forms").permutation(len(table))[:READ])
    texts = texts_of(table, evidence.column, rows)
    return texts, (np.zeros(len(rows), np.int64) if label is None else table.columns[label].take(rows).numpy())


MEASURES = (
    Measure(
        name="form", title="Keeps the form of its class", better="higher", unit="share", of=_of, place=55,
        sees=("form",),
        asks="In this data a class has a layout: so many lines of so many characters. The share of samples that keep "
        "the layout of the class they were asked for.",
        says=lambda m: (
            f"{m.show(m.value)} of the samples keep the lines and lengths of the form asked for; of real texts, "
            f"{m.show(m.floor)}."
        ),
    ),
)  # fmt: skip
