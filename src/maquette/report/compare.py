"""Two runs or more side by side: numbers that may be compared, and a plain no where they may not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from maquette.core.errors import UserError
from maquette.core.files import ready, write_text
from maquette.core.location import shared_name
from maquette.core.needs import undertrained
from maquette.core.parse import parse_yaml
from maquette.core.run import RunFolder
from maquette.core.section import Missing
from maquette.core.shown import cleaned
from maquette.core.summary import Summary
from maquette.evaluation.results import NONE, Better, Evaluation, Metric, Settings
from maquette.evaluation.verdict import SENSES
from maquette.report import facts
from maquette.report.charts import overlaid_charts
from maquette.report.log import Log, read_log
from maquette.report.metrics import read_evaluation
from maquette.report.page import count, duration, file_size, finite, render
from maquette.report.previews import last_stage

Verdict = Literal["better", "overlap", "alone", "unlike", "unknown", "aside"]

_VERDICTS: dict[Verdict, str] = {
    "overlap": "no clear difference: the intervals overlap",
    "alone": "only one run has this number",
    "unlike": "not comparable: measured with unlike networks or on unlike data",
    "unknown": "no interval to judge by",
    "aside": "set aside: it does not see known damage to real items",
}


@dataclass(frozen=True)
class RunSide:
    """One run of a comparison.

    trained: digest of what it was trained on, the same whatever the tokens; judged: of what its numbers are about;
    judged_on: that in words. Each is "" where the run does not say.
    tokens:  whether its numbers rest on what a token is
    """

    name: str
    path: Path
    family: str
    source: str
    trained: str
    network: str
    steps: int | None
    seconds: float | None
    items: int | None
    weights_bytes: int | None
    alarms: tuple[str, ...]
    tokens: bool = False
    judged: str = ""
    judged_on: str = ""


@dataclass(frozen=True)
class MetricRow:
    """One metric over all runs; cells in the order of the runs, None where a run lacks it.

    verdict: "better" (`best` is the run whose interval lies apart from every other one, on the good side),
             "overlap" (the best cannot be told from the next), "unlike" (must not be compared), "aside" (a measure that
             does not see what it should), "alone", "unknown"
    """

    name: str
    title: str
    better: Better
    cells: tuple[Metric | None, ...]
    verdict: Verdict
    best: int | None = None

    def says(self, names: Sequence[str]) -> str:
        if self.verdict == "better" and self.best is not None:
            return f"{names[self.best]} is better: the intervals do not overlap"
        return _VERDICTS[self.verdict]

    @property
    def shown(self) -> tuple[str, ...]:
        """E.g. `2.31 (2.20 to 2.45)`; NONE where a run lacks the number."""
        return tuple(cell.value_text if cell else NONE for cell in self.cells)


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    settings: (key, value in each run) of the settings that differ among runs of one family, and of those that every
              family has (not of the model's own: one name may mean another thing)
    same_data: None where a run does not say what it was trained on; same_features: likewise, of metrics.json
    notes: what keeps these runs from being compared fairly, in sentences
    logs:  of each run
    """

    runs: tuple[RunSide, ...]
    metrics: tuple[MetricRow, ...]
    settings: tuple[tuple[str, tuple[str, ...]], ...]
    same_data: bool | None
    same_features: bool | None
    notes: tuple[str, ...]
    logs: tuple[Log, ...] = field(default=(), repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(run.name for run in self.runs)

    @property
    def header(self) -> tuple[str, ...]:
        """Titles of the columns of `rows()`."""
        return ("", *self.names, "verdict")

    def rows(self) -> list[tuple[str, ...]]:
        """The comparison in characters, under the columns of `header`: a row a metric, then a fact, then a setting."""
        out = [(row.title, *row.shown, row.says(self.names)) for row in self.metrics]
        out += [(title, *(show(run) for run in self.runs), "") for title, show in _FACTS]
        out += [(f"{key} (setting)", *values, "differs") for key, values in self.settings]
        return out

    def __str__(self) -> str:
        table = [self.header, *self.rows()]
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]
        return cleaned("\n".join([*lines, *(f"Note: {note}" for note in self.notes)]))

    def save(self, path: str | Path) -> Path:
        """Writes it as one self-contained HTML page."""
        return _write(self, Path(path))


_FACTS: tuple[tuple[str, Callable[[RunSide], str]], ...] = (
    ("family", lambda run: run.family),
    ("data", lambda run: run.source or NONE),
    ("judged on", lambda run: run.judged_on or NONE),
    ("training time", lambda run: duration(run.seconds)),
    ("steps", lambda run: count(run.steps)),
    ("items seen", lambda run: count(run.items)),
    ("weights", lambda run: file_size(run.weights_bytes)),
    ("alarms", lambda run: ", ".join(run.alarms) or "none"),
)


def compare(folders: Sequence[RunFolder]) -> Comparison:
    """The runs side by side. Needs no model and no data: only what the folders hold."""
    if len(folders) < 2:
        raise UserError("A comparison needs two runs or more.", "maquette compare runs/a runs/b")
    logs = [read_log(folder) for folder in folders]
    names = _names(folders)
    found = [read_evaluation(folder, facts.quoted(shared_name(str(folder.path)))) for folder in folders]
    runs = tuple(
        _side(folder, name, log, evaluation)
        for folder, name, log, evaluation in zip(folders, names, logs, found, strict=True)
    )
    same_data = _same([run.trained for run in runs])
    same_features = _same([run.network for run in runs])
    return Comparison(
        runs=runs,
        metrics=_metric_rows(runs, found),
        settings=_settings([parse_yaml(facts.recipe_words(f, f.recipe()), str(f.recipe_file)) for f in folders]),
        same_data=same_data,
        same_features=same_features,
        notes=tuple(_notes(runs, found, same_data, same_features)),
        logs=tuple(logs),
    )


def _write(comparison: Comparison, out: Path) -> Path:
    """The comparison as one self-contained HTML page."""
    charts = overlaid_charts(comparison.names, comparison.logs)
    folders = [RunFolder(run.path) for run in comparison.runs]
    page = render(
        "comparison.html.j2",
        title=" / ".join(comparison.names),
        comparison=comparison,
        facts=[(title, [show(run) for run in comparison.runs]) for title, show in _FACTS],
        senses=SENSES,
        scales=[_shared_scale(row) for row in comparison.metrics],
        previews=[last_stage(folder, folder.spec()) for folder in folders],
        curves={key: curve for key, (curve, _) in charts.items()},
        charts=finite({key: chart for key, (_, chart) in charts.items()}),
    )
    return write_text(ready(Path(out)), page)


def _names(folders: Sequence[RunFolder]) -> list[str]:
    """Folder names, with as much of the path before them as it takes to tell them apart."""
    paths = [folder.path.resolve() for folder in folders]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{path.name} ({index + 1})" for index, path in enumerate(paths)]


def _side(folder: RunFolder, name: str, log: Log, evaluation: Evaluation | Missing) -> RunSide:
    recipe = folder.recipe()
    settings = evaluation.settings if isinstance(evaluation, Evaluation) else None
    data = facts.data_of(folder)
    return RunSide(
        name=name,
        path=folder.path,
        family=recipe.family,
        source=facts.source_name(data.get("source") or recipe.data.source or ""),
        trained=_trained(data),
        network=settings.network if settings else "",
        steps=log.steps,
        seconds=log.seconds,
        items=log.items,
        weights_bytes=folder.weights_file.stat().st_size if folder.weights_file.is_file() else None,
        alarms=tuple(alarm.name for alarm in log.alarms),
        tokens=bool(settings and settings.features == "tokens"),
        judged=_judged(settings) if settings else "",
        judged_on=settings.judged_on if settings else "",
    )


def _trained(data: Summary) -> str:
    """What a run was trained on: its digest; where all is characters, their amounts, which no tokenizer changes."""
    amounts = ("characters", "train_characters", "test_characters", "distinct_characters")
    columns = sorted(data.get("columns", {}).items())
    counted = [(name, *(part.get(key) for key in amounts)) for name, part in columns]
    if not counted or not all(any(n is not None for n in part[1:]) for part in counted):
        return data.get("fingerprint", "")
    return str((counted, data.get("train"), data.get("test")))


def _judged(settings: Settings) -> str:
    """What numbers are about: the held-out data itself where it has a digest of its own, in whatever tokens."""
    return settings.held_out or f"{settings.fingerprint} {settings.split}"


def _same(values: Sequence[str]) -> bool | None:
    return None if not all(values) else len(set(values)) == 1


def _metric_rows(runs: Sequence[RunSide], found: Sequence[Evaluation | Missing]) -> tuple[MetricRow, ...]:
    rows = []
    known = [{m.name: m for m in part.metrics} if isinstance(part, Evaluation) else {} for part in found]
    for name in dict.fromkeys(name for metrics in known for name in metrics):
        cells = tuple(metrics.get(name) for metrics in known)
        have = [i for i, cell in enumerate(cells) if cell is not None]
        first = cells[have[0]]
        assert first is not None
        rulers = {(cells[i].features, runs[i].network if cells[i].features else "") for i in have}  # type: ignore[union-attr]
        # A number about other held-out items is another number, even with the same network.
        data = {runs[i].judged for i in have}
        verdict: Verdict
        best = None
        if len(have) < 2:
            verdict = "alone"
        elif len(rulers) > 1 or len(data) > 1:
            verdict = "unlike"
        elif any(cell.missed for cell in cells if cell is not None):
            verdict = "aside"
        else:
            verdict, best = _judge(cells, first.better)
        rows.append(MetricRow(name, first.title, first.better, cells, verdict, best))
    return tuple(rows)


def _judge(cells: Sequence[Metric | None], better: Better) -> tuple[Verdict, int | None]:
    """Which cell is best, and whether its interval lies apart from all the others."""
    known = [(i, cell) for i, cell in enumerate(cells) if cell is not None]
    if any(cell.low is None or cell.high is None for _, cell in known):
        return "unknown", None

    def badness(cell: Metric) -> tuple[float, float, float]:
        """Value and interval so that less is better; better than the floor is no better than the floor."""
        assert cell.low is not None and cell.high is not None
        value, low, high = cell.value, cell.low, cell.high
        if better == "floor":
            floor = cell.floor or 0.0
            ends = (abs(low - floor), abs(high - floor))
            return abs(value - floor), 0.0 if low <= floor <= high else min(ends), max(ends)
        sign = -1 if better == "higher" else 1
        least = -math.inf if cell.floor is None else sign * cell.floor
        low, high = sorted((sign * low, sign * high))
        return max(sign * value, least), max(low, least), max(high, least)

    ranked = sorted(((badness(cell), i) for i, cell in known))
    (_, _, high), best = ranked[0]
    apart = all(high < low for (_, low, _), _ in ranked[1:])
    return ("better", best) if apart else ("overlap", None)


def _notes(
    runs: Sequence[RunSide],
    found: Sequence[Evaluation | Missing],
    same_data: bool | None,
    same_features: bool | None,
) -> list[str]:
    notes = []
    for run, evaluation in zip(runs, found, strict=True):
        if isinstance(evaluation, Missing):
            notes.append(f"{run.name}: {evaluation.why} {evaluation.command}")
        if words := undertrained(RunFolder(run.path), shared_name(str(run.path))):
            notes.append(f"{run.name}: {words}")
    if same_data is False:
        notes.append(
            "The runs were trained on different data, so their numbers answer different questions, and what was held "
            "out of one may have been learned by another."
        )
    elif same_data is None:
        notes.append("Not every run says what data it was trained on; whether it is the same is unknown.")
    judged = {run.judged: run for run in runs if run.judged}
    if len(judged) > 1:
        places = "; ".join(f"{run.name}: {run.judged_on}" for run in runs if run.judged)
        notes.append(f"They were judged on different data, so their numbers cannot be compared ({places}).")
    if same_features is False and all(run.tokens for run in runs):
        notes.append(
            "The runs have different tokenizers: numbers per token cannot be compared, those per character can."
        )
    elif same_features is False:
        notes.append(
            "The numbers were measured with different feature networks. A Fréchet distance in one is not a Fréchet "
            "distance in another; nothing follows from which is smaller."
        )
    titles: dict[str, set[str]] = {}
    for evaluation in found:
        for metric in evaluation.metrics if isinstance(evaluation, Evaluation) else ():
            titles.setdefault(metric.name, set()).add(metric.title)
    if any(len(titles.get(name, ())) > 1 for name in ("bits_per_char", "nats_per_char")):
        notes.append("The losses were measured with unlike windows: a longer one gives each token more to go by.")
    sizes = {evaluation.settings.samples for evaluation in found if isinstance(evaluation, Evaluation)}
    if len(sizes) > 1:
        notes.append(f"Unlike numbers of samples were measured ({', '.join(map(count, sorted(sizes)))}).")
    return notes


LISTED = 8  # numbers of a setting that are shown
PLANNED = ("train.course",)  # how a run kept its time, which nobody set


def _settings(recipes: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Settings that differ, by their dotted keys; see Comparison."""
    flat = [{key: value for key, value in _flatten(recipe) if key not in PLANNED} for recipe in recipes]
    families = [one.pop("family") for one in flat]

    def tells(key: str, values: Sequence[str]) -> bool:
        if any(len({v for v, f in zip(values, families, strict=True) if f == family}) > 1 for family in families):
            return True
        return not key.startswith(("model.", "about")) and NONE not in values and len(set(values)) > 1

    keys = dict.fromkeys(key for one in flat for key in one)
    rows = [(key, tuple(_setting(one[key]) if key in one else NONE for one in flat)) for key in keys]
    return tuple((key, values) for key, values in rows if tells(key, values))


def _flatten(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, part in value.items():
        name = f"{prefix}{key}"
        out += _flatten(part, f"{name}.") if isinstance(part, Mapping) else [(name, part)]
    return out


def _setting(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple) and len(value) > LISTED:
        return f"{_setting(value[:LISTED])}, ... ({len(value)} in all)"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@dataclass(frozen=True)
class Dot:
    """A run's value on a scale that the row's runs share, in percent of its length."""

    run: int
    value: float
    low: float | None
    high: float | None


def _shared_scale(row: MetricRow) -> list[Dot]:
    """Empty where the runs must not be put on one scale."""
    if row.verdict in ("unlike", "alone"):
        return []
    known = [cell for cell in row.cells if cell is not None]
    ends = [part for cell in known for part in (cell.value, cell.low, cell.high) if part is not None]
    margin = (max(ends) - min(ends)) * 0.08 or abs(ends[0]) * 0.1 or 1.0
    left, right = min(ends) - margin, max(ends) + margin

    def at(part: float | None) -> float | None:
        return None if part is None else round(100 * (part - left) / (right - left), 2)

    return [
        Dot(i, at(cell.value) or 0.0, at(cell.low), at(cell.high))
        for i, cell in enumerate(row.cells)
        if cell is not None
    ]
