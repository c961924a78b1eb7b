"""The smallest family that meets the contract: a GAN-like pair of linear maps. Tests of the engine use it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from maquette.core.batch import Batch
from maquette.core.model import Given, Loss, Model, Optim, Phase, Step
from maquette.core.rng import Rng
from maquette.core.spec import DataSpec, GridSpec

SUPPORTS = (GridSpec,)


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")

    latent_dim: int = 4
    lr: float = 1e-2
    explode_at: int | None = None


class Toy(Model):
    keeps = ("G",)

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        self.config, self.shape = config, spec.only().shape
        numbers = math.prod(self.shape)
        self.G = nn.Linear(config.latent_dim, numbers)
        self.D = nn.Linear(numbers, 1)

    def phases(self) -> Sequence[Phase]:
        optim = Optim(lr=self.config.lr, betas=(0.5, 0.9), schedule="cosine", warmup=0.1)
        return (
            Phase("d", ("D",), self.d_loss, optim),
            Phase("g", ("G",), self.g_loss, optim, reads_data=False),
        )

    def fake(self, n: int, step: Step) -> Tensor:
        return torch.tanh(self.G(step.rng.normal(n, self.config.latent_dim)))

    def d_loss(self, batch: Batch, step: Step) -> Loss:
        real, fake = self.D(batch.target["image"].flatten(1)), self.D(self.fake(batch.size, step).detach())
        total = F.softplus(-real).mean() + F.softplus(fake).mean()
        if step.index == self.config.explode_at:
            total = total * float("nan")
        return Loss(total, {"real": real.mean()})

    def g_loss(self, batch: Batch, step: Step) -> Loss:
        return Loss(F.softplus(-self.D(self.fake(batch.size, step))).mean())

    def sample(self, n: int, given: Given, rng: Rng) -> dict[str, Tensor]:
        return {"image": torch.tanh(self.G(rng.normal(n, self.config.latent_dim))).view(n, *self.shape)}


def build(config: Config, spec: DataSpec) -> Toy:
    return Toy(config, spec)
