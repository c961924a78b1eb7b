"""Plain facts about a run: what it is, the data, the networks, the versions, and how to make it again."""

from __future__ import annotations

import platform
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.core.files import expanded
from maquette.core.generator import Generator
from maquette.core.modality import noun
from maquette.core.recipe import Recipe
from maquette.core.run import RunFolder
from maquette.core.spec import DataSpec, TokenSpec
from maquette.core.summary import Summary
from maquette.core.table import Dataset
from maquette.evaluation.results import NONE
from maquette.report.log import Log
from maquette.report.page import TIMES, count
from maquette.report.show import hook

UNSEEN = "never seen in training"
PACKAGES = ("maquette", "torch", "numpy", "scipy", "scikit-learn", "safetensors", "pillow", "accelerate")
LISTED = 100  # of what was left out

# A path from the root of a disk, in quotes (where it may hold spaces) or without.
_QUOTED = re.compile(r"'(?:/|~/|[A-Za-z]:\\)([^']*)'")
_BARE = re.compile(r"(?<![\w.:/<'])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\'\",;:()]+){2,}[/\\]?")


@dataclass(frozen=True)
class Fact:
    """A name and a value, as a row of a list."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Net:
    """One network of the model and its number of parameters. kept: sampling needs it."""

    name: str
    parameters: int
    kept: bool


@dataclass(frozen=True)
class DataFacts:
    """The data, as it was found when it was prepared.

    classes: (name, number of items of it) in the training split, by column
    left_out: (name, reason), the first of them
    notes:   what was thought worth saying, warnings first
    """

    source: str = ""
    fingerprint: str = ""
    facts: list[Fact] = field(default_factory=list)
    classes: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    left_out_count: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def left_out_words(self) -> str:
        """E.g. `3 items`; "" where nothing was left out."""
        n = self.left_out_count
        return f"{n:,} item{'' if n == 1 else 's'}" if n else ""


def networks(generator: Generator) -> list[Net]:
    """The networks of a model, with their numbers of parameters."""
    kept = generator.model.kept
    nets = [
        Net(name, sum(p.numel() for p in net.parameters()), name in kept)
        for name, net in generator.model.named_children()
    ]
    return [net for net in nets if net.parameters]


def shape_words(spec: DataSpec, name: str) -> str:
    """What one item of a column is, e.g. `28 x 28 grey`, or its kind and its shape."""
    column = spec.columns[name]
    words = hook(column.kind, "shape_words")
    return str(words(column)) if words else f"{column.kind} {f' {TIMES} '.join(map(str, column.shape))}".strip()


def items_words(spec: DataSpec) -> str:
    """What training goes through: items, by the word for them, or windows of long ones."""
    if len(spec.target) > 1:
        return "items"
    column = spec.columns[spec.target[0]]
    return "windows" if isinstance(column, TokenSpec) and not column.framed else noun(column.kind)


# -- names instead of paths --------------------------------------------------------------------------


def source_name(source: str) -> str:
    """What the data is called: of a path its last part; `hf:owner/name` and the like as they are."""
    return source if ":" in source.partition("/")[0] else Path(source).name or source


def names_only(words: str) -> str:
    """The same with the last part of each absolute path in its place: where a file lies is its owner's business."""
    words = _QUOTED.sub(lambda match: f"'{Path(match[1]).name}'", words)
    return _BARE.sub(lambda match: Path(match[0]).name, words)


def recipe_words(folder: RunFolder, recipe: Recipe) -> str:
    """The run's recipe as YAML, with names instead of absolute paths."""
    try:
        words = folder.recipe_file.read_text(encoding="utf-8")
    except OSError:
        words = recipe.dump()
    paths = {value for value in _strings(recipe.model_dump(mode="json")) if expanded(value).is_absolute()}
    for path in sorted(paths, key=len, reverse=True):
        words = words.replace(path, Path(path).name)
    return words


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [found for part in parts for found in _strings(part)]


# -- the data ----------------------------------------------------------------------------------------


def data_of(folder: RunFolder, dataset: Dataset | None = None) -> Summary:
    """data.json, or what the data at hand says when the run has none; empty where there is neither."""
    try:
        return folder.data()
    except UserError:
        if dataset is None:
            return {}
        known: Any = {"source": dataset.source, "fingerprint": dataset.fingerprint, **dataset.summary}
        return known


def data_facts(
    folder: RunFolder, spec: DataSpec, dataset: Dataset | None = None, for_sharing: bool = False
) -> DataFacts:  # fmt: skip
    """data.json (Dataset.summary) in words.

    for_sharing: without names of files, and without notes, which may hold some
    """
    summary = data_of(folder, dataset)
    left_out = [(names_only(part["name"]), part["reason"]) for part in summary.get("left_out", ())]
    notes = [names_only(words) for words in (*summary.get("warnings", ()), *summary.get("notes", ()))]
    return DataFacts(
        source=source_name(summary.get("source", "")),
        fingerprint=summary.get("fingerprint", ""),
        facts=[fact for fact in _facts(summary, spec, dataset) if fact.value],
        classes={column: list(counts.items()) for column, counts in summary.get("classes", {}).items() if counts},
        left_out=[] if for_sharing else left_out[:LISTED],
        left_out_count=max(summary.get("left_out_count", 0), len(left_out)),
        notes=[] if for_sharing else notes,
    )


def _facts(summary: Summary, spec: DataSpec, dataset: Dataset | None) -> list[Fact]:
    if not summary:
        return []
    facts = []
    for name in (*spec.given, *spec.target):
        column = spec.columns[name]
        said = hook(column.kind, "facts")
        facts += [Fact(f"{title} of {name}", value, note) for title, value, note in (said(column) if said else ())]
    facts += [*_sizes(summary, spec, dataset), Fact("Found", _plain(summary.get("found")))]
    columns = summary.get("columns", {})
    used = [name for name in (*spec.target, *spec.given) if name in columns]
    for name in used:
        rows = columns[name].get("rows", ())
        facts += [Fact(title if len(used) == 1 else f"{title} of {name}", _plain(value)) for title, value in rows]
    return [*facts, Fact("Duplicates", _duplicates(summary.get("duplicates")))]


def _sizes(summary: Summary, spec: DataSpec, dataset: Dataset | None) -> list[Fact]:
    """How much there is to learn from, and how much is held out."""
    column: Mapping[str, Any] = summary.get("columns", {}).get(spec.target[0], {})
    if items_words(spec) == "windows" and "train_characters" in column:
        return [  # windows of long sequences: their number says little
            Fact("Training characters", _plain(column["train_characters"])),
            Fact("Held-out characters", _plain(column.get("test_characters")), UNSEEN),
        ]
    train = dataset.train.items if dataset is not None else summary.get("train")
    test = len(dataset.test) if dataset is not None else summary.get("test")
    items = items_words(spec)
    return [Fact(f"Training {items}", _plain(train)), Fact(f"Held-out {items}", _plain(test), UNSEEN)]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else f"{value:.4g}" if isinstance(value, float) else ""


def _duplicates(value: Any) -> str:
    if not isinstance(value, Mapping):
        return _plain(value)
    parts = [
        f"{value[key]:,} {words}"
        for key, words in (
            ("exact_copies", "exact copies"),
            ("near_copies", "near copies"),
            ("dropped_from_train", "left out of training because a twin is held out"),
        )
        if isinstance(value.get(key), int) and value[key]
    ]
    return ", ".join(parts) or "none"


# -- when, with what, and again ----------------------------------------------------------------------


def trained_at(folder: RunFolder, log: Log) -> datetime | None:
    """When training ended, as the log says, or as TensorBoard's files tell when it began; None where neither does.

    The dates of files are no evidence: copying a run, or unpacking it, sets them anew.
    """
    if log.ended is not None:
        return datetime.fromtimestamp(log.ended)
    started = [int(match[1]) for file in folder.path.glob("tracking/events.out.tfevents.*")
               if (match := re.match(r"events\.out\.tfevents\.(\d{9,11})\.", file.name))]  # fmt: skip
    return datetime.fromtimestamp(max(started)) if started else None


def stopped_at(folder: RunFolder, recipe: Recipe) -> int | None:
    """The step that the weights are of, where training has not come to its last one; None where it has."""
    step, steps = folder.trained_steps(), recipe.train.steps
    return step if step is not None and steps is not None and step < steps else None


def steps_words(recipe: Recipe, steps: int | None) -> str:
    """How many steps were made, and in which parts where the run was trained longer than planned."""
    parts = recipe.train.parts
    return f"{count(steps)} steps" + (f" ({' + '.join(map(count, parts))})" if len(parts) > 1 else "")


def date_words(when: datetime | None) -> str:
    """A date and time as people read them; a dash where there is none."""
    return f"{when.day} {when:%B %Y, %H:%M}" if when else NONE


def versions() -> list[Fact]:
    """Software at the time of writing."""
    found = [Fact("Python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append(Fact(name, version(name)))
        except PackageNotFoundError:
            continue
    return [*found, Fact("System", f"{platform.system()} {platform.machine()}")]


def quoted(words: str) -> str:
    """For a shell, on one line."""
    return shlex.quote(" ".join(words.split()))
