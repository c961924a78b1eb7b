"""Nearest training pictures of samples: does the model make pictures, or repeat them?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from maquette.core.generator import Generator
from maquette.core.rng import ItemRng, derive
from maquette.core.table import Dataset
from maquette.evaluation.results import Evaluation
from maquette.report.pictures import Tile, tiles

TRAINING = 20_000
HELD_OUT = 300
NEAREST = 5
# Pictures are compared at this size at most: copies survive shrinking, and memory stays small.
SIDE = 32
_CHUNK = 1_000


@dataclass(frozen=True)
class Neighbours:
    """One sample and the training pictures nearest to it.

    ratio: its distance to the nearest over the median distance of held-out pictures to theirs
    rank:  share of held-out pictures that lie nearer to a training picture than this sample does
    """

    sample: Tile
    nearest: list[Tile]
    ratio: float
    rank: float


@dataclass(frozen=True)
class NeighbourTable:
    """closest: the samples nearest to training pictures, which is where copies would be. others: at random.

    typical, control: median distance to the nearest training picture, of samples and of held-out pictures
    suspicious: share of samples nearer to a training picture than 99 % of held-out pictures are
    """

    closest: list[Neighbours]
    others: list[Neighbours]
    typical: float
    control: float
    suspicious: float
    compared: int
    training: int
    searched: int


def find_neighbours(samples: Tensor, dataset: Dataset, column: str, seed: int, rows: int = 6) -> NeighbourTable:
    """Root mean squared pixel distance (pictures in [-1, 1]) of samples to up to 20,000 training pictures."""
    draw = np.random.default_rng(derive(seed, "neighbours"))
    train, test = dataset.train.columns[column], dataset.test.columns[column]
    chosen = _some(draw, len(dataset.train), TRAINING)
    control = test.take(_some(draw, len(dataset.test), HELD_OUT))
    queries = torch.cat([_flat(samples), _flat(control)])
    distance = torch.full((len(queries), NEAREST), torch.inf)
    index = torch.zeros((len(queries), NEAREST), dtype=torch.long)
    for start in range(0, len(chosen), _CHUNK):
        part = _flat(train.take(chosen[start : start + _CHUNK]))
        near = torch.cdist(queries, part) / part.shape[1] ** 0.5
        distance, at = torch.cat([distance, near], 1).topk(NEAREST, largest=False)
        known = torch.arange(start, start + len(part)).expand(len(queries), -1)
        index = torch.cat([index, known], 1).gather(1, at)
    n = len(samples)
    held = distance[n:, 0]
    found = min(NEAREST, len(chosen))

    def row(i: int) -> Neighbours:
        pictures = train.take(chosen[index[i, :found].numpy()])
        return Neighbours(
            sample=tiles(samples[i : i + 1])[0],
            nearest=tiles(pictures),
            ratio=float(distance[i, 0] / held.median().clamp_min(1e-9)),
            rank=float((held < distance[i, 0]).float().mean()),
        )

    order = distance[:n, 0].argsort()
    closest = order[:rows].tolist()
    rest = order[rows:].tolist()
    others = sorted(draw.choice(rest, min(rows, len(rest)), replace=False).tolist()) if rest else []
    return NeighbourTable(
        closest=[row(i) for i in closest],
        others=[row(i) for i in others],
        typical=float(distance[:n, 0].median()),
        control=float(held.median()),
        suspicious=float((distance[:n, 0] < held.quantile(0.01)).float().mean()),
        compared=n,
        training=len(dataset.train),
        searched=len(chosen),
    )


def _some(draw: np.random.Generator, n: int, most: int) -> np.ndarray:
    return np.arange(n) if n <= most else np.sort(draw.choice(n, most, replace=False))


def _flat(items: Tensor) -> Tensor:
    items = items.float()
    if max(items.shape[-2:]) > SIDE:
        scale = SIDE / max(items.shape[-2:])
        size = [max(1, round(side * scale)) for side in items.shape[-2:]]
        items = F.interpolate(items, size=size, mode="area")
    return items.flatten(1)


@dataclass(frozen=True)
class CopyRow:
    """The most suspicious of the samples that `maquette evaluate` drew, made again, beside its picture."""

    sample: Tile
    training: Tile
    index: int
    name: str
    label: str
    distance: float
    quantile: float


@torch.no_grad()
def evaluated_copies(
    generator: Generator, evaluation: Evaluation, dataset: Dataset, column: str, most: int = 8
) -> list[CopyRow]:
    """Copies named in metrics.json. Item i of a sample depends on (seed, i) alone, so it can be made again."""
    rows = []
    for copy in evaluation.copies[:most]:
        if copy.train_row >= len(dataset.train):
            continue
        asked = {generator.spec.label: copy.label} if generator.spec.label and copy.label is not None else {}
        given = {k: v.to(generator.device) for k, v in generator.given_for(1, asked).items()}
        rng = ItemRng(evaluation.settings.seed, [copy.sample], generator.device)
        made = generator.model.sample(1, given, rng)[column]
        real = dataset.train.columns[column].take(np.array([copy.train_row]))
        rows.append(
            CopyRow(
                tiles(made.float().cpu())[0],
                tiles(real)[0],
                copy.sample,
                copy.train_name,
                copy.label or "",
                copy.distance,
                copy.quantile,
            )
        )
    return rows
