"""The smallest modality: values on a grid of any dimensions. Tests of networks import it, and so it is found."""

from __future__ import annotations

import torch
from pydantic import BaseModel
from torch import Tensor

from maquette.core.spec import ColumnSpec, DataSpec, GridSpec

KIND = __name__
NOUN = ("grid", "grids")
PREVIEW_SUFFIX = ".txt"


class Config(BaseModel):
    """Nothing to set."""


class Spec(GridSpec):
    kind: str = KIND


def made_up(spec: ColumnSpec, items: int, seed: int = 0) -> Tensor:
    """A wave along each dimension, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(items, *spec.shape)
    for dim, size in enumerate(spec.shape[1:], 2):
        wave = torch.linspace(0, 6, size).sin()
        x = x + wave.view(-1, *[1] * (len(spec.shape) + 1 - dim - 1)) / (len(spec.shape) - 1)
    return (0.8 * x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(-1, 1)


def grid_spec(*shape: int, given: dict[str, ColumnSpec] | None = None) -> DataSpec:
    """p(grid | given)."""
    return DataSpec(columns={"grid": Spec(shape=shape), **(given or {})}, target=("grid",), given=tuple(given or ()))
