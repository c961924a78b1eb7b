"""The sections of the report that only a model of text has, gathered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maquette.core.generator import Generator
from maquette.core.model import Aligns, Cooperates, Streams
from maquette.core.rng import derive
from maquette.core.run import RunFolder
from maquette.core.table import Dataset
from maquette.modalities.text.measures.read import Write, texts_of
from maquette.report.missing import Missing, attempt
from maquette.report.passages import nearest_passages
from maquette.report.texts import (
    TextSamples,
    TextStage,
    held_out_batch,
    make_texts,
    text_stages,
)
from maquette.report.tokens import Coloured, Decided, alignment_maps, coloured, decided

CONTROL = 50  # held-out texts set against the training text


@dataclass(frozen=True)
class TextParts:
    """Each a section's data, a Missing, or None for what the model has no ability for."""

    samples: Any
    held_out: Any
    written: Any
    maps: Any
    decided: Any
    near: Any
    stages: list[TextStage]


def text_parts(
    folder: RunFolder,
    generator: Generator,
    column: str,
    dataset: Dataset | None,
    seed: int,
    no_data: Missing,
    write: Write | None,
) -> TextParts:
    model, spec = generator.model, generator.spec
    samples = attempt(lambda: make_texts(generator, column, dataset, seed, write))
    held_out: Any = None
    written: Any = None
    if isinstance(model, Streams):
        held_out = no_data if dataset is None else attempt(lambda: _held_out(generator, model, column, dataset, seed))
        if isinstance(samples, TextSamples):
            given = {name: value[:3] for name, value in samples.given.items()}
            captions = [text.caption for text in samples.texts]
            written = attempt(lambda: coloured(generator, model, column, samples.items[:3], given, captions))
    maps: Any = None
    if isinstance(model, Aligns) and spec.source is not None:
        maps = no_data if dataset is None else attempt(lambda: _maps(generator, model, dataset, seed))
    agents: Any = None
    if isinstance(model, Cooperates):
        agents = attempt(lambda: _decided(folder, generator, model, column, samples, seed))
    near: Any = None
    if spec.source is None:
        near = no_data if dataset is None else attempt(lambda: _near(samples, dataset, column, seed))
    return TextParts(samples, held_out, written, maps, agents, near, text_stages(folder))


def _held_out(
    generator: Generator, model: Streams, column: str, dataset: Dataset, seed: int
) -> Sequence[Coloured] | Missing:
    batch = held_out_batch(dataset, generator.spec, 3, seed)
    return coloured(generator, model, column, batch.x, batch.given)


def _maps(generator: Generator, model: Aligns, dataset: Dataset, seed: int) -> Any:
    return alignment_maps(generator, model, held_out_batch(dataset, generator.spec, 4, seed))


def _decided(
    folder: RunFolder, generator: Generator, model: Cooperates, column: str, samples: Any, seed: int
) -> Decided | Missing:
    if not isinstance(samples, TextSamples):
        return Missing("There are no samples to show.")
    return decided(generator, model, column, samples.given, seed, folder.recipe().model)


def _near(samples: Any, dataset: Dataset, column: str, seed: int) -> Any:
    if not isinstance(samples, TextSamples):
        return samples
    rows = np.random.default_rng(derive(seed, "control")).permutation(len(dataset.test))[:CONTROL]
    control = texts_of(dataset.test, column, np.sort(rows))
    if not dataset.test.columns[column].spec.framed:  # windows of the samples' own length
        typical = max(len(text.text) for text in samples.texts)
        control = [text[:typical] for text in control]
    return nearest_passages([text.text for text in samples.texts], dataset, column, control)
