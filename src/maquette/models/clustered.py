"""Items of which nothing is given, learned as if their kind were: kinds are found first, and a model of another family
learns p(item | kind). A sample draws its kind, as often as it was found, and then an item of it.

A model that is told the kind makes better items than one that has to settle it on the way, even where kinds are no more
than k-means of what items are like from far off (Liu et al. 2020; Bao et al. 2022); and there is something to guide it
towards (Hu et al. 2023). Where anything is given, nothing is looked for: the other family learns as it does by itself.
"""

from __future__ import annotations

import base64
import binascii
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.bounds import Count
from maquette.core.errors import UserError
from maquette.core.graph import Graph
from maquette.core.model import Decodes, Encodes, Given, Loss, Model, Phase, Step
from maquette.core.rng import Rng
from maquette.core.spec import ClassSpec, DataSpec, GridSpec
from maquette.core.table import Table
from maquette.models._given import ANY
from maquette.models._leaving import graphs_of
from maquette.models._members import REMEDY_PRIOR, family_of, settings_of

SUPPORTS = (GridSpec,)
GIVEN = ANY
KIND = "kind"  # the column of it, as the other family sees it
CELLS = 4  # a side of an item from far off
EACH = 60  # items to a kind, on average
MOST = 128  # kinds
LOOKED_AT = 20_000  # items among which they are found


class Config(BaseModel):
    """Settings of a model of kinds that are found."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    prior: dict[str, Any] = Field({"family": "flow"}, description="family that learns each kind, and its settings")
    kinds: int | None = Field(
        None, gt=0, le=4096, description=f"to look for; null: one to {EACH} items, at most {MOST}; 1: none"
    )
    centres: tuple[str, ...] = Field(
        (), max_length=4096, description="of the kinds that were found, from far off: 8-bit values in base64"
    )
    counts: tuple[Count, ...] = Field((), max_length=4096, description="training items of each kind")

    @field_validator("prior")
    @classmethod
    def _settings_of_its_family(cls, prior: dict[str, Any]) -> dict[str, Any]:
        return settings_of(prior)


def resolve(config: Config, spec: DataSpec, train: Table) -> Config:
    """The settings with the kinds that are found among the training items, where none are given."""
    if not (spec.given or config.centres):
        rows = np.linspace(0, len(train) - 1, min(len(train), LOOKED_AT)).astype(np.int64)
        parts = np.array_split(rows, -(-len(rows) // 500))
        looks = torch.cat([from_afar(train.batch(part, spec).only()) for part in parts])
        config = config.model_copy(update=found(looks, config.kinds or min(len(train) // EACH, MOST)))
    family, prior = family_of(config.prior)
    own = getattr(family, "resolve", None)
    if own is None:
        return config
    resolved = own(prior, spec, train).model_dump(mode="json")  # of items as they are: the table has no kinds
    return config.model_copy(update={"prior": {"family": config.prior["family"], **resolved}})


def families(config: Config) -> tuple[str, ...]:
    """Further families that a model of this one is made of."""
    family, own = family_of(config.prior)
    return (str(config.prior["family"]), *(family.families(own) if hasattr(family, "families") else ()))


def codecs(config: Config) -> tuple[str, ...]:
    """The run whose codes the other family learns, if it does."""
    family, own = family_of(config.prior)
    return tuple(family.codecs(own)) if hasattr(family, "codecs") else ()


def found(looks: Tensor, kinds: int) -> dict[str, Any]:
    """`centres` and `counts` of at most so many kinds among items from far off f32[N, values]; none of fewer than 2."""
    from scipy.cluster.vq import kmeans2

    values = looks.double().numpy()
    kinds = min(kinds, len(np.unique(values, axis=0)))
    if kinds < 2:
        return {"centres": (), "counts": ()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kinds that are left without items, which are left out
        centres, _ = kmeans2(values, kinds, minit="++", seed=0, missing="warn")
    coded = torch.from_numpy((centres + 1) * 127.5).round().clamp(0, 255).byte()
    counts = nearest(looks, _decoded(coded)).bincount(minlength=kinds)
    kept = counts.nonzero()[:, 0]
    if len(kept) < 2:
        return {"centres": (), "counts": ()}
    return {
        "centres": tuple(base64.b64encode(bytes(row.tolist())).decode() for row in coded[kept]),
        "counts": tuple(counts[kept].tolist()),
    }


def from_afar(x: Tensor) -> Tensor:
    """Items f32[B, C, *grid] on a grid of at most CELLS a side, f32[B, C cells]."""
    h = x.float()
    for side, cells in zip(x.shape[2:], _cells(x.shape[1:]), strict=True):
        ends = [(i * side // cells, -(-(i + 1) * side // cells)) for i in range(cells)]
        h = torch.stack([h[:, :, first:end].mean(2) for first, end in ends], -1)  # the next dimension is the third now
    return h.flatten(1)


def nearest(looks: Tensor, centres: Tensor) -> Tensor:
    """The number of the centre f32[K, values] that is nearest to each of f32[B, values], i64[B]."""
    # By differences, not products: the same kind on every machine, and in whatever batch.
    return torch.cdist(looks, centres, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)


def build(config: Config, spec: DataSpec) -> Model:
    """The model for this specification; that of the other family where something is given, or no kinds were found.

    Raises UserError for settings or shapes that cannot work.
    """
    family, own = family_of(config.prior)
    if not issubclass(GridSpec, family.SUPPORTS):
        raise UserError(f"'{config.prior['family']}' does not learn items on grids.", REMEDY_PRIOR)
    prior = family.build(own, _told(config, spec))
    if spec.given or not config.centres:
        assert isinstance(prior, Model)
        return prior
    return (Encoding if isinstance(prior, Encodes) else Clustered)(config, spec, prior)


class Clustered(Model):
    """p(x) as the sum of p(kind) p(x | kind). Its networks are those of the other model. Meets Decodes and
    Exports."""

    centres: Tensor
    until: Tensor

    def __init__(self, config: Config, spec: DataSpec, prior: Model) -> None:
        super().__init__()
        self.config, self.target = config, spec.only_name
        for name, network in prior.named_children():
            self.add_module(name, network)
        self._prior = [prior]  # in a list: its networks are ours already
        shares = torch.tensor(config.counts, device="cpu").double()
        self.register_buffer("centres", _values(config, spec), persistent=False)
        self.register_buffer("until", (shares.cumsum(0) / shares.sum()).float()[:-1], persistent=False)
        self.keeps, self.watches, self.options, self.needs = prior.keeps, prior.watches, prior.options, prior.needs
        self.missing_weights, self.settled = prior.missing_weights, prior.settled

    def train(self, mode: bool = True) -> Clustered:
        """The other model may keep networks of its own as they are."""
        super().train(mode)
        self.prior.train(mode)
        return self

    @property
    def prior(self) -> Model:
        """The model of p(x | kind)."""
        return self._prior[0]

    def phases(self) -> Sequence[Phase]:
        def told(loss: Callable[[Batch, Step], Loss]) -> Callable[[Batch, Step], Loss]:
            return lambda batch, step: loss(self.told(batch, step.rng), step)

        return [replace(phase, loss=told(phase.loss)) for phase in self.prior.phases()]

    def told(self, batch: Batch, rng: Rng) -> Batch:
        """The batch with the kind of each item; where items are withheld, with kinds drawn as often as they come."""
        kind = self.kind(batch.only()) if batch.target else self._drawn(rng.uniform(batch.size))
        return Batch(batch.target, {KIND: kind}, batch.items)

    def kind(self, x: Tensor) -> Tensor:
        """Of items f32[B, C, *grid], i64[B]."""
        return nearest(from_afar(x), self.centres)

    def _drawn(self, u: Tensor) -> Tensor:
        """Kinds i64[B] from u ~ U[0, 1) f32[B]."""
        return torch.bucketize(u, self.until, right=True)

    # -- sampling ------------------------------------------------------------------------------------

    def sample(self, n: int, given: Given, rng: Rng, **options: Any) -> dict[str, Tensor]:
        """options: of the other model."""
        return self.prior.sample(n, {KIND: self._drawn(rng.uniform(n))}, rng, **options)

    def graphs(self, **asked: Any) -> tuple[Graph, ...]:
        """Those of the other model: the kind goes in."""
        return graphs_of(self.prior, str(self.config.prior["family"]), asked)

    # -- Decodes: the first number of a code says the kind -------------------------------------------

    @property
    def latent_dim(self) -> int:
        assert isinstance(self.prior, Decodes)
        return 1 + self.prior.latent_dim

    def decode(self, z: Tensor, given: Given) -> dict[str, Tensor]:
        assert isinstance(self.prior, Decodes)
        return self.prior.decode(z[:, 1:], {KIND: self._drawn(torch.special.ndtr(z[:, 0]))})


class Encoding(Clustered):
    """One whose other model finds the code of an item. Meets Encodes."""

    def encode(self, batch: Batch) -> Tensor:
        assert isinstance(self.prior, Encodes)
        kind = self.kind(batch.only())
        ends = F.pad(F.pad(self.until, (1, 0)), (0, 1), value=1.0)
        middle = torch.special.ndtri((ends[:-1] + ends[1:])[kind].cpu() / 2).to(kind.device)  # not on every device
        code = self.prior.encode(Batch(batch.target, {KIND: kind}, batch.items))
        return torch.cat([middle[:, None], code], 1)


def _told(config: Config, spec: DataSpec) -> DataSpec:
    """The specification as the other family sees it: with the kind among what is given."""
    if spec.given or not config.centres:
        return spec
    alike = len(config.counts) == len(config.centres)  # else they are refused below
    shares = tuple(count / sum(config.counts) for count in config.counts) if alike else ()
    kinds = ClassSpec(kind=KIND, classes=tuple(map(str, range(len(config.centres)))), shares=shares)
    return spec.model_copy(update={"columns": {**spec.columns, KIND: kinds}, "given": (KIND,)})


def _cells(shape: Sequence[int]) -> list[int]:
    return [min(CELLS, side) for side in shape[1:]]


def _decoded(coded: Tensor) -> Tensor:
    """u8 -> f32 in [-1, 1]."""
    return coded.float() / 127.5 - 1


def _values(config: Config, spec: DataSpec) -> Tensor:
    """The centres f32[K, C cells]; UserError where they are not those of such items."""
    shape = spec.only(GridSpec).shape
    size = shape[0] * math.prod(_cells(shape))
    try:
        rows = [base64.b64decode(row, validate=True) for row in config.centres]
    except (binascii.Error, ValueError):
        rows = []
    if [len(row) for row in rows] != [size] * len(config.counts):
        raise UserError(
            f"model.centres and model.counts are not kinds of items of {'x'.join(map(str, shape))}.",
            "Leave both empty: kinds are found anew.",
        )
    return _decoded(torch.tensor([list(row) for row in rows], dtype=torch.uint8, device="cpu"))
