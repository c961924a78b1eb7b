"""Text to speech by flow matching (Matcha-TTS, Mehta et al. 2024): a sound given its text.

A sound is a row of cells, a few frames of mel bands each. A network makes of a text one mean for the cells of each of
its tokens; which cells these are, nobody says: the monotonic way through text and sound on which means and cells agree
best is looked for anew in each step (Kim et al. 2020). One phase minimises, of an item,

    |v - (x - e)|^2  +  |x - mean|^2 / 2  +  d / d' - log (d / d') - 1

per value or token, with x its cells, e noise, v the velocity on the straight way between them given the means, and d,
d' a token's cells as found and as predicted. When sampling, d' says how long each token lasts. What makes sounds of
mel bands is learned in the same run (models/_voice.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat
from torch import Tensor

from maquette.core.batch import Batch, lengths
from maquette.core.bounds import Depth, Few, Width
from maquette.core.errors import UserError
from maquette.core.model import Given, Loss, Model, Phase, Step
from maquette.core.option import Option, above, at_least, between
from maquette.core.progress import stage
from maquette.core.rng import Rng
from maquette.core.spec import PAD, DataSpec, GridSpec, TokenSpec
from maquette.core.table import Table
from maquette.losses import flow_matching as fm
from maquette.losses.divergence import itakura_saito
from maquette.models._given import ANY, beside_source, condition, drop, source_name, source_of, vector
from maquette.models._learning import Learning
from maquette.models._voice import VoiceConfig, voice
from maquette.nets.dims import gather, spread
from maquette.nets.speech import CellDenoiser, TextEncoder
from maquette.sampling import ode
from maquette.sampling.alignment import monotonic, places

SUPPORTS = (GridSpec,)
GIVEN = ANY
NEEDS = (TokenSpec,)  # the text: rows that lack it teach nothing
NOT_MUON = ("embedding", "condition", "head", "duration", "stem", "time")  # where values come in and go out
MEASURED = 200  # training items whose mean and standard deviation are measured
SILENCE = -1.0  # of a frame of mel bands
EVEN = 6.0  # nats a value that it costs to be a whole sound away from an even pace, at first
LONGEST = 50.0  # cells that a token is given at most before training has said how many


class Config(Learning):
    """Settings of text to speech."""

    frames: int = Field(2, ge=1, le=16, description="frames of mel bands that are a cell")
    text_width: Width = Field(128, description="numbers that describe a token")
    text_layers: Depth = Field(2, description="transformer layers over the text")
    heads: int = Field(2, ge=1, le=64, description="attention heads of these")
    width: Width = Field(192, description="channels of the network of velocities")
    blocks: Depth = Field(6, description="residual blocks of it: each sees four cells further")
    condition: Width = Field(128, description="numbers that describe time and what else is given")
    voice: VoiceConfig = Field(default_factory=VoiceConfig, description="what makes sounds of mel bands")

    data_mean: float | Literal["auto"] = Field("auto", description="mean of the mel bands; auto: measured")
    data_std: PositiveFloat | Literal["auto"] = Field("auto", description="their standard deviation, likewise")
    spread: PositiveFloat = Field(0.6, description="standard deviation of cells about their means, over that of all")
    time_mean: float = Field(0.0, description="times are sigmoid(mean + std z): above 0, more of them near the data")
    time_std: float = Field(1.0, gt=0)
    even_until: float = Field(
        0.2, gt=0, le=1, description="share of the run until which tokens are drawn to an even pace, less and less"
    )
    label_dropout: float = Field(
        0.1, ge=0, le=1, description="share of items that each given column but the text is hidden of"
    )

    steps: Few = Field(8, description="of samples, unless others are asked for")


def resolve(config: Config, spec: DataSpec, train: Table) -> Config:
    """The settings with mean and standard deviation measured, if they are asked for."""
    rows = np.linspace(0, len(train) - 1, min(len(train), MEASURED)).astype(np.int64)
    sounds = train.batch(rows, spec).only()
    grids = voice(config.voice, spec.only(GridSpec)).mel.of(sounds).flatten(1, 2)
    there = torch.cat([grid[:, :end] for grid, end in zip(grids, lengths(grids - SILENCE), strict=True)], 1)
    measured = {"data_mean": there.mean().item(), "data_std": max(there.std().item(), 1e-3)}
    asked = [name for name in measured if getattr(config, name) == "auto"]
    return config.model_copy(update={name: float(f"{measured[name]:.3g}") for name in asked})


def build(config: Config, spec: DataSpec) -> Speech:
    """The model for this specification.

    Raises UserError for settings or shapes that cannot work, and where no text is given.
    """
    if source_name(spec) is None:
        raise UserError(
            f"Text to speech makes '{spec.only_name}' from a text, and none is given.",
            "Name the column that is read aloud: --given text.",
        )
    if config.text_width % (2 * config.heads):
        raise UserError("A head of attention has an even number of numbers.", "Choose text_width or heads so.")
    return Speech(config, spec)


class Speech(Model):
    """p(sound | text, y). Meets Aligns."""

    needs = (TokenSpec,)
    options = (
        Option("steps", int, None, "Steps from noise to speech.", between(1, 4096)),
        Option("temperature", float, 1.0, "Below 1, less varied; 0 always says it the same way.", at_least(0)),
        Option("speed", float, 1.0, "Above 1, faster.", above(0)),
    )

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        c, column = config, spec.only(GridSpec)
        self.config, self.spec, self.target = config, spec, spec.only_name
        self.voice, self.channels = voice(c.voice, column), column.channels
        self.mean, self.std = (
            value if isinstance(value, float) else unmeasured
            for value, unmeasured in ((c.data_mean, 0.0), (c.data_std, 0.5))
        )
        self.scaling = fm.Scaling(c.spread)
        self.columns = beside_source(spec)
        values = column.channels * self.voice.mel.bands * c.frames
        source = spec.columns[source_name(spec) or ""]
        self.text = TextEncoder(
            source.vocab, values, c.text_width, c.text_layers, c.heads, condition(self.columns, c.text_width)
        )
        self.denoiser = CellDenoiser(values, c.width, c.blocks, c.condition, condition(self.columns, c.condition))
        for name, network in self.voice.networks().items():
            self.add_module(name, network)
        self.keeps = ("text", "denoiser", *self.voice.keeps)

    # -- sounds as cells -----------------------------------------------------------------------------

    @property
    def most(self) -> int:
        """Cells of the longest sound."""
        return -(-self.voice.mel.frames(self.voice.samples) // self.config.frames)

    def _cells(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Sounds f32[B, C, N] -> cells f32[B, D, T] as long as the longest, and how many each has, i64[B]."""
        grids = self.voice.mel.of(x).flatten(1, 2)
        counts = (lengths(grids - SILENCE) + self.config.frames - 1).div(self.config.frames, rounding_mode="floor")
        counts = counts.clamp(min=1)
        room = int(counts.max()) * self.config.frames
        grids = F.pad(grids, (0, max(room - grids.shape[-1], 0)), value=SILENCE)[..., :room]
        return gather((grids - self.mean) / self.std, self.config.frames), counts

    def _grids(self, cells: Tensor, counts: Tensor) -> Tensor:
        """The inverse: f32[B, C, bands, frames], of the longest sound; silent behind the end."""
        frames = self.voice.mel.frames(self.voice.samples)
        grids = (spread(cells, self.config.frames) * self.std + self.mean).clamp(-1, 1)
        behind = torch.arange(grids.shape[-1], device=grids.device) >= counts[:, None] * self.config.frames
        grids = F.pad(grids.masked_fill(behind[:, None], SILENCE), (0, frames), value=SILENCE)[..., :frames]
        return grids.unflatten(1, (self.channels, -1))

    # -- learning ------------------------------------------------------------------------------------

    def phases(self) -> Sequence[Phase]:
        c = self.config
        return [Phase("speech", ("text", "denoiser"), self.loss, c.optim(not_muon=NOT_MUON)), *self.voice.phases()]

    def loss(self, batch: Batch, step: Step) -> Loss:
        """The sum of three terms, each a mean over the values, or the tokens, of an item."""
        c, n, rng = self.config, batch.size, step.rng
        x, counts = self._cells(batch.only())
        given = {**batch.given, **drop(self._beside(batch.given), self.columns, n, c.label_dropout, rng)}
        noise, times = rng.normal(n, x.shape[1], self.most)[..., : x.shape[-1]], rng.normal(n)
        tokens, mask = self._tokens(given), _mask(counts)
        means, log_durations = self.text(tokens, vector(self.text, given, n), tokens != PAD)
        durations = self._durations(means, x, tokens, counts, max(0.0, 1 - step.progress / c.even_until))
        mean = _upsampled(means, durations)
        t = fm.logit_normal(times, c.time_mean, c.time_std)
        velocity = self._velocity(fm.between(x, noise, t), t, mean, vector(self.denoiser, given, n), mask)
        flow = _of_cells((velocity - (x - noise)).square(), mask)
        prior = _of_cells((mean - x).square(), mask) / 2
        there = tokens != PAD
        lasting = (itakura_saito(durations.clamp(min=0.5), log_durations) * there).sum(1) / there.sum(1)
        parts = {"flow": flow, "prior": prior, "duration": lasting}
        return Loss((flow + prior + lasting).mean(), {name: part.detach().mean() for name, part in parts.items()})

    def _velocity(self, x: Tensor, t: Tensor, mean: Tensor, y: Tensor | None, mask: Tensor) -> Tensor:
        """At x, f32[B, D, T]: that of sounds that are Gaussian about their means, and what the network adds."""
        s, about = self.scaling, mean.detach()
        beyond = x - fm.over(t, x) * about
        out = self.denoiser(beyond * fm.over(s.into(t), x), mean, t, y, mask)
        return about + fm.over(s.skip(t), x) * beyond + fm.over(s.out(t), x) * out

    @torch.no_grad()
    def _durations(self, means: Tensor, x: Tensor, tokens: Tensor, counts: Tensor, evenly: float = 0.0) -> Tensor:
        """Cells of each token, i64[B, S], of the way on which means f32[B, D, S] and cells f32[B, D, T] agree best: by
        the likelihood of cells that are Gaussian about them. evenly: how much less likely it is to be far from where
        all tokens last as long."""
        means, x, sizes = means.float(), x.float(), (tokens != PAD).sum(1)
        scores = means.mT @ x - means.square().sum(1)[..., None] / 2  # and what is the same for all tokens
        if evenly:
            s, t = ((torch.arange(n, device=x.device) + 0.5) / m[:, None]
                    for n, m in ((means.shape[-1], sizes), (x.shape[-1], counts)))  # fmt: skip
            scores = scores - evenly * EVEN * means.shape[1] * (s[..., None] - t[:, None]).square()
        return monotonic(scores, sizes, counts)

    def _tokens(self, given: Given) -> Tensor:
        tokens = source_of(given, self.spec)
        assert tokens is not None
        return tokens

    def _beside(self, given: Given) -> dict[str, Tensor]:
        return {name: value for name, value in given.items() if name in self.columns}

    # -- speaking ------------------------------------------------------------------------------------

    def sample(
        self, n: int, given: Given, rng: Rng, steps: int | None = None, temperature: float = 1.0, speed: float = 1.0
    ) -> dict[str, Tensor]:
        """steps: None takes those of the settings. temperature: of the noise; speed: by which durations are divided."""
        tokens = self._tokens(given)
        noise = rng.normal(n, self.denoiser.head.out_channels, self.most) * temperature
        there = tokens != PAD
        means, log_durations = self.text(tokens, vector(self.text, given, n), there)
        lasting = log_durations.clamp(max=np.log(LONGEST)).exp() * there / speed
        ends = lasting.cumsum(1).round().clamp(1, self.most + 1).long()  # so that what is rounded off is not lost
        longer = int((ends[:, -1] > self.most).sum())
        ends = ends.clamp(max=self.most)
        told = f", {longer:,} of them cut: they would be longer than {self._seconds:.3g} s" if longer else ""
        mean, counts = _upsampled(means, ends.diff(dim=1, prepend=ends.new_zeros(n, 1))), ends[:, -1]
        y, mask = vector(self.denoiser, given, n), _mask(counts)
        times = torch.linspace(0, 1, (steps or self.config.steps) + 1, device=mean.device)
        with stage(f"speaking{told}", n):
            x = ode.euler(lambda x, t: self._velocity(x, t, mean, y, mask), noise[..., : mean.shape[-1]], times)
            return {self.target: self.voice.sound(self._grids(x, counts))}

    @property
    def _seconds(self) -> float:
        """Of the longest sound."""
        return self.voice.samples / self.voice.mel.rate

    # -- Aligns --------------------------------------------------------------------------------------

    def alignment(self, batch: Batch) -> Tensor:
        """Which token each cell of a sound belongs to, f32[B, T, S]: 1 there, else 0; behind the end, the last."""
        tokens = self._tokens(batch.given)
        x, counts = self._cells(batch.only())
        means, _ = self.text(tokens, vector(self.text, batch.given, batch.size), tokens != PAD)
        found = places(self._durations(means, x, tokens, counts))
        return F.one_hot(found, tokens.shape[1]).float()


def _mask(counts: Tensor) -> Tensor:
    """f32[B, 1, T], 1 within the first `counts` i64[B] of the most, else 0."""
    return (torch.arange(int(counts.max()), device=counts.device) < counts[:, None])[:, None].float()


def _upsampled(means: Tensor, durations: Tensor) -> Tensor:
    """What belongs to tokens f32[B, D, S] for each of the cells that they last, f32[B, D, T]."""
    return means.gather(2, places(durations)[:, None].expand(-1, means.shape[1], -1))


def _of_cells(error: Tensor, mask: Tensor) -> Tensor:
    """The mean over the values of an item, f32[B]."""
    return (error.mean(1, keepdim=True) * mask).flatten(1).sum(1) / mask.flatten(1).sum(1)
