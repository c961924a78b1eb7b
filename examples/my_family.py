"""An auto-encoder with noise on its code: a complete family of your own, in one file.

    loss = |x - G(E(x) + sigma eps, y)|^2 / (2 s^2) + |E(x)|^2 / 2,      eps ~ N(0, I)

E pulls codes towards N(0, I) and G learns to read them through noise, so a code drawn from N(0, I) gives a
new item. Up to a constant this is the negative ELBO of a VAE whose encoder has one fixed standard deviation
sigma (the CV-VAE of Ghosh et al. 2020, "From variational to deterministic autoencoders").

    export PYTHONPATH=examples MAQUETTE_FAMILIES=my_family
    maquette train examples/my_family.yaml --data digits -o runs/mine --budget 1m
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from maquette.core.batch import Batch
from maquette.core.model import Given, Loss, Model, Optim, Phase, Step, Watch
from maquette.core.rng import Rng
from maquette.core.spec import ClassSpec, DataSpec, GridSpec

SUPPORTS = (GridSpec,)
GIVEN = (ClassSpec,)


class Config(BaseModel):
    """The `model:` section of the recipe."""

    model_config = ConfigDict(extra="forbid")

    latent_dim: int = Field(16, gt=0, description="numbers in the code of an item")
    hidden: int = Field(256, gt=0, description="width of the hidden layers")
    code_std: float = Field(0.5, gt=0, description="sigma, of the noise on the code")
    pixel_std: float = Field(0.3, gt=0, description="s, of a pixel around its mean, on the scale [-1, 1]")
    label_dropout: float = Field(0.1, ge=0, le=1, description="share of items whose class is hidden in training")
    lr: float = Field(2e-3, gt=0)


def build(config: Config, spec: DataSpec) -> NoisyAutoencoder:
    return NoisyAutoencoder(config, spec)


class NoisyAutoencoder(Model):
    """x = G(z, y) with z ~ N(0, I) and y the class, if there is one. Meets Encodes."""

    watches = (
        Watch(
            name="empty codes",
            key="ae/code_rms",
            below=0.1,
            after=0.3,
            saw="the codes say next to nothing, so all samples look alike",
            advice="a smaller model.pixel_std, or a smaller model.code_std",
        ),
    )

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        self.config, self.shape, self.target = config, spec.only(GridSpec).shape, spec.only_name
        self.label, column = next(iter(spec.givens(ClassSpec).items()), ("", None))
        self.classes = column.num_classes if column else 0
        numbers = math.prod(self.shape)
        extra = self.classes + 1 if self.classes else 0  # one more, for "no class"
        self.E = _mlp(numbers, config.hidden, config.latent_dim)
        self.G = _mlp(config.latent_dim + extra, config.hidden, numbers)

    # -- learning ------------------------------------------------------------------------------------

    def phases(self) -> Sequence[Phase]:
        optim = Optim(lr=self.config.lr, schedule="cosine", warmup=0.02, final=0.05, clip=100.0)
        return [Phase("ae", ("E", "G"), self.ae_loss, optim)]

    def ae_loss(self, batch: Batch, step: Step) -> Loss:
        c, n = self.config, batch.size
        code = self.E(batch.only().flatten(1))  # (B, latent_dim)
        noise = step.rng.normal(n, c.latent_dim)
        hidden = step.rng.uniform(n) < c.label_dropout
        x = self._decode(code + c.code_std * noise, batch.given, hidden)
        error = (x - batch.only()).square().flatten(1).sum(1)  # (B,)
        cost = code.square().sum(1) / 2  # (B,)
        total = (error / (2 * c.pixel_std**2) + cost).mean()
        return Loss(total, {"error": error.mean(), "code_rms": code.square().mean().sqrt()})

    # -- sampling, and the ability to encode -----------------------------------------------------------

    def sample(self, n: int, given: Given, rng: Rng) -> dict[str, Tensor]:
        return self.decode(rng.normal(n, self.latent_dim), given)

    @property
    def latent_dim(self) -> int:
        return self.config.latent_dim

    def decode(self, z: Tensor, given: Given) -> dict[str, Tensor]:
        return {self.target: self._decode(z, given)}

    def encode(self, batch: Batch) -> Tensor:
        return self.E(batch.only().flatten(1))

    def _decode(self, z: Tensor, given: Given, hidden: Tensor | None = None) -> Tensor:
        """f32[B, latent_dim] -> f32[B, C, H, W] in [-1, 1]. hidden: bool[B], items whose class is not told."""
        parts = [z]
        if self.classes:
            y = given.get(self.label, torch.full((len(z),), self.classes, device=z.device))
            y = y if hidden is None else y.masked_fill(hidden, self.classes)
            parts.append(F.one_hot(y, self.classes + 1).to(z.dtype))
        return torch.tanh(self.G(torch.cat(parts, 1))).view(-1, *self.shape)


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))
