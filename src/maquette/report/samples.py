"""What the generator makes: a grid, and a row for each class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maquette.core.generator import Generator
from maquette.core.rng import derive
from maquette.report.pictures import Tile, tiles

GRID = 64
CLASSES = 20
PER_CLASS = 12


@dataclass(frozen=True)
class ClassRow:
    name: str
    tiles: list[Tile]


@dataclass(frozen=True)
class Samples:
    """items: every picture that was sampled for the page, so that other sections need not sample again."""

    grid: list[Tile]
    rows: list[ClassRow]
    classes: int
    items: Tensor
    seed: int


def make_samples(generator: Generator, column: str, seed: int) -> Samples:
    """A grid with classes drawn as in the data, not chosen by hand, and rows by class."""
    grid = generator.sample(GRID, seed=seed)[column]
    made, rows = [grid], []
    classes = generator.spec.columns[generator.spec.label].classes if generator.spec.label else ()
    shown = classes[:CLASSES]
    if shown:
        # One call for all classes: item i still depends on (seed, i) alone.
        labels = torch.arange(len(shown)).repeat_interleave(PER_CLASS)
        given = {str(generator.spec.label): labels}
        items = generator.sample(len(labels), given, seed=derive(seed, "by class"))[column]
        made.append(items)
        for index, name in enumerate(shown):
            part = items[index * PER_CLASS : (index + 1) * PER_CLASS]
            rows.append(ClassRow(name, tiles(part, near=56)))
    return Samples(tiles(grid), rows, len(classes), torch.cat(made), seed)
