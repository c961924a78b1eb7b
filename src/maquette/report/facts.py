"""Plain facts about a run: what it is, the data, the networks, the versions, and how to make it again."""

from __future__ import annotations

import platform
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from maquette.core.errors import MaquetteError
from maquette.core.generator import Generator
from maquette.core.recipe import Recipe
from maquette.core.run import RunFolder
from maquette.core.spec import DataSpec
from maquette.core.table import Dataset
from maquette.evaluation.results import NONE
from maquette.report.log import Log
from maquette.report.page import TIMES

UNSEEN = "never seen in training"
PACKAGES = ("maquette", "torch", "numpy", "scipy", "scikit-learn", "safetensors", "pillow", "accelerate")


@dataclass(frozen=True)
class Fact:
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
    """The data, as its doctor saw it.

    part, parts: what it consists of, e.g. text, texts
    classes: (name, number of them) in the training split     left_out: (name, reason)
    notes:   what the doctor thought worth saying, its warnings first
    """

    part: str
    parts: str

    source: str
    fingerprint: str
    facts: list[Fact]
    classes: list[tuple[str, int]]
    largest: int
    left_out: list[tuple[str, str]]
    left_out_count: int
    notes: list[str]

    @property
    def left_out_words(self) -> str:
        """E.g. `3 texts`; "" where nothing was left out."""
        n = self.left_out_count
        return f"{n:,} {self.part if n == 1 else self.parts}" if n else ""


def networks(generator: Generator) -> list[Net]:
    kept = generator.model.kept
    nets = [
        Net(name, sum(p.numel() for p in net.parameters()), name in kept)
        for name, net in generator.model.named_children()
    ]
    return [net for net in nets if net.parameters]


def shape_text(spec: DataSpec, column: str) -> str:
    """E.g. `28 x 28 grey`."""
    kind, shape = spec.columns[column].kind, spec.columns[column].shape
    if kind == "text":
        unit = {"char": "characters", "bpe": "byte-pair pieces", "unigram": "unigram pieces"}
        long = f"up to {shape[0]:,} tokens" if spec.columns[column].framed else "of any length"
        return f"text {long}, in {unit.get(spec.columns[column].unit, 'tokens')}"
    if kind != "image" or len(shape) != 3:
        return f"{kind} {f' {TIMES} '.join(map(str, shape))}".strip()
    channels = {1: "grey", 3: "colour", 4: "colour and transparency"}.get(shape[0], f"{shape[0]}-channel")
    return f"{shape[2]} {TIMES} {shape[1]} {channels}"


def items_name(spec: DataSpec) -> str:
    """What one item of training is called: pictures, texts, or windows of long texts."""
    column = spec.columns[spec.target[0]]
    return "pictures" if column.kind != "text" else "texts" if column.framed else "windows"


def data_of(folder: RunFolder, dataset: Dataset | None) -> dict[str, Any]:
    """data.json, or what the data at hand says when the run has none."""
    try:
        return folder.data()
    except (MaquetteError, ValueError, TypeError):
        if dataset is None:
            return {}
        return {"source": dataset.source, "fingerprint": dataset.fingerprint, **dataset.summary}


def data_facts(data: Mapping[str, Any], dataset: Dataset | None, spec: DataSpec | None = None) -> DataFacts | None:
    """data.json (Dataset.summary) in words; liberal, since a run may come from another version."""
    if not data:
        return None
    summary = {**data, **data["summary"]} if isinstance(data.get("summary"), Mapping) else dict(data)
    train = dataset.train.items if dataset is not None else summary.get("train")
    test = len(dataset.test) if dataset is not None else summary.get("test")
    text = spec is not None and spec.columns[spec.target[0]].kind == "text"
    things = "texts" if text else "pictures"
    part, parts = ("text", "texts") if text else ("file", "files")
    sizes = [Fact(f"Training {things}", _plain(train)), Fact(f"Held-out {things}", _plain(test), UNSEEN)]
    if summary.get("context"):  # long texts, read in windows: their number says little
        sizes = [
            Fact("Training text", _characters(summary.get("train_characters"))),
            Fact("Held-out text", _characters(summary.get("test_characters")), UNSEEN),
        ]
    facts = [
        *(text_facts(spec) if spec is not None else []),
        *sizes,
        Fact(f"{parts.capitalize()} found", _plain(summary.get("found"))),
        Fact("Sizes", _sizes(summary)),
        Fact("Colours", _counts(summary.get("channels"))),
        Fact("Formats", _counts(summary.get("formats"))),
        Fact("Prepared as", _prepared(summary.get("prepared"))),
        Fact("Duplicates", _duplicates(summary.get("duplicates"))),
    ]
    classes = _classes(summary)
    files, n = _left_out(summary)
    return DataFacts(
        part=part,
        parts=parts,
        source=str(summary.get("source", "")),
        fingerprint=str(summary.get("fingerprint", "")),
        facts=[fact for fact in facts if fact.value],
        classes=classes,
        largest=max((n for _, n in classes), default=0),
        left_out=files,
        left_out_count=n,
        notes=[str(text) for key in ("warnings", "notes") for text in _list(summary.get(key))],
    )


def text_facts(spec: DataSpec) -> list[Fact]:
    """What the tokens of each text column are."""
    units = {"char": "characters", "bpe": "byte-pair pieces", "unigram": "unigram pieces"}
    facts = []
    for name in (*spec.given, *spec.target):
        column = spec.columns[name]
        if column.kind != "text":
            continue
        size = f"{column.vocab:,} {units.get(column.unit, 'tokens')}"
        shape = (
            f"up to {column.shape[0]:,} tokens a text"
            if column.framed
            else f"windows of {column.shape[0] - 1:,} tokens"
        )
        note = f"{column.chars_per_token:.2f} characters a token" if column.unit != "char" else ""
        facts.append(Fact(f"Tokens of {name}", f"{size}, {shape}", note))
    return facts


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else ""


def _characters(value: Any) -> str:
    return f"{value:,} characters" if isinstance(value, int) else ""


def _counts(value: Any) -> str:
    """{"grey": 1200, "rgb": 3} -> grey 1,200, rgb 3."""
    if not isinstance(value, Mapping):
        return ""
    return ", ".join(f"{name} {n:,}" for name, n in value.items() if isinstance(n, int))


def _sizes(summary: Mapping[str, Any]) -> str:
    sizes = [part for part in _list(summary.get("sizes")) if isinstance(part, Mapping)]
    shown = [f"{part.get('width')} {TIMES} {part.get('height')} ({_plain(part.get('pictures'))})" for part in sizes[:3]]
    different = summary.get("different_sizes")
    if isinstance(different, int) and different > len(shown):
        shown.append(f"and {different - len(shown):,} other sizes")
    return ", ".join(shown)


def _prepared(value: Any) -> str:
    if not isinstance(value, Mapping) or "width" not in value:
        return ""
    channels = value.get("channels")
    return f"{value['width']} {TIMES} {value.get('height')}, {channels} channel{'' if channels == 1 else 's'}"


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


def _classes(summary: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Pictures of each class: {column: {class: number}}, or without the column."""
    found = summary.get("classes")
    if isinstance(found, Mapping) and found and all(isinstance(value, Mapping) for value in found.values()):
        found = found.get("label", next(iter(found.values())))
    if not isinstance(found, Mapping):
        return []
    return [(str(name), value) for name, value in found.items() if isinstance(value, int)]


def _left_out(summary: Mapping[str, Any]) -> tuple[list[tuple[str, str]], int]:
    """(file, reason) of files that were left out, the first hundred of them, and how many there are."""
    pairs = [
        (str(part.get("name", "")), str(part.get("reason", "")))
        for part in _list(summary.get("left_out"))
        if isinstance(part, Mapping)
    ]
    n = summary.get("left_out_count")
    return pairs[:100], max(n, len(pairs)) if isinstance(n, int) else len(pairs)


def trained_at(folder: RunFolder, log: Log) -> datetime | None:
    """When training ended, as the log says, or as TensorBoard's files tell when it began; None where neither does.

    The dates of files are no evidence: copying a run, or unpacking it, sets them anew.
    """
    if log.ended is not None:
        return datetime.fromtimestamp(log.ended)
    started = [int(match[1]) for file in folder.path.glob("tracking/events.out.tfevents.*")
               if (match := re.match(r"events\.out\.tfevents\.(\d{9,11})\.", file.name))]  # fmt: skip
    return datetime.fromtimestamp(max(started)) if started else None


def date_text(when: datetime | None) -> str:
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


def use_command(spec: DataSpec, run: str) -> str:
    """How to have a run make something, for a shell."""
    if spec.columns[spec.target[0]].kind != "text":
        return f"maquette sample {run} -n 64 --seed 0 --grid -o out/"
    return f"maquette translate {run} --input FILE" if spec.source else f"maquette sample {run} -n 4 --seed 0"


def reproduce(folder: RunFolder, recipe: Recipe, spec: DataSpec, source: str) -> str:
    """Commands, quoted for a shell, that make the run again and sample from it."""
    run = shlex.quote(str(folder.path))
    data = shlex.quote(recipe.data.source or source or "PATH")
    return "\n".join(
        (
            "# train it again, from the recipe with every choice written out",
            f"maquette train {shlex.quote(str(folder.recipe_file))} --data {data} -o runs/again",
            "# sample from this run",
            use_command(spec, run),
            "# measure it, and write this page anew",
            f"maquette evaluate {run} && maquette report {run}",
        )
    )
