"""A family with no training in it: principal components of the data, as a sampler, a decoder or an encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from maquette.core.batch import Batch
from maquette.core.model import Given, Model, Phase
from maquette.core.rng import Rng
from maquette.core.spec import ClassSpec, DataSpec, GridSpec

SUPPORTS = (GridSpec,)


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")

    ability: Literal["samples", "decodes", "encodes", "broken"] = "samples"
    latent_dim: int = 16


class Components(nn.Module):
    """mean: of each class f32[K, P]; basis: f32[D, P], rows scaled to the spread of the data along them."""

    def __init__(self, classes: int, latent_dim: int, numbers: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(max(classes, 1), numbers))
        self.basis = nn.Parameter(torch.randn(latent_dim, numbers) * 0.1)


class Sampler(Model):
    keeps = ("G",)

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        self.spec, self.shape, self.dim = spec, spec.only().shape, config.latent_dim
        self.label, column = next(iter(spec.givens(ClassSpec).items()), ("", None))
        self.G = Components(column.num_classes if column else 0, config.latent_dim, math.prod(self.shape))
        self.D = nn.Linear(3, 1)

    def phases(self) -> Sequence[Phase]:
        return ()

    def _mean(self, given: Given, n: int) -> Tensor:
        labels = given[self.label] if self.label in given else torch.zeros(n, dtype=torch.long)
        return self.G.mean[labels]

    def _make(self, z: Tensor, given: Given) -> dict[str, Tensor]:
        flat = self._mean(given, len(z)) + z @ self.G.basis
        return {"image": flat.clamp(-1, 1).view(len(z), *self.shape)}

    def sample(self, n: int, given: Given, rng: Rng) -> dict[str, Tensor]:
        return self._make(rng.normal(n, self.dim), given)


class Decoder(Sampler):
    @property
    def latent_dim(self) -> int:
        return self.dim

    def decode(self, z: Tensor, given: Given) -> dict[str, Tensor]:
        return self._make(z, given)


class Coder(Decoder):
    def encode(self, batch: Batch) -> Tensor:
        x = batch.only().flatten(1) - self._mean(batch.given, batch.size)
        return x @ self.G.basis.T / self.G.basis.square().sum(1)


class Broken(Decoder):
    def decode(self, z: Tensor, given: Given) -> dict[str, Tensor]:
        raise RuntimeError("shapes <cannot> be multiplied")


def build(config: Config, spec: DataSpec) -> Sampler:
    kinds = {"samples": Sampler, "decodes": Decoder, "encodes": Coder, "broken": Broken}
    return kinds[config.ability](config, spec)
