"""Sounds by way of their spectrograms: a model of another family learns grids of mel bands, and a voice makes sounds of
them (Shen et al. 2018). Both learn in the same run, from the same batches.

A grid is to the other model an item like any other, in [-1, 1]: what learns pictures learns it. It says how loud each
band is over time and not in which phase, so codes, walks and reconstructions go through the voice; and how likely a
grid is says nothing of how likely a sound is: the model does not score, even where the other one does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
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

SUPPORTS = (GridSpec,)
GIVEN = ANY


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
    """One whose other model codes grids without loss. Meets UsesCodec: what is lost, the voice lost."""

    @property
    def codec(self) -> Encodes:
        return _Codec(self)


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
