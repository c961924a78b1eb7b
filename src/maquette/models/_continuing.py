"""How families learn clips that go on: a network makes the next moments of those it is shown, and the first moments
come from a model of another family, to which they are one item with as many channels. Both learn in the same run.

Of some items only so many moments are shown as that model makes, and the rest is hidden: one network goes on with
samples and with clips of which more is known. What comes after the moments that it makes at once is made of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn

from maquette.core.batch import Batch
from maquette.core.bounds import Depth, Few, Share, Width
from maquette.core.errors import UserError
from maquette.core.graph import Graph, Port, given_ports
from maquette.core.model import Given, Loss, Model, Phase, Step
from maquette.core.rng import Rng
from maquette.core.rows import passes, rows_of
from maquette.core.spec import DataSpec, GridSpec
from maquette.core.table import Column, Table
from maquette.models._given import condition, drop, given_columns, vector
from maquette.models._learning import Learning
from maquette.models._leaving import graphs_of, then
from maquette.models._members import REMEDY_PRIOR, family_of, settings_of
from maquette.nets.condition import Condition

NOT_MUON = ("stem", "head", "time", "condition")  # where values come in and go out, and what steers
ROWS = 16  # clips in one pass of the network on a GPU
_PRIOR = "first_"  # before the names of the networks and phases of the model of the first moments


class ContinuingConfig(Learning):
    """Settings of a family that continues."""

    seen: Few | Literal["auto"] = Field("auto", description="moments it looks at; auto: half of a clip, at most 10")
    ahead: Few | Literal["auto"] = Field("auto", description="moments it makes at once; auto: the rest of a clip")
    first: Few = Field(2, description="moments with which a sample begins; the fewest that can be continued")
    few: Share = Field(0.2, description="share of items of which no more than these are shown")
    prior: dict[str, Any] = Field({"family": "flow"}, description="family that learns these, and its settings")
    prior_every: Few = Field(1, description="step in which it learns, one in so many")

    width: Width = Field(128, description="channels on the finest grid; multiples of 32 suit the hardware")
    deep: Width = Field(256, description="channels on the coarser grids")
    blocks: Depth = Field(1, description="residual blocks of each finer grid, on the way down and on the way up")
    deep_blocks: Depth = Field(4, description="residual blocks of the coarsest grid")
    condition: Width = Field(128, description="numbers that describe how much is shown, and what is given")
    label_dropout: Share = Field(0.1, description="share of items that each given column is hidden of")

    @field_validator("prior")
    @classmethod
    def _settings_of_its_family(cls, prior: dict[str, Any]) -> dict[str, Any]:
        return settings_of(prior)


def resolved(config: Any, spec: DataSpec, train: Table) -> Any:
    """The settings with how many moments are seen and made, and with what the other family measures on the first."""
    config = settled(config, spec)
    family, own = family_of(config.prior)
    if not hasattr(family, "resolve"):
        return config
    told, name = _told(config, spec), spec.only_name
    first = Table({**train.columns, name: _First(train.columns[name], config.first, told.only(GridSpec))}, train.names)
    prior = family.resolve(own, told, first).model_dump(mode="json")
    return config.model_copy(update={"prior": {"family": config.prior["family"], **prior}})


def settled(config: Any, spec: DataSpec) -> Any:
    """The settings with how many moments are seen and made; UserError where a clip has not so many."""
    column = spec.only(GridSpec)
    if len(column.grid) != 3:
        raise UserError(
            f"What goes on are clips; '{spec.only_name}' is {column.kind}.", "`maquette recipes` lists what learns it."
        )
    length, first = column.grid[0], config.first
    seen = max(min(length // 2, 10), first) if config.seen == "auto" else config.seen
    ahead = max(length - seen, 1) if config.ahead == "auto" else config.ahead
    if seen < first:
        raise UserError(f"seen = {seen}: a sample begins with {first} moments.", "model.first is at most model.seen.")
    if seen + ahead > length:
        raise UserError(
            f"{seen} moments are seen and {ahead} are made; a clip has {length}.",
            "Take longer clips, as with --frames, or set model.seen and model.ahead.",
        )
    return config.model_copy(update={"seen": seen, "ahead": ahead})


def families(config: ContinuingConfig) -> tuple[str, ...]:
    """Further families that a model is made of."""
    family, own = family_of(config.prior)
    return (str(config.prior["family"]), *(family.families(own) if hasattr(family, "families") else ()))


class Continuing(Model):
    """p(clip | given) as p(first moments | given) and what follows them. Meets Continues.

    A family says which network there is, what of its output are the moments ahead, and by which loss it learns.
    """

    def __init__(self, config: Any, spec: DataSpec) -> None:
        super().__init__()
        self.config = config = settled(config, spec)
        self.target, self.shape = spec.only_name, spec.only(GridSpec).shape
        self.columns = given_columns(spec)
        self.net: Any = self.network(condition(self.columns, config.condition))
        family, own = family_of(config.prior)
        if not issubclass(GridSpec, family.SUPPORTS):
            raise UserError(f"'{config.prior['family']}' does not learn items on grids.", REMEDY_PRIOR)
        prior: Model = family.build(own, _told(config, spec))
        for name, network in prior.named_children():
            self.add_module(_PRIOR + name, network)
        self._prior = [prior]  # in a list: its networks are ours already
        self.keeps = ("net", *(_PRIOR + name for name in prior.kept))
        self.options, self.needs, self.missing_weights = prior.options, prior.needs, prior.missing_weights
        self.settled = prior.settled

    def train(self, mode: bool = True) -> Continuing:
        """The other model may keep networks of its own as they are."""
        super().train(mode)
        self.prior.train(mode)
        return self

    @property
    def prior(self) -> Model:
        """The model of the first moments."""
        return self._prior[0]

    def network(self, described: Condition | None) -> nn.Module:
        """x f32[B, C, seen, H, W], t f32[B] the share of these that is shown, c -> what `made` and `error` read."""
        raise NotImplementedError(f"{type(self).__name__} must say what it learns: network()")

    def made(self, out: Any) -> Tensor:
        """The moments ahead, f32[B, C, ahead, H, W]."""
        raise NotImplementedError(f"{type(self).__name__} must say what it makes: made()")

    def error(self, out: Any, seen: Tensor, ahead: Tensor) -> Loss:
        """Of what the network made, when it was to see and to make these moments f32[B, C, T, H, W]."""
        raise NotImplementedError(f"{type(self).__name__} must say how it learns: error()")

    # -- learning ------------------------------------------------------------------------------------

    def phases(self) -> Sequence[Phase]:
        c = self.config
        optim = c.optim(not_muon=self.not_muon)
        return [Phase("ahead", ("net",), self.goes_on, optim), *map(self._of_prior, self.prior.phases())]

    not_muon: tuple[str, ...] = NOT_MUON

    def goes_on(self, batch: Batch, step: Step) -> Loss:
        """The error of what follows the moments that are shown, of a stretch from anywhere in each clip."""
        c, x, n, rng = self.config, batch.only(), batch.size, step.rng
        length = c.seen + c.ahead
        start = (rng.uniform(n) * (x.shape[2] - length + 1)).long()
        if x.shape[2] > length:
            moments = start[:, None] + torch.arange(length, device=x.device)
            x = x.movedim(2, 1)[torch.arange(n, device=x.device)[:, None], moments].movedim(1, 2)
        seen, ahead = x.split([c.seen, c.ahead], 2)
        hidden = rng.uniform(n) < c.few
        shown = torch.where(hidden, c.first, c.seen)
        given = drop(batch.given, self.columns, n, c.label_dropout, rng)
        return self.error(self._out(_hide(seen, shown), shown, given), seen, ahead)

    def _out(self, x: Tensor, shown: Tensor, given: Given) -> Any:
        return self.net(x, shown / self.config.seen, vector(self.net, given, len(x)))

    def _of_prior(self, phase: Phase) -> Phase:
        first = self.config.first

        def loss(batch: Batch, step: Step) -> Loss:
            target = {self.target: batch.only()[:, :, :first].flatten(1, 2)} if batch.target else {}
            return phase.loss(Batch(target, batch.given, batch.items), step)

        nets = tuple(_PRIOR + name for name in phase.nets)
        return replace(
            phase, name=_PRIOR + phase.name, nets=nets, loss=loss, every=phase.every * self.config.prior_every
        )

    # -- what comes next -----------------------------------------------------------------------------

    @property
    def seen(self) -> int:
        first: int = self.config.first
        return first

    def extend(self, first: Tensor, count: int, given: Given, rng: Rng) -> Tensor:
        """The `count` moments after f32[B, C, T, H, W], of any T >= `first`, f32[B, C, count, H, W]."""
        x, begun = first, first.shape[2]
        side_by_side = rows_of(self.shape) if x.device.type == "cpu" else ROWS
        while x.shape[2] < begun + count:
            parts = [
                self.made(self._next(x[rows], {name: value[rows] for name, value in given.items()}))
                for rows in passes(len(x), side_by_side, x.device)
            ]
            x = torch.cat([x, torch.cat(parts)[: len(x)].clamp(-1, 1)], 2)
        return x[:, :, begun : begun + count]

    def _next(self, x: Tensor, given: Given) -> Any:
        """What the network makes after f32[B, C, T, H, W]; UserError where these are too few or of another size."""
        c, (_, channels, moments, *size) = self.config, x.shape
        if (channels, *size) != (self.shape[0], *self.shape[2:]) or moments < c.first:
            asked = f"{moments} moments of {channels} x {'x'.join(map(str, size))}"
            fits = f"{self.shape[0]} x {'x'.join(map(str, self.shape[2:]))}, {c.first} or more"
            raise UserError(f"{asked} cannot be continued.", f"This model continues {fits}.")
        shown = min(moments, c.seen)
        x = F.pad(x[:, :, -shown:], (0, 0, 0, 0, c.seen - shown, 0))
        return self._out(x, torch.full((len(x),), shown, device=x.device), given)

    def _graphs(self, **asked: Any) -> tuple[Graph, ...]:
        """The first moments, and those after what is seen."""
        c, (channels, _, *size) = self.config, self.shape
        name, firsts = str(c.prior["family"]), ("batch", channels, c.first, *size)
        first = Port("item", firsts, "the first moments, from -1 to 1", low=-1, high=1)
        begins = [
            then(graph, lambda x: x.unflatten(1, (channels, c.first)), first)
            for graph in graphs_of(self._prior[0], name, asked)
        ]
        seen = Port(
            "seen", ("batch", channels, c.seen, *size), "the last moments, 0 where there are fewer", low=-1, high=1
        )
        shown = Port("shown", ("batch",), "how many of these there are", "int64", c.first, c.seen)
        ahead = Port("ahead", ("batch", channels, c.ahead, *size), "the moments after them", low=-1, high=1)

        def run(seen: Tensor, shown: Tensor, *given: Tensor) -> tuple[Tensor]:
            told = dict(zip(self.columns, given, strict=True))
            return (self.made(self._out(_hide(seen, shown), shown, told)).clamp(-1, 1),)

        inputs = (seen, shown, *given_ports(self.columns, ("seen", "shown", "ahead")))
        return (*(replace(graph, name=f"first-{graph.name}") for graph in begins), Graph("next", run, inputs, (ahead,)))

    def sample(self, n: int, given: Given, rng: Rng, **options: Any) -> dict[str, Tensor]:
        """options: of the model of the first moments."""
        first = self.prior.sample(n, given, rng, **options)[self.target]
        first = first.unflatten(1, (self.shape[0], self.config.first)).clamp(-1, 1)
        rest = self.extend(first, self.shape[1] - self.config.first, given, rng)
        return {self.target: torch.cat([first, rest], 2)}


def _hide(x: Tensor, shown: Tensor) -> Tensor:
    """f32[B, C, T, H, W] with 0 for all but the last moments, of which so many are shown, i64[B]."""
    age = torch.arange(x.shape[2], 0, -1, device=x.device)
    return x * (age <= shown[:, None])[:, None, :, None, None]


def _told(config: Any, spec: DataSpec) -> DataSpec:
    """The specification as the other family sees it: the first moments as channels of one."""
    column = spec.only(GridSpec)
    first = GridSpec(kind=column.kind, shape=(column.channels * config.first, *column.grid[1:]), levels=column.levels)
    return spec.model_copy(update={"columns": {**spec.columns, spec.only_name: first}})


@dataclass(frozen=True)
class _First:
    """The first moments of a column of clips, for what the other family measures on training items. Meets Column."""

    column: Column
    moments: int
    spec: GridSpec
    lengths: None = None

    def __len__(self) -> int:
        return len(self.column)

    def take(self, rows: np.ndarray) -> Tensor:
        return self.column.take(rows)[:, :, : self.moments].flatten(1, 2)

    def stored(self, row: int) -> np.ndarray:
        return self.column.stored(row)

    def some(self, rows: np.ndarray) -> Column:
        return replace(self, column=self.column.some(rows))
