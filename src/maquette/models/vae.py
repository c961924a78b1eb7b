"""Variational auto-encoders (Kingma & Welling 2014; Rezende et al. 2014).

One phase minimises the negative ELBO, in nats per item,

    -elbo = -E_q[log p(x | u, y)] + beta KL(q(u | x, y) || N(0, I))

with x the target, u the latent code and y what is given, if anything is. Three networks: `mlp` is the textbook
one, `conv` a ladder of latents (nets/ladder.py), `codec` turns large items into small ones, of which another model
can be learned (models/latent.py; Rombach et al. 2022). With `importance_samples` = k > 1 it is the bound of
Burda et al. 2016 instead.

The mean of p(x | u) is soft wherever u does not say what is to be seen. So a codec can have a critic of patches beside
the likelihood (Esser et al. 2021): two more phases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn

from maquette.core.batch import Batch
from maquette.core.bounds import DEEPEST, AnyCount, Depth, Few, Share, Width, Widths
from maquette.core.errors import UserError
from maquette.core.graph import Graph
from maquette.core.model import Given, Loss, Model, Optim, Phase, Step, Watch
from maquette.core.rng import Rng
from maquette.core.spec import DataSpec, GridSpec
from maquette.losses import likelihood
from maquette.losses.adversarial import binary_critic, non_saturating_generator, patch_penalty
from maquette.losses.divergence import free_bits
from maquette.models._given import ANY, condition, drop, given_columns, plain_condition, vector
from maquette.models._leaving import decoder
from maquette.nets.codec import Codec
from maquette.nets.critic import PatchCritic
from maquette.nets.flat import Flat
from maquette.nets.ladder import Ladder
from maquette.nets.latent import Pass, repeat

SUPPORTS = (GridSpec,)
GIVEN = ANY
ACTIVE = 0.01  # a latent is active when its posterior mean varies more than this (Burda et al. 2016, section 5.2)
# Where values come in and go out, what describes the condition, and what is no matrix at all.
NOT_MUON = ("stem", "encoder.stem", "out", "start", "condition", "log_std")
PENALTY_EVERY = 4  # steps between penalties of the critic (Karras et al. 2020, appendix B)
RISE = 0.1  # share of the run in which the critic comes to count: a new one knows nothing
_ROWS = 2000  # importance samples in one forward pass when scoring: bounds the memory


class Config(BaseModel):
    """Settings of a variational auto-encoder."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    network: Literal["mlp", "conv", "codec"] = "conv"

    latent_dim: Width = Field(20, description="mlp: numbers in the latent code; 2 gives a plane to draw")
    hidden: Widths = Field((400,), description="mlp: widths of the encoder; the decoder mirrors them")

    width: Width = Field(64, description="conv, codec: channels on the grid; multiples of 32 suit the hardware")
    encoder_blocks: Depth = Field(3, description="conv, codec: residual blocks of the encoder")
    groups: tuple[tuple[Literal["global", "local"], Width], ...] = Field(
        (("global", 16), ("global", 16), ("local", 4), ("local", 4), ("local", 4)),
        min_length=1,
        max_length=DEEPEST,
        description="conv: groups of latents from the top down: [global, numbers] or [local, channels per cell]",
    )
    head: Width = Field(256, description="conv: channels of the layer before the values")

    channels: Width = Field(4, description="codec: latents in each cell of the code")
    factor: AnyCount = Field(0, description="codec: values a side of a cell, 2, 4, 8, ...; 0: at most 32 cells a side")
    decoder_blocks: Depth = Field(4, description="codec: residual blocks of the decoder on the grid of the code")
    adversarial: float = Field(
        0.0, ge=0, lt=1, description="codec: pull of a critic of patches as a share of the likelihood's; 0: no critic"
    )
    adversarial_after: Share = Field(0.5, description="share of the run after which there is a critic")
    critic_width: Width = Field(64, description="channels of the critic")
    critic_gamma: float = Field(1.0, ge=0, description="weight of the penalty on the critic's slope at real patches")

    likelihood: Literal["bernoulli", "gaussian", "mse"] = "bernoulli"
    std: Annotated[float, Field(gt=0)] | Literal["learned"] = Field(
        "learned", description="gaussian: standard deviation on the scale [-1, 1]; learned: one for each channel"
    )
    binarize: Literal["none", "dynamic"] = Field(
        "none", description="dynamic: a value becomes 1 with probability of its grey value, anew each time"
    )
    sample_from: Literal["mean", "likelihood"] = Field(
        "mean", description="what a sample shows: the mean of p(x | u), or a draw from it"
    )
    local_temperature: float = Field(
        1.0, ge=0, description="conv: spread of the local latents of a sample; below 1 fewer odd strokes, less variety"
    )

    beta: float = Field(1.0, ge=0, description="weight of the KL (Higgins et al. 2017); 1 is the ELBO")
    kl_warmup: float = Field(0.2, ge=0, le=1, description="share of the run in which beta grows from 0")
    free_bits: float = Field(0.0, ge=0, description="nats that each group of latents may carry at no cost (k = 1)")
    importance_samples: Few = Field(1, description="k of the importance-weighted bound; 1: the ELBO")
    label_dropout: float = Field(0.1, ge=0, le=1, description="share of items that each given column is hidden of")

    optimizer: Literal["adam", "adamw", "adamax"] = "adam"
    muon: float = Field(2.0, ge=0, description="learning rate of Muon, for weight matrices, over `lr`; 0: no Muon")
    lr: float = Field(2e-3, gt=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    warmup: float = Field(0.01, ge=0, lt=1, description="share of the run in which the learning rate grows")
    clip: float = Field(200.0, ge=0, description="largest gradient norm; the loss is a sum of nats over values")

    @field_validator("factor")
    @classmethod
    def _is_a_power_of_2(cls, factor: int) -> int:
        if factor == 1 or factor & (factor - 1):
            raise ValueError("a cell of a code is 2, 4, 8, ... values a side; 0 chooses")
        return factor


def build(config: Config, spec: DataSpec) -> VAE:
    """The model for this specification: an encoder and a decoder.

    Raises UserError for settings or shapes that cannot work.
    """
    return VAE(config, spec)


class Scale(nn.Module):
    """A learned standard deviation of each channel on the scale [-1, 1], as a logarithm f32[C, 1, ...].

    speed: how many learning rates it moves in a step of Adam, which looks at no size of a gradient. With 1, that of a
           codec is behind its errors all through a short run, so codes count too much and flat ground is left grey.
    """

    def __init__(self, channels: int, dims: int, speed: float = 1.0) -> None:
        super().__init__()
        self.speed = speed
        self.log_std = nn.Parameter(torch.full((channels, *[1] * dims), math.log(0.3) / speed))

    def forward(self) -> Tensor:
        # -5: 0.007, a step of 8-bit values. Below it densities have no bound.
        return (self.speed * self.log_std).clamp(min=-5)


class VAE(Model):
    """p(x | given) with a latent code u ~ N(0, I). Meets Encodes, Scores and Exports."""

    exact = False  # the ELBO, or the importance-weighted bound

    watches = (
        Watch(
            name="posterior collapse",
            key="elbo/active_units",
            below=1.0,
            after=0.3,
            saw="no latent says anything about the item: all samples come from one blurred mean",
            advice="model.kl_warmup=0.3, model.free_bits=2, or a smaller model.beta",
        ),
    )

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        self.config, self.shape = config, spec.only(GridSpec).shape
        shape = self.shape
        self.target, self.columns = spec.only_name, given_columns(spec)
        if config.network == "mlp":
            self.net: Flat | Ladder | Codec = Flat(
                shape, shape[0], plain_condition(self.columns), config.latent_dim, config.hidden
            )
        elif config.network == "codec":
            self.net = Codec(
                shape, shape[0], config.channels, config.factor, config.width, config.encoder_blocks,
                config.decoder_blocks,
            )  # fmt: skip
        else:
            self.net = Ladder(
                shape, shape[0], condition(self.columns, config.width), config.width, config.groups,
                config.encoder_blocks, config.head,
            )  # fmt: skip
        if config.likelihood == "gaussian" and config.std == "learned":
            self.scale = Scale(shape[0], len(shape) - 1, speed=20.0 if config.network == "codec" else 1.0)
        self.keeps = tuple(dict(self.named_children()))
        if config.adversarial:
            if config.network != "codec":
                raise UserError(
                    f"model.adversarial is of codecs, and model.network is {config.network}.", "Leave it out."
                )
            self.critic = PatchCritic(shape, config.critic_width)

    # -- learning ------------------------------------------------------------------------------------

    def phases(self) -> Sequence[Phase]:
        c = self.config
        optim = Optim(
            c.optimizer, c.lr, (c.beta1, c.beta2),
            schedule="cosine", warmup=c.warmup, clip=c.clip, muon=c.muon, not_muon=NOT_MUON,
        )  # fmt: skip
        elbo = Phase("elbo", self.keeps, self.elbo, optim)
        if not c.adversarial:
            return [elbo]
        critic = Optim("adam", c.lr, (0.0, 0.99), schedule="cosine", warmup=c.warmup)
        after = c.adversarial_after
        penalty = Phase("penalty", ("critic",), self.penalty, critic, every=PENALTY_EVERY, after=after)
        return [Phase("d", ("critic",), self.d, critic, after=after), *([penalty] if c.critic_gamma else []), elbo]

    def elbo(self, batch: Batch, step: Step) -> Loss:
        """The negative ELBO with its weights, or the importance-weighted bound; parts in nats per item."""
        c, n, k = self.config, batch.size, self.config.importance_samples
        x = self.observe(batch, step.rng)
        given = drop(batch.given, self.columns, n, c.label_dropout, step.rng)
        # All noise of an item in one row, so that the same item sees the same noise in any micro-batch.
        noise = step.rng.normal(n, k * self.latent_dim).view(n * k, self.latent_dim)
        passed: Pass = self.net(x, vector(self.net, given, n), noise)
        log_px = self.log_likelihood(passed.out, repeat(x, n * k))
        beta = c.beta * min(1.0, step.progress / c.kl_warmup) if c.kl_warmup else c.beta
        if k > 1:
            log_weights = log_px + beta * passed.log_ratio
            total = -likelihood.importance_bound(log_weights.view(n, k)).mean()
        else:
            kl = free_bits(passed.kl, c.free_bits)
            if step.progress < c.kl_warmup:
                kl = balance(kl)
            total = (beta * kl.sum(0) - log_px).mean()
        if c.adversarial and (since := step.progress - c.adversarial_after) >= 0:
            total = total + min(1.0, since / RISE) * self.persuasion(passed.out, log_px).mean()
        kl_nats = passed.kl.detach().sum(0).mean()
        reconstruction = log_px.detach().mean()
        parts = {
            "elbo_nats": reconstruction - kl_nats,
            "reconstruction_nats": reconstruction,
            "kl_nats": kl_nats,
            "active_units": active_units(passed.mean.detach()),
        }
        return Loss(total, parts)

    def persuasion(self, out: Tensor, log_px: Tensor) -> Tensor:
        """What pulls outputs to where the critic takes them for real, f32[N]: 0, and only its gradient counts.

        That of an item is as large as the gradient of its log p(x | u), times `adversarial` = a: balanced as by Esser
        et al. 2021, eq. 7, but at the outputs. Where a Gaussian and the critic hold each other, outputs are off their
        mean by a times the error: the mean squared error is 1 / (1 - a^2) times as large at most, where twice is as
        much as it ever takes to be taken for real (Blau & Michaeli 2018, section 4).
        """
        unlikely = non_saturating_generator(self.critic(self.mean(out)))
        (towards,) = torch.autograd.grad(unlikely, out, retain_graph=True)
        (back,) = torch.autograd.grad(log_px.sum(), out, retain_graph=True)
        share = (back.flatten(1).norm(dim=1) / (towards.flatten(1).norm(dim=1) + 1e-12)).view(-1, *[1] * (out.ndim - 1))
        return (self.config.adversarial * share * towards * (out - out.detach())).flatten(1).sum(1)

    def d(self, batch: Batch, step: Step) -> Loss:
        """The critic tells patches of items from those of items decoded. `ranked`: share of pairs in which it does."""
        x = self.observe(batch, step.rng)
        passed: Pass = self.net(x, None, step.rng.normal(batch.size, self.latent_dim))
        real, fake = self.critic(torch.cat([x, self.mean(passed.out)])).chunk(2)
        return Loss(binary_critic(real, fake), {"ranked": (real > fake).float().mean()})

    def penalty(self, batch: Batch, step: Step) -> Loss:
        """gamma / 2 R1, of patches."""
        x = self.observe(batch, step.rng)
        slope = patch_penalty(self.critic, x, step.rng.uniform(batch.size, self.critic.cells)).mean()
        return Loss(self.config.critic_gamma / 2 * slope, {"r1": slope.detach()})

    def observe(self, batch: Batch, rng: Rng) -> Tensor:
        """The target as the likelihood sees it, f32[B, C, *grid] in [-1, 1]."""
        x = batch.only()
        return x if self.config.binarize == "none" else likelihood.binarize(x, rng.uniform(*x.shape))

    def log_likelihood(self, out: Tensor, x: Tensor) -> Tensor:
        """log p(x | u), f32[N], nats; of a density over [-1, 1] unless Bernoulli."""
        if self.config.likelihood == "bernoulli":
            return likelihood.bernoulli(out, x)
        if self.config.likelihood == "mse":
            return likelihood.squared_error(out, x)
        return likelihood.gaussian(out, self.log_std, x)

    @property
    def log_std(self) -> Tensor:
        """Of the Gaussian; broadcasts over f32[N, C, *grid]."""
        if self.config.likelihood == "mse":
            return torch.tensor(0.5 * math.log(0.5))
        return self.scale() if self.config.std == "learned" else torch.tensor(math.log(self.config.std))

    # -- sampling ------------------------------------------------------------------------------------

    def sample(self, n: int, given: Given, rng: Rng) -> dict[str, Tensor]:
        code = self._tempered(rng.normal(n, self.latent_dim))
        out = self.net(None, vector(self.net, given, n), code).out
        mean = self.mean(out)
        if self.config.sample_from == "likelihood":
            if self.config.likelihood == "bernoulli":
                mean = likelihood.binarize(mean, rng.uniform(*mean.shape))
            else:
                mean = (mean + self.log_std.exp() * rng.normal(*mean.shape)).clamp(-1, 1)
        return {self.target: mean}

    def _tempered(self, code: Tensor) -> Tensor:
        """What a code drawn from N(0, I) is in a sample."""
        if isinstance(self.net, Ladder):
            return code * self.net.spread(self.config.local_temperature).to(code.device)
        return code

    def graphs(self) -> tuple[Graph, ...]:
        """Of the mean of p(x | u), also where samples are draws from it."""

        def make(z: Tensor, given: Given) -> Tensor:
            return self.decode(self._tempered(z), given)[self.target]

        return (decoder(make, self.latent_dim, self.columns, self.shape),)

    def mean(self, out: Tensor) -> Tensor:
        """E[x | u], in [-1, 1]."""
        return 2 * out.sigmoid() - 1 if self.config.likelihood == "bernoulli" else out.clamp(-1, 1)

    @property
    def density(self) -> Literal["discrete", "continuous", "none"]:
        """What exp(log_prob) is; a Bernoulli of grey values does not sum to 1 over them."""
        if self.config.likelihood != "bernoulli":
            return "continuous"
        return "discrete" if self.config.binarize == "dynamic" else "none"

    # -- Encodes and Scores ----------------------------------------------------------------------------

    @property
    def latent_dim(self) -> int:
        return self.net.latent_dim

    @property
    def code_grid(self) -> tuple[int, ...] | None:
        return self.net.code_grid if isinstance(self.net, Codec) else None

    def decode(self, z: Tensor, given: Given) -> dict[str, Tensor]:
        return {self.target: self.mean(self.net(None, vector(self.net, given, len(z)), z).out)}

    def encode(self, batch: Batch) -> Tensor:
        x, n = batch.only(), batch.size
        if self.config.binarize == "dynamic":
            x = likelihood.binarize(x, torch.full_like(x, 0.5))  # what the encoder has learned to read
        if isinstance(self.net, Codec):
            return self.net.encode(x)
        passed: Pass = self.net(x, vector(self.net, batch.given, n), x.new_zeros(n, self.latent_dim))
        return passed.code

    def score_target(self, batch: Batch, rng: Rng) -> Batch:
        return Batch({self.target: self.observe(batch, rng)}, batch.given, batch.items)

    def log_prob(self, batch: Batch, rng: Rng, samples: int = 1) -> Tensor:
        n, x = batch.size, batch.only()
        y = vector(self.net, batch.given, n)
        log_weights: list[Tensor] = []
        stride = max(1, _ROWS // n)
        for start in range(0, samples, stride):
            k = min(stride, samples - start)
            noise = rng.normal(n, k * self.latent_dim).view(n * k, self.latent_dim)
            passed: Pass = self.net(x, y, noise)
            log_px = self.log_likelihood(passed.out, repeat(x, n * k))
            log_weights.append((log_px + passed.log_ratio).view(n, k))
        return likelihood.importance_bound(torch.cat(log_weights, 1))


def balance(kl: Tensor) -> Tensor:
    """KL of each group f32[groups, N] times its size beside the mean group, at most 1.

    While beta grows, a group that carries little pays little for more, so that all groups come into use;
    without it one group learns everything and the others never wake. After Vahdat & Kautz 2020, eq. 9,
    but for each item alone, so that the loss stays a mean over items.
    """
    weight = kl.detach() + 0.1
    return kl * (weight / weight.mean(0)).clamp(max=1)


def active_units(mean: Tensor) -> Tensor:
    """How many latents have a posterior mean f32[N, latent_dim] that varies over the items, f32[]."""
    return (mean.var(0, correction=0) > ACTIVE).sum().float()
