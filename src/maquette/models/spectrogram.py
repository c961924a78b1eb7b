"""Sounds by way of their spectrograms: a model of another family learns grids of mel bands, and a voice makes sounds of
them (Shen et al. 2018). Both learn in the same run, from the same batches.

A grid is to the other model an item like any other, in [-1, 1]: what learns pictures learns it. It says how loud each
band is over time and not in which phase, so codes, walks and reconstructions go through the voice; and how likely a
grid is says nothing of how likely a sound is: the model does not score, even where the other one does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.graph import Graph, Port
from maquette.core.model import Decodes, Encodes, FlowMap, Given, Loss, Model, Phase, Step
from maquette.core.rng import Rng
from maquette.core.spec import DataSpec, GridSpec
from maquette.core.table import Column, Table
from maquette.models._given import ANY
from maquette.models._leaving import graphs_of, then
from maquette.models._members import REMEDY_PRIOR, family_of, settings_of
from maquette.models._voice import Voice, VoiceConfig, voice
from maquette.nets.spectrogram import full_scale, mel_filters, power, transform
from maquette.sampling import posterior
from maquette.sampling.griffin_lim import griffin_lim

SUPPORTS = (GridSpec,)
GIVEN = ANY
STEPS = 16  # in which what is missing is filled
NOTHING = -90.0  # dB of a full-scale sine that a frequency hardly ever comes to which is not heard,
OFTEN = 0.2  # in this share of moments at most: where a sound is cut off, all are heard
SLOPE = 0.93  # share of the frequencies that are heard below which they are as they were: resampling fades them out


class Config(BaseModel):
    """Settings of a model of spectrograms."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    prior: dict[str, Any] = Field({"family": "flow"}, description="family that learns the grids, and its settings")
    dims: Literal[1, 2] = Field(
        1, description="1: bands are channels, on a grid of time alone; 2: a grid of bands by time, like a picture"
    )
    voice: VoiceConfig = Field(VoiceConfig(), description="what makes sounds of the grids")

    @field_validator("prior")
    @classmethod
    def _settings_of_its_family(cls, prior: dict[str, Any]) -> dict[str, Any]:
        return settings_of(prior)


def resolve(config: Config, spec: DataSpec, train: Table) -> Config:
    """The settings with what the other family measures, on grids."""
    family, own = family_of(config.prior)
    if not hasattr(family, "resolve"):
        return config
    bands = Bands.of(config, spec)
    told, name = bands.told(spec), spec.only_name
    grids = Table({**train.columns, name: _Grids(train.columns[name], bands, told.only(GridSpec))}, train.names)
    resolved = family.resolve(own, told, grids).model_dump(mode="json")
    return config.model_copy(update={"prior": {"family": config.prior["family"], **resolved}})


def families(config: Config) -> tuple[str, ...]:
    """Further families that a model of this one is made of."""
    family, own = family_of(config.prior)
    return (str(config.prior["family"]), *(family.families(own) if hasattr(family, "families") else ()))


def build(config: Config, spec: DataSpec) -> Spectrogram:
    """The model for this specification.

    Raises UserError for what is no sound, and for settings that cannot work.
    """
    bands, name = Bands.of(config, spec), config.prior["family"]
    family, own = family_of(config.prior)
    if not issubclass(GridSpec, family.SUPPORTS):
        raise UserError(f"'{name}' does not learn items on grids.", REMEDY_PRIOR)
    prior = family.build(own, bands.told(spec))
    if not isinstance(prior, Decodes):
        raise UserError(f"'{name}' cannot learn spectrograms.", REMEDY_PRIOR)
    made = Whole if isinstance(prior, FlowMap) else Encoding if isinstance(prior, Encodes) else Spectrogram
    return made(config, spec, bands, prior)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Bands:
    """Sounds f32[B, C, N] <-> grids as the other model has them, f32[B, *shape]."""

    voice: Voice
    channels: int
    dims: int
    samples: int

    @classmethod
    def of(cls, config: Config, spec: DataSpec) -> Bands:
        """UserError for what is no sound."""
        column = spec.only(GridSpec)
        return cls(voice(config.voice, column), column.channels, config.dims, column.shape[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        mel = self.voice.mel
        frames = mel.frames(self.samples)
        return (self.channels * mel.bands, frames) if self.dims == 1 else (self.channels, mel.bands, frames)

    def told(self, spec: DataSpec) -> DataSpec:
        """The specification as the other family sees it: with grids for sounds."""
        grids = GridSpec(kind=spec.only().kind, shape=self.shape)
        return spec.model_copy(update={"columns": {**spec.columns, spec.only_name: grids}})

    def grids(self, x: Tensor) -> Tensor:
        return self.voice.mel.of(x).view(-1, *self.shape)

    def sounds(self, grids: Tensor) -> Tensor:
        mel = self.voice.mel
        return self.voice.sound(grids.view(len(grids), self.channels, mel.bands, -1))


class Spectrogram(Model):
    """p(sound | given) as what a voice makes of grids ~ p(grid | given). Its networks are those of both. Meets
    Decodes and Exports."""

    def __init__(self, config: Config, spec: DataSpec, bands: Bands, prior: Model) -> None:
        super().__init__()
        self.config, self.target, self.bands = config, spec.only_name, bands
        for name, network in prior.named_children():
            self.add_module(name, network)
        for name, network in bands.voice.networks().items():
            self.add_module(_spoken(name), network)
        self._prior = [prior]  # in a list: its networks are ours already
        self.keeps = (*prior.kept, *map(_spoken, bands.voice.keeps))
        self.watches, self.options, self.needs = prior.watches, prior.options, prior.needs
        self.missing_weights, self.settled = prior.missing_weights, prior.settled

    def train(self, mode: bool = True) -> Spectrogram:
        """The other model may keep networks of its own as they are."""
        super().train(mode)
        self.prior.train(mode)
        return self

    @property
    def prior(self) -> Any:
        """The model of p(grid | given)."""
        return self._prior[0]

    def phases(self) -> Sequence[Phase]:
        def seen(loss: Callable[[Batch, Step], Loss]) -> Callable[[Batch, Step], Loss]:
            return lambda batch, step: loss(self.grids(batch), step)

        spoken = (
            replace(phase, name=_spoken(phase.name), nets=tuple(map(_spoken, phase.nets)))
            for phase in self.bands.voice.phases()
        )
        return [*(replace(phase, loss=seen(phase.loss)) for phase in self.prior.phases()), *spoken]

    def grids(self, batch: Batch) -> Batch:
        """The batch with grids for sounds; without, where these are withheld."""
        target = {self.target: self.bands.grids(batch.only())} if batch.target else {}
        return Batch(target, batch.given, batch.items)

    # -- sampling ------------------------------------------------------------------------------------

    def sample(self, n: int, given: Given, rng: Rng, **options: Any) -> dict[str, Tensor]:
        """options: of the model of the grids."""
        return self._heard(self.prior.sample(n, given, rng, **options))

    def _heard(self, made: dict[str, Tensor]) -> dict[str, Tensor]:
        return {self.target: self.bands.sounds(made[self.target])}

    def graphs(self, **asked: Any) -> tuple[Graph, ...]:
        """Those of the other model, to grids of mel bands: what makes sounds of them stays."""
        voice, channels = self.bands.voice, self.bands.channels
        shape = (channels, voice.mel.bands, voice.mel.frames(self.bands.samples))
        means = f"mel bands, from -1 (-100 dB) to 1 (0 dB); {voice.mel.size} samples a frame, {voice.mel.hop} apart"
        port = Port("mel", ("batch", *shape), means, low=-1, high=1)
        own = graphs_of(self.prior, str(self.config.prior["family"]), asked)
        return tuple(then(graph, lambda grids: grids.view(-1, *shape), port) for graph in own)

    # -- Decodes -------------------------------------------------------------------------------------

    @property
    def latent_dim(self) -> int:
        dim: int = self.prior.latent_dim
        return dim

    def decode(self, z: Tensor, given: Given) -> dict[str, Tensor]:
        return self._heard(self.prior.decode(z, given))


class Encoding(Spectrogram):
    """One whose other model finds the code of a grid. Meets Encodes."""

    def encode(self, batch: Batch) -> Tensor:
        code: Tensor = self.prior.encode(self.grids(batch))
        return code


class Whole(Encoding):
    """One whose other model codes grids without loss. Meets UsesCodec: what is lost, the voice lost. And Fills, as
    pictures are filled: on its way from noise a grid is corrected by what is known of it (sampling/posterior.py)."""

    @property
    def codec(self) -> Encodes:
        return _Codec(self)

    # -- Fills -----------------------------------------------------------------------------------------

    def filled(self, heard: Tensor, rng: Rng, seen: Tensor, steps: int | None = None) -> Tensor:
        """A long item window by window, each faded into the next; channels one by one."""
        if self.bands.channels > 1:
            raise UserError("This run makes sounds of two channels, which it cannot fill.", "Use one of a single one.")
        items, channels, n = heard.shape
        size = self.bands.samples
        room = max(n, size)
        starts = [*range(0, room - size, max(1, size // 2)), room - size]
        x, there = (F.pad(each, (0, room - n)) for each in (heard, seen.expand_as(heard)))
        there[..., n:] = 1  # behind its end it is known to be silent

        def windows(of: Tensor) -> Tensor:
            return torch.stack([of[..., at : at + size] for at in starts], 2).view(-1, 1, size)

        tops = torch.tensor([self._top(one) for one in x.flatten(0, 1)]).repeat_interleave(len(starts))
        noises = (rng.normal(items, channels * len(starts), *self.bands.shape).flatten(0, 1) for _ in itertools.count())
        made = self._filled(windows(x), windows(there), tops, noises, steps or STEPS)
        fade = 1 - (2 * torch.arange(size, device=x.device) + 1 - size).abs() / (size + 1)
        total, weight = torch.zeros_like(x), x.new_zeros(room)
        for i, at in enumerate(starts):
            total[..., at : at + size] += fade * made.view(items, channels, len(starts), size)[:, :, i]
            weight[at : at + size] += fade
        whole = (total / weight)[..., :n].clamp(-1, 1)
        band = (tops < self.bands.voice.mel.size // 2 + 1).view(items, channels, -1)[..., :1].to(x.device)
        return torch.where((seen > 0) & ~band, heard, whole)

    def _top(self, x: Tensor) -> int:
        """How many frequencies of a sound f32[N] are heard: all but those on top of which it has nothing."""
        mel = self.bands.voice.mel
        loud = power(x, mel.size, mel.hop) > full_scale(mel.size) * 10 ** (NOTHING / 10)
        share = loud.sum(1) / loud.any(0).sum().clamp_min(1)  # of the moments at which there is any sound
        heard = (share > OFTEN).nonzero()[:, 0]
        top = int(heard[-1]) + 1 if len(heard) else len(loud)
        return int(top * SLOPE) if top < SLOPE * len(loud) else len(loud)

    def _filled(
        self, x: Tensor, seen: Tensor, tops: Tensor, noises: Iterator[Tensor], steps: int
    ) -> Tensor:  # fmt: skip
        """Windows f32[W, 1, N]."""
        mel, n = self.bands.voice.mel, len(x)
        frames, bins = mel.frames(self.bands.samples), mel.size // 2 + 1
        around = F.pad(1 - seen, (mel.size // 2, mel.size // 2))
        moments = F.max_pool1d(around, mel.size, mel.hop)[..., :frames] == 0  # [W, 1, frames] that are known
        pitches = torch.arange(bins) < tops[:, None]
        filters = mel_filters(mel.bands, mel.size, mel.rate) > 0
        bands = ~(filters & ~pitches[:, None]).any(-1)  # [W, bands] of which all is heard
        known = (bands[:, :, None].to(x.device) & moments).view(n, *self.bands.shape)
        y = self.bands.grids(x)
        flow = self.prior.flow_map({}, n)
        made = posterior.corrected(
            lambda x, t: flow(x, t, 0 * t), next(noises), torch.linspace(0, 1, steps + 1, device=x.device),
            lambda clean, t: torch.where(known, y, clean), lambda: next(noises),
        )  # fmt: skip
        grids = torch.where(known, y, made.clamp(-1, 1)).view(n, mel.bands, frames)
        fixed = transform(x[:, 0], mel.size, mel.hop), pitches[..., None].to(x.device) & moments
        voice = self.bands.voice
        sounds = (  # one by one: sums over more rows have another order
            griffin_lim(
                voice.magnitudes(grids[i : i + 1]), mel.size, mel.hop, x.shape[-1], voice.rounds,
                known=(fixed[0][i : i + 1], fixed[1][i : i + 1]),
            )
            for i in range(n)
        )  # fmt: skip
        return torch.cat([*sounds])


@dataclass(frozen=True)
class _Codec:
    """Sounds as the grids that they are coded in."""

    model: Spectrogram

    @property
    def latent_dim(self) -> int:
        return int(np.prod(self.model.bands.shape))

    def encode(self, batch: Batch) -> Tensor:
        return self.model.bands.grids(batch.only()).flatten(1)

    def decode(self, z: Tensor, given: Given) -> dict[str, Tensor]:
        return {self.model.target: self.model.bands.sounds(z)}


@dataclass(frozen=True)
class _Grids:
    """A column of sounds as grids, for what the other family measures on training items. Meets Column."""

    column: Column
    bands: Bands
    spec: GridSpec
    lengths: None = None

    def __len__(self) -> int:
        return len(self.column)

    def take(self, rows: np.ndarray) -> Tensor:
        return self.bands.grids(self.column.take(rows))

    def stored(self, row: int) -> np.ndarray:
        return self.column.stored(row)

    def some(self, rows: np.ndarray) -> Column:
        return replace(self, column=self.column.some(rows))


def _spoken(name: str) -> str:
    """A network or phase of the voice: the other model may have one of the same name."""
    return f"voice_{name}"
