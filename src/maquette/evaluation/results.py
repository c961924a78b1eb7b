"""What an evaluation found, as typed data: metrics with intervals and floors, tables, warnings."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maquette.core.errors import UserError
from maquette.core.files import ready, write_json
from maquette.core.measure import Better
from maquette.core.parse import brief, read_json
from maquette.core.shown import cleaned
from maquette.evaluation.verdict import SENSES, Verdict, missed, standing, told_apart, verdict

HEADER = ("Measure", "Value (95% interval)", "Floor: real against real", "Verdict")
"""Titles of the columns of `Evaluation.rows()`."""

# Punctuation that a typist would take for hyphens.
NONE, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"

# How numbers of a unit are written; those of every other unit have three significant digits.
_FORMATS = {
    "share": "%", "units": ",.0f", "classes": ",.0f", "nats": ".2f", "dB": ".2f", "points": ".1f",
    "nats/token": ".4f", "nats/character": ".4f", "bits/character": ".4f", "characters": ",.0f",
}  # fmt: skip


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits as people write them: 1,853 · 57.5 · 0.291 · 2.10e-05."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e7 or size < 1e-4:
        return f"{value:.{digits - 1}e}".replace("-", MINUS, 1) if value < 0 else f"{value:.{digits - 1}e}"
    places = max(0, digits - 1 - math.floor(math.log10(size)))
    return f"{value:,.{places}f}".replace("-", MINUS)


def _share(value: float) -> str:
    """57.5% · 100% · 0.046%: a small share keeps what tells it from none at all."""
    size = abs(value)
    if size == 0 or size >= 0.9995:
        return f"{100 * value:.0f}%"
    return f"{100 * value:.1f}%" if size >= 0.001 else f"{100 * value:.1g}%" if size >= 1e-5 else "<0.001%"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Metric(_Frozen):
    """One number, how sure of it we are, and what real data would score.

    name:      key, e.g. "frechet"; title: for people, naming the features it was measured with
    low, high: bootstrap interval at `confidence`; None where none could be made
    floor:     the same measure on real training items in place of generated ones, at the same sizes
    gap_low, gap_high: interval of value - floor, of what was resampled together where it could be
    matters:   the smallest difference to the floor that matters; None where nobody knows
    missed:    known damage to real items that the measure should see, and does not on this data: it is set aside
    better:    "lower", "higher"; "floor": as near to the floor as possible; "no more": than the floor, and less is
               neither better nor worse
    features:  the network of numbers that live in a feature space, "tokens" of those that rest on what a token is
    unit:      "" (a bare number), "share" (0..1, shown as %), "points" (0..100), "nats", "bits/dim", "dB", ...
    p_value:   of the hypothesis "generated and real are alike", for tests
    asks:      what the measure asks, for somebody who has never trained a generative model
    reading:   what this value says, in a sentence
    """

    name: str
    title: str
    value: float
    low: float | None = None
    high: float | None = None
    confidence: float = 0.95
    floor: float | None = None
    floor_low: float | None = None
    floor_high: float | None = None
    gap_low: float | None = None
    gap_high: float | None = None
    matters: float | None = None
    missed: tuple[str, ...] = ()
    better: Better = "lower"
    features: str | None = None
    unit: str = ""
    p_value: float | None = None
    n_real: int = 0
    n_fake: int = 0
    asks: str = ""
    reading: str = ""

    def show(self, value: float | None) -> str:
        """A number in this metric's unit, the same in the terminal, the report, the comparison and the model card."""
        if value is None:
            return ""
        if not math.isfinite(value) or self.unit not in _FORMATS:
            return number(value)
        shown = _share(value) if self.unit == "share" else f"{value:{_FORMATS[self.unit]}}"
        return shown.replace("-", MINUS)

    @property
    def unit_text(self) -> str:
        """What stands behind the value; "" where the title or the % sign says it already."""
        return "" if self.unit in ("share", "units", "classes", "points") else self.unit

    @property
    def value_text(self) -> str:
        """E.g. `2.31 (2.20 to 2.45)`."""
        return self._with_interval(self.value, self.low, self.high)

    @property
    def interval_text(self) -> str:
        """E.g. `2.20 to 2.45`; "" where there is none."""
        return self._interval(self.low, self.high)

    @property
    def floor_text(self) -> str:
        return self._with_interval(self.floor, self.floor_low, self.floor_high)

    def _with_interval(self, value: float | None, low: float | None, high: float | None) -> str:
        if value is None:
            return ""
        shown = f"{self.show(value)} {self.unit_text}".rstrip(" ")
        return f"{shown} ({interval})" if (interval := self._interval(low, high)) else shown

    def _interval(self, low: float | None, high: float | None) -> str:
        return "" if low is None or high is None else f"{self.show(low)} to {self.show(high)}"


class Settings(_Frozen):
    """What it takes to repeat the evaluation, and what the numbers rest on.

    nouns:    what one item, and several, are called; column: the target that was judged, several separated by commas
    features, network, feature_dim: what items were compared with; unit and sampled are of sequences
    split:    the split that was held out, where it is not the test split: one that the data names, such as "val"
    own_data: whether this is the data that the model was trained on
    """

    nouns: tuple[str, str] = ("item", "items")
    column: str = ""
    samples: int
    seed: int
    features: str = ""
    network: str = Field("", description="identity of the feature network or the tokens: kind, version, digest")
    feature_dim: int = 0
    unit: str = Field("", description="what a token is: char, bpe or unigram")
    sampled: str = Field("", description="how the sequences were made")
    held_out: str = Field("", description="digest of what was held out, the same however it was prepared")
    classifier: str | None = Field(None, description="identity of the classifier behind every class number")
    classifier_accuracy: float | None = Field(None, description="its accuracy on held-out real items")
    source: str
    split: str = ""
    own_data: bool = True
    fingerprint: str
    n_train: int
    n_test: int
    conditional: bool
    resamples: int
    seconds: float = 0.0

    @property
    def judged_on(self) -> str:
        """What real data the numbers are about, by the name of its source alone: `held-out sounds of birds`."""
        what = self.nouns[1]
        name = Path(self.source).name or self.source
        if not self.own_data:
            return f"{what} of {name}, which is not the data that the model was trained on"
        if self.split:
            return f"{what} of the split '{self.split}' of {name.removesuffix(f': {self.split}')}"
        return f"held-out {what} of {name}"


class Evaluation(_Frozen):
    """Everything that `evaluate` found. `save` writes metrics.json; `Evaluation.load` reads it back.

    details:  tables of measures by name ("per_class", "copies", ...), each a list of rows
    warnings: what makes numbers less sure, or kept them from being measured
    notes:    how they were measured: signatures, windows, what stands for a character
    """

    metrics: tuple[Metric, ...]
    details: dict[str, list[dict[str, Any]]] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    settings: Settings

    def __getitem__(self, name: str) -> Metric:
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(f"no metric {name!r}; this evaluation has {', '.join(m.name for m in self.metrics)}")

    def __contains__(self, name: object) -> bool:
        return any(metric.name == name for metric in self.metrics)

    def names(self) -> Iterator[str]:
        return (metric.name for metric in self.metrics)

    @property
    def verdict(self) -> Verdict:
        """What it all comes to: what the worst measure says."""
        return verdict(self.metrics, self.settings.nouns[1])

    @property
    def shown(self) -> tuple[Metric, ...]:
        """The metrics without those that were set aside."""
        return tuple(metric for metric in self.metrics if not metric.missed)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What makes the numbers less sure, and which of them were set aside."""
        aside = (f"Set aside: {m.title} ({m.value_text}): {missed(m)}." for m in self.metrics if m.missed)
        return (*self.warnings, *aside)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """The table in words, one row a metric that is shown, under the columns of HEADER."""
        items, apart = self.settings.nouns[1], told_apart(self.metrics)
        return [
            (m.title, m.value_text, m.floor_text, standing(m, items, apart) or SENSES[m.better]) for m in self.shown
        ]

    def save(self, path: Path) -> Path:
        return write_json(ready(Path(path)), self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> Evaluation:
        try:
            return cls.model_validate(read_json(Path(path)))
        except ValidationError as error:
            problem = f"'{path}' is not an evaluation: {brief(error)}."
            raise UserError(problem, "Run `maquette evaluate` again.") from None

    def __str__(self) -> str:
        table = [HEADER, *self.rows()]
        widths = [max(len(row[i]) for row in table) for i in range(len(HEADER))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]
        lines.insert(1, "  ".join("-" * w for w in widths))
        s = self.settings
        lines = [self.verdict.words, "", *lines]
        lines += ["", f"{s.samples:,} samples, seed {s.seed}, judged on {s.judged_on}."]
        lines += [f"Note: {note}" for note in (*self.remarks, *self.notes)]
        return cleaned("\n".join(lines))

    def _repr_html_(self) -> str:
        def row(cells: tuple[str, ...], tag: str, tip: str = "") -> str:
            inside = "".join(f"<{tag} style='text-align:left'>{html.escape(c)}</{tag}>" for c in cells)
            return f"<tr title='{html.escape(tip, quote=True)}'>{inside}</tr>"

        body = "".join(row(cells, "td", m.reading) for cells, m in zip(self.rows(), self.shown, strict=True))
        notes = "".join(f"<p><em>{html.escape(note)}</em></p>" for note in (*self.remarks, *self.notes))
        said = f"<p><strong>{html.escape(self.verdict.words)}</strong></p>"
        return cleaned(f"{said}<table><thead>{row(HEADER, 'th')}</thead><tbody>{body}</tbody></table>{notes}")
