"""Two stages for large items (Rombach et al. 2022): a codec that was trained before makes them small, and a model of
another family learns the small ones.

A code is to that model an item on a grid like any other, of a few channels in [-1, 1]: the codec's latents, whose
prior is N(0, I), over SPAN. So whatever learns items on grids in one phase can learn codes; `flow` does so best.

The codec is frozen, and becomes part of the run: it works where the codec's own run is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.graph import Graph, item_port
from maquette.core.model import Encodes, Given, GridCode, Loss, Model, Phase, Step
from maquette.core.rng import Rng
from maquette.core.run import open_run
from maquette.core.spec import ColumnSpec, DataSpec, GridSpec
from maquette.core.table import Table
from maquette.models._given import ANY
from maquette.models._leaving import graphs_of, then
from maquette.models._members import (
    REMEDY_PRIOR,
    Member,
    build_member,
    family_of,
    fill,
    named,
    runs_of,
    settings_of,
)  # fmt: skip

SUPPORTS = (GridSpec,)
GIVEN = ANY
SPAN = 4.0  # standard deviations of the latents that a code reaches
ROWS = 16  # items decoded at a time: bounds the memory
OF_VALUES = ("levels", "degrade")  # settings that make no sense of codes
MEASURED = ("data_mean", "data_std")  # and those that auto would take from items
REMEDY = "Name a run of image/codec: model.codec=runs/codec"


class Config(BaseModel):
    """Settings of a model of codes."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    codec: Member | str | None = Field(None, description="run folder of a codec, trained on items of the same size")
    prior: dict[str, Any] = Field({"family": "flow"}, description="family that learns the codes, and its settings")

    @field_validator("prior")
    @classmethod
    def _settings_of_its_family(cls, prior: dict[str, Any]) -> dict[str, Any]:
        return settings_of(prior)


def resolve(config: Config, spec: DataSpec, train: Table | None = None) -> Config:
    """The settings with the codec's run folder replaced by what it holds; UserError where it does not fit the data."""
    told = Member(run=config.codec) if isinstance(config.codec, str) else config.codec
    if told is None:
        raise UserError("A model of codes takes a codec, and the recipe names none.", REMEDY)
    if told.run is None or told.family is not None:
        return config.model_copy(update={"codec": told})
    folder = open_run(told.run)
    recipe, own = folder.recipe(), folder.spec()
    theirs: ColumnSpec = own.only()
    ours = spec.only(GridSpec)
    if own.given or theirs.kind != ours.kind or not isinstance(theirs, GridSpec):
        what = f"was trained with {', '.join(own.given)}" if own.given else f"makes {theirs.kind}"
        raise UserError(f"'{told.run}' {what}: it is no codec of {ours.kind}.", REMEDY)
    if theirs.shape != ours.shape:
        raise UserError(
            f"Codec '{told.run}' reads items of {_size(theirs)}; these are {_size(ours)}.",
            f"Train a codec on this data, or have it prepared as that of the codec was (data.{ours.kind}).",
        )
    weights = folder.weights()
    codec = Member(**named(folder), family=recipe.family, model=recipe.config.model_dump(mode="json"), given=())
    fill(_codec(codec, spec), weights, told.run)
    return config.model_copy(update={"codec": codec})


def codecs(config: Config) -> tuple[str, ...]:
    """The run whose codes are learned: it may have learned other data."""
    return runs_of(config.codec)


def families(config: Config) -> tuple[str, ...]:
    """Further families that a model of this one is made of."""
    return (str(config.prior["family"]),)


def build(config: Config, spec: DataSpec) -> Latent:
    """The model for this specification: a codec and a model of its codes.

    Raises UserError for settings or shapes that cannot work.
    """
    return Latent(resolve(config, spec), spec)


class Latent(Model):
    """p(x | given) as what a codec makes of z ~ p(z | given). Meets Encodes, through both, UsesCodec and Exports."""

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        self.config = config
        self.target, self.shape = spec.only_name, spec.only(GridSpec).shape
        assert isinstance(config.codec, Member)
        codec = _codec(config.codec, spec)
        if config.codec.run is not None:
            folder = config.codec.folder
            try:
                fill(codec, folder.weights(), config.codec.run)
            except UserError as error:
                self.missing_weights = (f"codec '{folder.path}': {error.problem}",)
        assert isinstance(codec, GridCode) and codec.code_grid is not None
        self.grid = codec.code_grid
        self.codec = codec.eval().requires_grad_(False)
        family, settings = family_of(config.prior)
        for key in OF_VALUES:
            if config.prior.get(key) not in (None, (), [], "none"):
                raise UserError(f"model.prior.{key} is about values of items, and codes have none.", "Leave it out.")
        for key in MEASURED:
            if config.prior.get(key) == "auto":
                raise UserError(
                    f"model.prior.{key} is measured on items, and codes are values of their own.",
                    f"Name a number: codes have a mean near 0, and a standard deviation near {1 / SPAN}.",
                )
        if hasattr(family, "families"):  # it looks at the items before another learns, and these are no codes
            name = config.prior["family"]
            raise UserError(
                f"'{name}' has a model of its own, and cannot learn codes.",
                f"Take a recipe of the family {name}, and 'model.prior={{family: latent, codec: RUN, ...}}' in it.",
            )
        if not issubclass(GridSpec, family.SUPPORTS):
            raise UserError(f"'{config.prior['family']}' cannot learn codes, which are on grids.", REMEDY_PRIOR)
        columns = {**spec.columns, self.target: GridSpec(kind=spec.only().kind, shape=self.grid)}
        self.prior = family.build(settings, spec.model_copy(update={"columns": columns}))
        self.watches, self.options, self.needs = self.prior.watches, self.prior.options, self.prior.needs
        self.settled = self.prior.settled
        if len(self.prior.phases()) != 1 or not isinstance(self.prior, Encodes):
            raise UserError(f"'{config.prior['family']}' cannot learn codes.", REMEDY_PRIOR)

    def train(self, mode: bool = True) -> Latent:
        """The codec stays as it is used."""
        super().train(mode)
        self.codec.eval()
        return self

    def codes(self, batch: Batch) -> Batch:
        """The batch with its items as codes f32[B, channels, *cells] in [-1, 1]."""
        with torch.no_grad():
            z = self.codec.encode(Batch(batch.target, {}, batch.items))
        return Batch({self.target: (z.view(-1, *self.grid) / SPAN).clamp(-1, 1)}, batch.given, batch.items)

    def phases(self) -> Sequence[Phase]:
        (phase,) = self.prior.phases()
        not_muon = tuple(f"{net}.{name}" for net in phase.nets for name in phase.optim.not_muon)

        def loss(batch: Batch, step: Step) -> Loss:
            return phase.loss(self.codes(batch), step)

        return [replace(phase, nets=("prior",), loss=loss, optim=replace(phase.optim, not_muon=not_muon))]

    # -- sampling ------------------------------------------------------------------------------------

    def sample(self, n: int, given: Given, rng: Rng, **options: Any) -> dict[str, Tensor]:
        """options: of the model of the codes."""
        (codes,) = self.prior.sample(n, given, rng, **options).values()
        return self._decoded(codes)

    def _decoded(self, codes: Tensor) -> dict[str, Tensor]:
        flat = (SPAN * codes).flatten(1)
        return {self.target: torch.cat([self.codec.decode(part, {})[self.target] for part in flat.split(ROWS)])}

    def graphs(self, **asked: Any) -> tuple[Graph, ...]:
        def make(codes: Tensor) -> Tensor:
            return self.codec.decode((SPAN * codes).flatten(1), {})[self.target]

        name = str(self.config.prior["family"])
        return tuple(then(graph, make, item_port(self.shape)) for graph in graphs_of(self.prior, name, asked))

    # -- Encodes, through both models ----------------------------------------------------------------

    @property
    def latent_dim(self) -> int:
        return self.prior.latent_dim

    def decode(self, z: Tensor, given: Given) -> dict[str, Tensor]:
        (codes,) = self.prior.decode(z, given).values()
        return self._decoded(codes)

    def encode(self, batch: Batch) -> Tensor:
        return self.prior.encode(self.codes(batch))


def _codec(told: Member, spec: DataSpec) -> Model:
    model = build_member(told, spec)
    if not isinstance(model, GridCode) or model.code_grid is None:
        raise UserError(f"'{told.run or told.family}' has no codes on a grid.", REMEDY)
    for name in dict(model.named_children()).keys() - model.kept:
        delattr(model, name)  # only its training needed that
    return model


def _size(column: GridSpec) -> str:
    """Width first, as people say it: "64x48 in 3 channels"."""
    return f"{'x'.join(map(str, reversed(column.grid)))} in {column.channels} channel{'s' * (column.channels > 1)}"
