"""What the report shows of a model of text: samples, translations, and how the previews developed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.generator import Generator
from maquette.core.rng import derive
from maquette.core.run import RunFolder
from maquette.core.spec import DataSpec
from maquette.core.table import Dataset
from maquette.modalities.text.measures.read import Write, apart, decoded
from maquette.report.missing import Missing

SHOWN, PER_CLASS, CLASSES = 8, 3, 12
LONGEST = 1500  # characters of one text on the page
PREVIEWED, FEW = 900, 4  # characters of a preview, and texts; one text at least
PAIRS = 12


@dataclass(frozen=True)
class Written:
    """One text. caption: the class or the source it was written from; real: what a person wrote, if known."""

    text: str
    caption: str = ""
    real: str = ""


@dataclass(frozen=True)
class WrittenRow:
    """Texts of one class."""

    name: str
    texts: list[Written]


@dataclass(frozen=True)
class TextSamples:
    """texts as they come; rows by class; layout: whether lines and spaces are a part of what is said.

    items: tokens i64[n, T] of `texts`; given: what they were written from
    how:   how they were found, of texts with a source
    """

    texts: list[Written]
    rows: list[WrittenRow]
    classes: int
    layout: bool
    items: Tensor
    given: dict[str, Tensor]
    seed: int
    source: str | None = None
    how: str = ""


def text_column(spec: DataSpec) -> str | None:
    """The one target column, if it is text."""
    (name, *more) = spec.target
    return name if not more and spec.columns[name].kind == "text" else None


def make_texts(
    generator: Generator, column: str, dataset: Dataset | None, seed: int, write: Write | None
) -> TextSamples | Missing:
    """Samples, with classes drawn as in the data, and rows by class; or held-out sources and what is made of them."""
    spec = generator.spec
    if spec.source is not None:
        if dataset is None:
            return Missing("Sources to write from are in the data, which was not at hand.")
        return _from_sources(generator, column, dataset, seed, write)
    given = generator.given_for(SHOWN, seed=seed)
    items = generator.sample(SHOWN, given, seed)[column]
    texts = [cut(text) for text in decoded(items, spec.columns[column])]
    classes = spec.columns[spec.label].classes if spec.label else ()
    captions = [classes[i] for i in given[str(spec.label)].tolist()] if spec.label else [""] * SHOWN
    rows, shown = [], classes[:CLASSES]
    if shown:
        labels = torch.arange(len(shown)).repeat_interleave(PER_CLASS)
        made = generator.sample(len(labels), {str(spec.label): labels}, derive(seed, "by class"))[column]
        by_class = [cut(text) for text in decoded(made, spec.columns[column])]
        for i, name in enumerate(shown):
            part = by_class[i * PER_CLASS : (i + 1) * PER_CLASS]
            rows.append(WrittenRow(name, [Written(text) for text in part]))
    return TextSamples(
        [Written(text, caption) for text, caption in zip(texts, captions, strict=True)],
        rows, len(classes), has_layout(texts), items, given, seed,
    )  # fmt: skip


def _from_sources(generator: Generator, column: str, dataset: Dataset, seed: int, write: Write | None) -> TextSamples:
    spec, table = generator.spec, dataset.test
    rows = np.sort(np.random.default_rng(derive(seed, "sources")).permutation(len(table))[:PAIRS])
    batch = table.batch(rows, spec)
    if write is not None:
        items = write(batch.given).cpu()
    else:
        items = generator.sample(len(rows), batch.given, seed, temperature=0.0)[column]
    source = str(spec.source)
    asked = decoded(batch.given[source], spec.columns[source])
    made, real = (decoded(side, spec.columns[column]) for side in (items, batch.x))
    texts = [Written(cut(a), cut(b), cut(c)) for a, b, c in zip(made, asked, real, strict=True)]
    how = "beam search" if write is not None else "taking the likeliest token at each step"
    return TextSamples(texts, [], 0, False, items, batch.given, seed, source, how)


def held_out_batch(dataset: Dataset, spec: DataSpec, rows: int, seed: int) -> Batch:
    """A few held-out texts, drawn at random."""
    table = dataset.test
    return table.batch(np.sort(np.random.default_rng(derive(seed, "held out")).permutation(len(table))[:rows]), spec)


def cut(text: str, longest: int = LONGEST) -> str:
    """A text no longer than the page wants it, without the line breaks around it."""
    text = text.strip("\n")
    return text if len(text) <= longest else text[:longest].rstrip() + " …"


def has_layout(texts: list[str]) -> bool:
    """Whether lines begin with spaces as in code and tables, so that letters should be of one width."""
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    return bool(lines) and sum(line[0] in " \t|+" for line in lines) > 0.2 * len(lines)


@dataclass(frozen=True)
class TextStage:
    """What a preview said at a step of the training: its first few texts."""

    step: int
    texts: list[Written]


def text_stages(folder: RunFolder) -> list[TextStage]:
    """The first of `samples/preview-<step>.txt`, the one nearest to half of the steps, and the last."""
    found = []
    for path in folder.samples.glob("preview-*.txt") if folder.samples.is_dir() else ():
        match = re.fullmatch(r"preview-(\d+)", path.stem)
        if match:
            found.append((int(match[1]), path))
    found.sort()
    if not found:
        return []
    middle = min(found, key=lambda stage: abs(2 * stage[0] - found[-1][0]))
    spec = folder.spec()
    captioned = bool(spec.label or spec.source)
    stages = []
    for step, path in sorted({found[0], middle, found[-1]}):
        try:
            stages.append(TextStage(step, _first(apart(path.read_text(encoding="utf-8"), captioned))))
        except (OSError, UnicodeDecodeError):
            continue
    return stages


def _first(texts: Sequence[tuple[str, str]]) -> list[Written]:
    """As many of the texts, each with its caption, as the page has room for."""
    shown, size = list[Written](), 0
    for caption, text in texts[:FEW]:
        size += len(caption) + len(text)
        if shown and size > PREVIEWED:
            break
        shown.append(Written(cut(text, PREVIEWED), cut(caption, PREVIEWED)))
    return shown
