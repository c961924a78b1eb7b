"""WaveNet (van den Oord et al. 2016): a sound sample by sample, each drawn given all before it.

One phase minimises, over the samples x_1 .. x_n of a clip and its end,

    -sum_t log p(x_t | x_1 .. x_(t-1), y) - log p(end | x_1 .. x_n, y)

with y what is given, if anything is. A clip ends where nothing but exact zeros follows: the end is an outcome of its
own beside the values of a sample, so clips of any length have a probability, and padding costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from maquette.core.batch import Batch, lengths
from maquette.core.bounds import VALUES, Depth, Width
from maquette.core.cache import cache_folder
from maquette.core.errors import UserError
from maquette.core.model import Given, Loss, Model, Phase, Step
from maquette.core.option import Option, above
from maquette.core.progress import stage
from maquette.core.rng import Rng
from maquette.core.spec import DataSpec, GridSpec
from maquette.core.watches import exploding
from maquette.losses import logistics, mu_law
from maquette.models._given import ANY, condition, drop, given_columns, vector
from maquette.models._learning import Learning, Muon, Warmup
from maquette.nets.sounding import Voice, compiled_loop
from maquette.nets.wavenet import WaveNet

SUPPORTS = (GridSpec,)
GIVEN = ANY
NOT_MUON = ("embedding", "condition", "given", "head")  # where values come in and go out, and what steers
PIECE = 2**14  # samples that are scored at once,
AT_ONCE = 2**10  # and made, before it is seen which clips have ended
FIRST = 2**8  # samples of the first piece of a stream
SLOWLY = "without numba, with which it is some 25 times as fast: pip install 'maquette[fast]'"


class Config(Learning):
    """Settings of a WaveNet."""

    blocks: Depth = Field(4, le=16, description="times that the dilations 1, 2, 4, ... are gone through")
    layers: Depth = Field(10, le=14, description="layers of a block: with each of them it hears twice as far back")
    residual: Width = Field(32, le=1024, description="numbers that go from layer to layer; multiples of 16 are fast")
    skip: Width = Field(256, le=4096, description="numbers that the last layers read; multiples of 16 are fast")
    condition: Width = Field(64, description="numbers that describe what is given")
    output: Literal["mu-law", "logistics"] = Field(
        "mu-law",
        description="how a sample is drawn: mu-law: of 256 values, finer where it is quiet; logistics: of all that 16 "
        "bits have, by a mixture of logistic distributions (Salimans et al. 2017)",
    )
    mixtures: int = Field(10, ge=1, le=64, description="logistic distributions of the mixture")
    crop: int = Field(
        2**14,
        ge=16,
        le=VALUES,
        description="samples of a clip that are learned in a step; what is before them is heard",
    )
    label_dropout: float = Field(0.1, ge=0, le=1, description="share of items that each given column is hidden of")

    muon: Muon = 0.0
    warmup: Warmup = 0.02


def build(config: Config, spec: DataSpec) -> WaveNetModel:
    """The model for this specification.

    Raises UserError for what is no sound of one channel.
    """
    return WaveNetModel(config, spec)


class WaveNetModel(Model):
    """p(clip | y), sample by sample. Meets Unfolds and Scores.

    log p of a clip is in nats; its end is counted, and its padding is not. With mu-law that is the probability of the
    clip's codes, with logistics that of its 16-bit values.
    """

    density: Literal["discrete", "continuous", "none"] = "discrete"
    exact = True
    options = (Option("temperature", float, 1.0, "Below 1, likelier samples: cleaner, and less varied.", above(0)),)
    watches = (exploding("nll", above=50.0),)

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        c, column = config, spec.only(GridSpec)
        self.config, self.target, self.columns = config, spec.only_name, given_columns(spec)
        if len(column.grid) != 1:
            raise UserError(
                f"A WaveNet makes what goes on in time alone; '{self.target}' has {len(column.grid)} dimensions.",
                "`maquette recipes` lists what can make it.",
            )
        if column.channels != 1:
            raise UserError(
                f"A WaveNet makes one channel; '{self.target}' has {column.channels}.",
                f"Mix them: data.{column.kind}.mix=mono.",
            )
        (self.length,) = column.grid
        self.coder: mu_law.Coder | logistics.Coder = (
            mu_law.Coder() if c.output == "mu-law" else logistics.Coder(c.mixtures)
        )
        self.net = WaveNet(
            len(self.coder.values), self.coder.outputs, c.blocks, c.layers, c.residual, c.skip,
            condition(self.columns, c.condition),
        )  # fmt: skip

    # -- learning ------------------------------------------------------------------------------------

    def phases(self) -> Sequence[Phase]:
        c = self.config
        return [Phase("nll", ("net",), self.nll, c.optim(not_muon=NOT_MUON))]

    def nll(self, batch: Batch, step: Step) -> Loss:
        """-log p of a crop of each item, over the samples of the largest; its part is that of a sample, in nats."""
        n, crop = batch.size, min(self.config.crop, self.length + 1)
        given = drop(batch.given, self.columns, n, self.config.label_dropout, step.rng)
        y, places = vector(self.net, given, n), step.rng.uniform(n)
        total, count = batch.only().new_zeros(()), 0
        for i, x in enumerate(_clips(batch.only())):
            there = self._outcomes(x)
            size = min(crop, there)
            begin = min(max(int(places[i] * there) - size // 2, 0), there - size)  # the ends as often as the rest
            total = total - self._log_prob(x, None if y is None else y[i : i + 1], begin, begin + size).sum()
            count += size
        return Loss(total / (n * crop), {"nats_per_sample": total.detach() / max(count, 1)})

    def _outcomes(self, x: Tensor) -> int:
        """Samples of a clip, and its end unless it is as long as there is room for."""
        return min(len(x) + 1, self.length)

    def _log_prob(self, x: Tensor, y: Tensor | None, begin: int, end: int) -> Tensor:
        """log p of the outcomes begin .. end of a clip f32[n], each, nats. y: what is given of it, f32[1, width]"""
        heard = max(0, begin - self.net.receptive_field + 1)
        before = self.coder.before(x[max(heard - 1, 0) : end - 1], start=heard == 0)
        return self.coder.log_prob(self.net(before, y, begin - heard), x[begin:end])

    # -- sounding ------------------------------------------------------------------------------------

    def sample(self, n: int, given: Given, rng: Rng, temperature: float = 1.0) -> dict[str, Tensor]:
        """temperature: below 1, likelier samples."""
        made, rows = torch.zeros(n, 1, self.length), np.arange(n)
        voice, noise = self._voice(), self._noise(n, rng)
        state = voice.begin(self._steering(n, given))
        with stage("sounding" if voice.compiled else f"sounding {SLOWLY}", self.length) as sounding:
            while len(rows) and state.time < self.length:
                here = slice(state.time, state.time + AT_ONCE)
                drawn = voice.advance(state, noise[rows, here], temperature)
                made[rows, 0, here] = torch.from_numpy(np.nan_to_num(drawn))
                sounding.done = state.time
                if not state.goes_on.all():
                    going = np.flatnonzero(state.goes_on)
                    state, rows = state.rows(going), rows[going]
        return {self.target: made.to(self.net.bias.device)}

    def unfold(
        self, given: Given, rng: Rng, temperature: float = 1.0, prompt: Tensor | None = None
    ) -> Iterator[Tensor]:  # fmt: skip
        """One item in pieces f32[1, n], of which the first is short."""
        voice, noise, steering = self._voice(), self._noise(1, rng), self._steering(1, given)
        state = voice.begin(steering)
        if prompt is not None:
            voice.hear(state, self.coder.before(prompt[0], start=True), steering[0])
        while state.time < self.length and state.goes_on[0]:
            size = AT_ONCE if state.time else FIRST
            drawn = voice.advance(state, noise[:, state.time : state.time + size], temperature)
            yield torch.from_numpy(drawn[~np.isnan(drawn)])[None]

    @property
    def remark(self) -> str:
        return "" if compiled_loop(_kept()) else f"Sounding {SLOWLY}"

    def _voice(self) -> Voice:
        return Voice(self.net, self.coder.values, self.coder.mixtures, _kept())

    def _noise(self, n: int, rng: Rng) -> np.ndarray:
        """What each sample is drawn by, f32[n, N, 2]: a uniform number and, of mixtures, a logistic one."""
        uniform = rng.uniform(n, self.length, 2 if self.coder.mixtures else 1).cpu()
        chosen, second = uniform[..., 0], uniform[..., -1].double().clamp(2.0**-25, 1 - 2.0**-25)
        return torch.stack([chosen, second.logit().float()], -1).numpy()

    def _steering(self, n: int, given: Given) -> Tensor:
        # One by one: a product of many rows is another to the last bit, and so could a draw be.
        each = ({name: value[i : i + 1] for name, value in given.items()} for i in range(n))
        return torch.stack([self.net.steering(vector(self.net, one, 1)) for one in each])

    # -- Scores --------------------------------------------------------------------------------------

    def score_target(self, batch: Batch, rng: Rng) -> Batch:
        return batch

    def counted(self, batch: Batch) -> Tensor:
        """Samples of each clip, i64[B]."""
        return lengths(batch.only())

    def log_prob(self, batch: Batch, rng: Rng, samples: int = 1) -> Tensor:
        y = vector(self.net, batch.given, batch.size)
        found = []
        for i, x in enumerate(_clips(batch.only())):
            there = self._outcomes(x)
            pieces = (
                self._log_prob(x, None if y is None else y[i : i + 1], at, min(at + PIECE, there)).sum()
                for at in range(0, there, PIECE)
            )
            found.append(sum(pieces, x.new_zeros(())))
        return torch.stack(found)


def _clips(x: Tensor) -> Iterator[Tensor]:
    """Clips f32[B, 1, N] without their padding, f32[n] each."""
    for clip, length in zip(x[:, 0], lengths(x).tolist(), strict=True):
        yield clip[:length]


def _kept() -> Path:
    """Where the compiled loop is kept."""
    return cache_folder("compiled", "numba")
