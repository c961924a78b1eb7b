"""Generative adversarial networks (Goodfellow et al. 2014): a generator G and a critic D.

Each step D learns to tell items of the data from those of G, given the same; then G learns to please D. What is given
(any columns, each missing of a share of the items in training) joins G's latent code, and is projected on by D.
Three pairs of networks: `mlp` is the textbook one, `dcgan` that of Radford et al. 2015, `conv` residual and
without normalisation. Their loss, and what keeps D smooth, are settings of their own
(losses/adversarial.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from maquette.core.batch import Batch
from maquette.core.bounds import Count, Depth, Few, Share, Width, Widths
from maquette.core.errors import UserError
from maquette.core.graph import Graph
from maquette.core.model import Given, Loss, Model, Optim, Phase, Step, Watch
from maquette.core.rng import Rng
from maquette.core.spec import ColumnSpec, DataSpec, GridSpec
from maquette.core.table import Table
from maquette.losses.adversarial import LOSSES, gradient_penalty, squared_gradient
from maquette.models._given import ANY, condition, drop, given_columns, plain_condition, vector
from maquette.models._leaving import decoder
from maquette.nets.augment import DRAWS, Augment
from maquette.nets.critic import ConvCritic
from maquette.nets.dcgan import DcganCritic, DcganGenerator
from maquette.nets.decoder import ConvGenerator
from maquette.nets.mlp import MlpCritic, MlpGenerator

SUPPORTS = (GridSpec,)
GIVEN = ANY
FEW = 5000  # items below which a critic begins to learn them by heart


class Config(BaseModel):
    """Settings of a generative adversarial network."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    network: Literal["mlp", "dcgan", "conv"] = "conv"
    latent_dim: Width = Field(64, description="numbers in the latent code z ~ N(0, I)")

    hidden: Widths = Field((128, 128), min_length=1, description="mlp: widths of the generator")
    critic_hidden: Widths = Field((128,), min_length=1, description="mlp: widths of the critic")
    batch_norm: bool = Field(False, description="mlp: batch-norm in the generator")
    leaky_slope: float = Field(0.0, ge=0, lt=1, description="mlp: slope of ReLU below 0; 0.2 is the usual leaky one")

    width: Width = Field(32, description="conv, dcgan: channels on the finest grid; multiples of 32 are fast")
    deep: Width = Field(96, description="conv: channels on the coarser grids")
    blocks: Depth = Field(2, description="conv: residual blocks on the finest grid, which cost most")
    deep_blocks: Depth | None = Field(None, description="conv: residual blocks on each coarser grid; null: as blocks")
    features: Width = Field(128, description="conv: features of the critic's last layer")

    loss: Literal["non_saturating", "minimax", "hinge", "least_squares", "wasserstein", "relativistic"] = (
        "non_saturating"
    )
    penalty: Literal["none", "r1", "r1r2", "wgan-gp"] = Field(
        "r1r2", description="on the slope of the critic: at real items, also at generated ones, or WGAN-GP"
    )
    gamma: float = Field(
        10.0, ge=0, description="weight of the penalty; of r1 and r1r2, for each channel: colour needs more"
    )
    gamma_final: float | None = Field(
        None, gt=0, description="weight at the end, reached geometrically: smooth first, sharp later; null: as gamma"
    )
    penalty_every: Count = Field(4, description="steps between penalties (Karras et al. 2020, appendix B)")
    critic_steps: Few = Field(1, description="updates of the critic for one of the generator")
    label_dropout: float = Field(0.1, ge=0, le=1, description="share of items that each given column is hidden of")
    augment: Literal["auto", "adaptive"] | Annotated[float, Field(ge=0, lt=1)] = Field(
        "auto",
        description="share of the items that each change happens to before the critic sees them; adaptive: as much as "
        "it takes; auto: adaptive where there are few items",
    )
    augment_target: float = Field(0.3, gt=0, lt=1, description="adaptive: how sure the critic may be, 0 to 1")

    lr: float = Field(1e-3, gt=0)
    critic_lr: float | None = Field(None, gt=0, description="null: as lr")
    beta1: Share = 0.0
    beta2: Share = 0.99
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    warmup: Share = Field(0.01, description="share of the run in which the learning rate grows")


def resolve(config: Config, spec: DataSpec, train: Table) -> Config:
    """The settings with what depends on the number of training items put in its place."""
    if config.augment != "auto":
        return config
    few = len(train) < FEW and len(spec.only(GridSpec).grid) == 2
    return config.model_copy(update={"augment": "adaptive" if few else 0.0})


def build(config: Config, spec: DataSpec) -> GAN:
    """The model for this specification: a generator and a critic.

    Raises UserError for settings or shapes that cannot work.
    """
    return GAN(config, spec)


def networks(
    config: Config, shape: Sequence[int], given: Mapping[str, ColumnSpec]
) -> tuple[nn.Module, nn.Module]:  # fmt: skip
    """G: (z, c) -> x in [-1, 1] and D: (x, c) -> logits. c: what their own `condition` makes of what is given."""
    c = config
    if c.network == "mlp":
        return (
            MlpGenerator(shape, plain_condition(given), c.latent_dim, c.hidden, c.batch_norm, c.leaky_slope),
            MlpCritic(shape, plain_condition(given), c.critic_hidden, c.leaky_slope),
        )
    if c.network == "dcgan":
        return (
            DcganGenerator(shape, plain_condition(given), c.latent_dim, c.width),
            DcganCritic(shape, plain_condition(given), c.width),
        )
    sizes = (c.width, c.deep, c.blocks, c.deep_blocks or c.blocks)
    return (
        ConvGenerator(shape, condition(given, c.latent_dim), c.latent_dim, *sizes),
        ConvCritic(shape, condition(given, c.features, c.features**-0.5), c.features, *sizes),
    )


class GAN(Model):
    """p(x | given) as the distribution of G(z, given) with z ~ N(0, I). Meets Decodes and Exports."""

    keeps = ("generator",)
    watches = (
        Watch(
            name="critic saturation",
            key="d/ranked",
            above=0.999,
            patience=0.1,
            saw="the critic tells every generated item from a real one: the generator learns nothing from it",
            advice="a larger model.gamma, a smaller model.critic_lr, or model.loss=relativistic",
        ),
        Watch(
            name="vanishing generator gradient",
            key="g/grad_norm",
            below=1e-6,
            saw="the generator's gradient is gone",
            advice="model.loss=non_saturating, or a smaller model.lr",
        ),
    )

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        self.config, column = config, spec.only(GridSpec)
        self.target, self.columns, self.shape = spec.only_name, given_columns(spec), column.shape
        flat = {"network: dcgan": config.network == "dcgan", "augment": config.augment not in ("auto", 0.0)}
        if len(column.grid) != 2 and (named := [name for name, asked in flat.items() if asked]):
            raise UserError(
                f"{named[0]} is of two-dimensional grids; '{self.target}' has {len(column.grid)} dimensions.",
                "Use model.network=conv and model.augment=0.",
            )
        self.generator, self.critic = networks(config, column.shape, self.columns)
        self.loss = LOSSES[config.loss]
        self.augment: Augment | None = None
        if config.augment == "adaptive":
            self.augment = Augment(0.0, config.augment_target)
        elif config.augment != "auto" and config.augment > 0:
            self.augment = Augment(config.augment)

    # -- learning ------------------------------------------------------------------------------------

    def phases(self) -> Sequence[Phase]:
        c = self.config

        def optim(lr: float) -> Optim:
            return Optim("adam", lr, (c.beta1, c.beta2), schedule=c.schedule, warmup=c.warmup)

        critic = optim(c.critic_lr or c.lr)
        # Each update of the critic draws noise of its own, which is derived from the phase's name.
        names = ["d", *(f"d{i}" for i in range(2, c.critic_steps + 1))]
        d = [Phase(name, ("critic",), self.d, critic) for name in names]
        if c.penalty != "none" and c.gamma:
            d.append(Phase("penalty", ("critic",), self.penalty, critic, every=c.penalty_every))
        return [*d, Phase("g", ("generator",), self.g, optim(c.lr), reads_data=self.loss.pairs)]

    def d(self, batch: Batch, step: Step) -> Loss:
        """D tells real from generated. `ranked`: share of pairs in which the real one has the higher logit."""
        given, n = self._given(batch, step.rng), batch.size
        real, fake = self._shown(batch.only(), step.rng), self._shown(self._make(n, given, step.rng), step.rng)
        real, fake = self._scores(real, fake, vector(self.critic, given, n))
        parts = {"real": real.mean(), "fake": fake.mean(), "ranked": (real > fake).float().mean()}
        if self.augment:
            self.augment.adapt(step.index)
            self.augment.observe(real, fake)
            parts["augmented"] = self.augment.share
        return Loss(self.loss.critic(real, fake), {name: value.detach() for name, value in parts.items()})

    def penalty(self, batch: Batch, step: Step) -> Loss:
        """gamma / 2 (R1 + R2) for each channel, or gamma times the gradient penalty of WGAN-GP."""
        c, n = self.config, batch.size
        gamma = c.gamma * ((c.gamma_final or c.gamma) / c.gamma) ** step.progress
        given = self._given(batch, step.rng)
        x, y = self._shown(batch.only(), step.rng), vector(self.critic, given, n)
        if c.penalty == "wgan-gp":
            fake = self._shown(self._make(n, given, step.rng), step.rng)
            steep = gradient_penalty(lambda x: self.critic(x, y), x, fake, step.rng.uniform(n)).mean()
            return Loss(gamma * steep, {"gradient_penalty": steep.detach()})
        if c.penalty == "r1r2":
            x = torch.cat([x, self._shown(self._make(n, given, step.rng), step.rng)])
            y = None if y is None else torch.cat([y, y])
        slopes = squared_gradient(lambda x: self.critic(x, y), x).view(-1, n).mean(1)  # R1 and, if asked for, R2
        names = ("r1", "r2")[: len(slopes)]
        # With one weight for all, the critic won within 300 steps on Stacked MNIST's three channels.
        return Loss(gamma * x.shape[1] / 2 * slopes.sum(), dict(zip(names, slopes.detach(), strict=True)))

    def g(self, batch: Batch, step: Step) -> Loss:
        """G pleases D; only a relativistic loss looks at the data again."""
        given = self._given(batch, step.rng)
        y = vector(self.critic, given, batch.size)
        fake = self.critic(self._shown(self._make(batch.size, given, step.rng), step.rng), y)
        real = None
        if self.loss.pairs:
            with torch.no_grad():
                real = self.critic(self._shown(batch.only(), step.rng), y)
        return Loss(self.loss.generator(fake, real), {"fake": fake.detach().mean()})

    def _make(self, n: int, given: Given, rng: Rng) -> Tensor:
        return self.generator(rng.normal(n, self.config.latent_dim), vector(self.generator, given, n))

    def _shown(self, x: Tensor, rng: Rng) -> Tensor:
        """Items as the critic sees them."""
        return x if self.augment is None else self.augment(x, rng.uniform(len(x), DRAWS))

    def _scores(self, real: Tensor, fake: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits of both; in one pass unless batch statistics would mix them."""
        if self.config.network == "dcgan":
            return self.critic(real, y), self.critic(fake, y)
        twice = None if y is None else torch.cat([y, y])
        real_logits, fake_logits = self.critic(torch.cat([real, fake]), twice).chunk(2)
        return real_logits, fake_logits

    def _given(self, batch: Batch, rng: Rng) -> Given:
        """What is given, each column missing of a share of the items."""
        return drop(batch.given, self.columns, batch.size, self.config.label_dropout, rng)

    # -- sampling ------------------------------------------------------------------------------------

    def sample(self, n: int, given: Given, rng: Rng) -> dict[str, Tensor]:
        return self.decode(rng.normal(n, self.latent_dim), given)

    @property
    def latent_dim(self) -> int:
        return self.config.latent_dim

    def decode(self, z: Tensor, given: Given) -> dict[str, Tensor]:
        """G(z, given): deterministic. Batch-norm uses its running statistics, so that items are independent."""
        return {self.target: self.generator(z, vector(self.generator, given, len(z)))}

    def graphs(self) -> tuple[Graph, ...]:
        return (
            decoder(lambda z, given: self.decode(z, given)[self.target], self.latent_dim, self.columns, self.shape),
        )
