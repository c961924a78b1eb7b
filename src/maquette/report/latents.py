"""What a latent code does: reconstructions, walks from one code to another, and the plane when it has two numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from maquette.core.generator import Generator
from maquette.core.model import Decodes, Encodes, UsesCodec
from maquette.core.rng import ItemRng, derive
from maquette.core.table import Dataset
from maquette.report.pictures import PIXELATED, Tile, mosaic, sheet_tile, shown_width, tiles

WALKS = 6
STOPS = 11
PAIRS = 32
POINTS = 2_000


@dataclass(frozen=True)
class Pair:
    real: Tile
    rebuilt: Tile


@dataclass(frozen=True)
class Reconstructions:
    """pairs: held-out pictures and themselves after the code. error: mean absolute difference, of the range."""

    pairs: list[Pair]
    error: float
    real: Tensor
    rebuilt: Tensor


@dataclass(frozen=True)
class Walk:
    name: str
    tiles: list[Tile]


@dataclass(frozen=True)
class Plane:
    """name: of the class, or "". picture: the plane decoded. items: the same as tensors, side * side of them."""

    name: str
    picture: Tile
    items: Tensor
    side: int


@dataclass(frozen=True)
class Scatter:
    """Codes of held-out pictures. x, y: by class"""

    names: list[str]
    x: list[list[float]]
    y: list[list[float]]


@dataclass(frozen=True)
class LatentPlane:
    planes: list[Plane]
    scatter: Scatter | None
    reach: float


def _given(generator: Generator, labels: Tensor | None) -> Mapping[str, Tensor]:
    label = generator.spec.label
    return {} if label is None or labels is None else {label: labels.to(generator.device)}


def _classes(generator: Generator) -> tuple[str, ...]:
    return generator.spec.columns[generator.spec.label].classes if generator.spec.label else ()


@torch.no_grad()
def _decode(generator: Generator, model: Decodes, z: Tensor, labels: Tensor | None, column: str) -> Tensor:
    made = [
        model.decode(
            z[i : i + 250].to(generator.device), _given(generator, None if labels is None else labels[i : i + 250])
        )[column]
        for i in range(0, len(z), 250)
    ]
    return torch.cat(made).float().cpu()


@torch.no_grad()
def reconstruct(generator: Generator, model: Encodes, dataset: Dataset, column: str) -> Reconstructions:
    """Held-out pictures -> code -> pictures."""
    model = model.codec if isinstance(model, UsesCodec) else model
    n = len(dataset.test)
    rows = np.unique(np.linspace(0, n - 1, min(PAIRS, n)).round().astype(int))
    batch = dataset.test.batch(rows, generator.spec).to(generator.device)
    rebuilt = model.decode(model.encode(batch), batch.given)[column].float().cpu()
    real = batch.target[column].float().cpu()
    return Reconstructions(
        pairs=[Pair(a, b) for a, b in zip(tiles(real, near=56), tiles(rebuilt, near=56), strict=True)],
        error=float((real - rebuilt).abs().mean() / 2),
        real=real,
        rebuilt=rebuilt,
    )


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Codes on the great circle from a to b, f32[D], f32[D], f32[T] -> f32[T, D] (White 2016, sec. 2.1).

    A straight line would pass near the origin, where codes drawn from N(0, I) are never found when D is
    large. Norms are interpolated too, and codes of one or two numbers take the straight line.
    """
    t = t[:, None]
    if len(a) <= 2:
        return (1 - t) * a + t * b
    norms = (1 - t) * a.norm() + t * b.norm()
    angle = torch.dot(a / a.norm(), b / b.norm()).clamp(-1, 1).arccos()
    if angle.sin().abs() < 1e-4:
        return (1 - t) * a + t * b
    unit = (((1 - t) * angle).sin() * a / a.norm() + (t * angle).sin() * b / b.norm()) / angle.sin()
    walked: Tensor = norms * unit
    return walked


def walk(generator: Generator, model: Decodes, column: str, seed: int) -> list[Walk]:
    """Rows of pictures on the way between two random codes; one class a row when there are classes."""
    z = ItemRng(derive(seed, "interpolation"), range(2 * WALKS)).normal(2 * WALKS, model.latent_dim)
    t = torch.linspace(0, 1, STOPS)
    classes = _classes(generator)
    codes = torch.cat([slerp(z[2 * i], z[2 * i + 1], t) for i in range(WALKS)])
    row_class = torch.linspace(0, max(len(classes) - 1, 0), WALKS).round().long()
    labels = row_class.repeat_interleave(STOPS) if classes else None
    made = _decode(generator, model, codes, labels, column)
    return [
        Walk(classes[int(row_class[i])] if classes else "", tiles(made[i * STOPS : (i + 1) * STOPS], near=72))
        for i in range(WALKS)
    ]


def latent_plane(generator: Generator, model: Decodes, dataset: Dataset | None, column: str) -> LatentPlane:
    """The plane decoded at quantiles of N(0, 1), and where held-out pictures fall on it."""
    classes = _classes(generator)
    several = classes[:6]
    side = 12 if several else 20
    quantiles = torch.linspace(0.5 / side, 1 - 0.5 / side, side, dtype=torch.float64)
    at = torch.tensor([NormalDist().inv_cdf(float(q)) for q in quantiles])
    # Rows run from the top (large y) down, as in a plot.
    y, x = torch.meshgrid(at.flip(0), at, indexing="ij")
    codes = torch.stack([x, y], -1).reshape(-1, 2)
    planes = []
    for index, name in enumerate(several or ("",)):
        labels = torch.full((len(codes),), index) if several else None
        items = _decode(generator, model, codes, labels, column)
        alt = f"{side} by {side} pictures decoded across the latent plane{f', class {name}' if name else ''}"
        width = shown_width(items.shape[-1], 24 if several else 30) * side
        picture = sheet_tile(mosaic(items, side), alt, shown=min(width, 720), pixelated=items.shape[-1] <= PIXELATED)
        planes.append(Plane(name, picture, items, side))
    scatter = None
    if dataset is not None and isinstance(model, Encodes):
        scatter = _scatter(generator, model, dataset)
    return LatentPlane(planes, scatter, reach=float(at.max()))


@torch.no_grad()
def _scatter(generator: Generator, model: Encodes, dataset: Dataset) -> Scatter:
    n = len(dataset.test)
    rows = np.unique(np.linspace(0, n - 1, min(POINTS, n)).round().astype(int))
    codes = torch.cat(
        [
            model.encode(dataset.test.batch(rows[i : i + 500], generator.spec).to(generator.device)).float().cpu()
            for i in range(0, len(rows), 500)
        ]
    )
    # The classes are drawn even where the model never saw them: that is when the plane is most telling.
    label = next((name for name, c in dataset.test.columns.items() if c.spec.kind == "label"), None)
    names = dataset.test.columns[label].spec.classes if label else ("held-out pictures",)
    numbers = dataset.test.columns[label].take(rows) if label else torch.zeros(len(rows), dtype=torch.long)
    parts = [codes[numbers == index] for index in range(len(names))]
    return Scatter(
        list(names),
        [[round(v, 4) for v in part[:, 0].tolist()] for part in parts],
        [[round(v, 4) for v in part[:, 1].tolist()] for part in parts],
    )
