"""Flow matching (Lipman et al. 2023; rectified flow, Liu et al. 2023): noise moves to data along a learned field.

One phase. Most items of a batch teach the velocity v(x_t, t) on the straight way from noise (t = 0) to data (t = 1);
one in a few teaches u(x_t, t, h), the mean velocity over the next stretch h, as what two halves of it add up to
(shortcut models, Frans et al. 2024). The velocity is u at h = 0: one network serves solvers of the ODE with many small
steps, and samples in one to four jumps. What is given joins the time in steering every block; of each column by itself
a share is missing in training, so that any subset can be asked for, and none (guidance: Ho & Salimans 2021).

With `degrade`, the network also reads the item as it is seen through a hole, through noise or on a coarser grid, and
learns p(x | what is seen): restoring by a conditional model (Saharia et al. 2022). Some items are not seen at all, so
that the same network makes items out of nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, get_args

import numpy as np
import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.bounds import LONGEST, AnyCount, Depth, Few, Share, Width
from maquette.core.errors import UserError, nearest
from maquette.core.graph import Graph, Port, given_ports, item_port
from maquette.core.hardware import multiplies_bf16
from maquette.core.model import Given, Loss, Model, Phase, Step
from maquette.core.option import Option, above, between
from maquette.core.rng import Rng
from maquette.core.rows import passes, rows_of
from maquette.core.spec import ClassSpec, DataSpec, GridSpec
from maquette.core.table import Table
from maquette.losses import flow_matching as fm
from maquette.losses.levels import LEVELS, Plain, Ranks, count, dequantise
from maquette.models._given import ANY, condition, drop, given_columns, vector
from maquette.models._learning import Learning
from maquette.nets.denoiser import Denoiser
from maquette.sampling import ode
from maquette.sampling.degrade import Kind, corrupt

SUPPORTS = (GridSpec,)
GIVEN = ANY
NOT_MUON = ("stem", "head", "time", "condition")  # where values come in and go out, and what steers
HALVINGS = 3  # the shortest stretch is 1 / 2^3: jumps are learned for samples in 1, 2, 4 and 8
COUNTED = 10_000  # training items whose levels are counted
MEASURED = 500  # whose values' mean and standard deviation are
LEAST_STD = 0.02  # of values that are nearly all alike
ROWS = 64  # items in one pass of the network on a GPU
LAST = 1 - 1e-4  # likelihoods are those of items with so little noise left,
LAST_RANKS = 1 - 1e-2  # or so much where levels are spread out
TOLERANCE = 1e-4  # of the ODE for likelihoods: an error of some thousandths of a bit per value

Patch = Annotated[int, Field(ge=1, le=64)]
Factor = Annotated[int, Field(gt=1, le=LONGEST)]
Sampler = Literal["shortcut", "euler", "midpoint", "heun", "dopri5", "stochastic"]

OPTIONS = (
    Option("sampler", str, None, f"{', '.join(get_args(Sampler))}.", choices=get_args(Sampler)),
    Option("steps", int, None, "Steps from noise to an item; 1 is fastest.", between(1, 4096)),
    Option("guidance", float, None, "Above 1, more typical of what is given.", above(0)),
)


class Config(Learning):
    """Settings of a flow."""

    width: Width = Field(64, description="channels on the finest grid; multiples of 32 suit the hardware")
    deep: Width = Field(128, description="channels on the coarser grids")
    blocks: Depth = Field(1, description="residual blocks of each finer grid, on the way down and on the way up")
    deep_blocks: Depth = Field(4, description="residual blocks of the coarsest grid")
    condition: Width = Field(128, description="numbers that describe time and what is given")
    patch: Patch | Literal["auto", "coarse"] = Field(
        "auto",
        description="values a side of a cell of the finest grid; auto: 2, or 4 of items above 48 a side; coarse: 4 of "
        "items above 16, which leaves out a grid",
    )

    predicts: Literal["velocity", "item"] = Field(
        "velocity",
        description="what the network gives, scaled to 1; item: the item at all times, which is learned sooner where a "
        "cell has many values beside the width",
    )
    data_std: PositiveFloat | Literal["auto"] = Field(
        0.5, description="standard deviation of the values, which scales the network; auto: measured"
    )
    data_mean: float | Literal["auto"] = Field(0.0, description="mean of the values, likewise")
    time_mean: float = Field(-0.5, description="times are sigmoid(mean + std z): above 0, more of them near the data")
    time_std: float = Field(1.0, gt=0)
    levels: Literal["auto", "none"] | tuple[float, ...] = Field(
        "none",
        description="share of each 8-bit level among training values, by which these are spread out to N(0, 1) and "
        "learned so, for likelihoods; auto: counted",
    )
    coupling: Literal["auto", "none", "transport"] = Field(
        "auto",
        description="transport: noise goes to the nearest item of a batch and class; auto: only where nothing is given",
    )
    label_dropout: float = Field(0.1, ge=0, le=1, description="share of items that each given column is hidden of")
    degrade: tuple[Kind, ...] = Field((), description="corruptions that it learns to correct; empty: none")
    factors: tuple[Factor, ...] = Field((2, 4), min_length=1, max_length=64, description="of `downscale`")
    unseen: Share = Field(0.15, description="share of items of which nothing is seen, where corruptions are corrected")
    shortcut_every: AnyCount = Field(4, description="one item in so many teaches longer stretches; 0: none")
    shortcut_after: Share = Field(0.3, description="share of the run in which all items teach the velocity")

    sampler: Sampler = Field("shortcut", description="of samples, unless another is asked for")
    steps: Few = Field(4, description="of samples, unless others are asked for")
    guidance: float = Field(
        1.4, gt=0, description="of samples, unless another is asked for: above 1, more typical of what is given"
    )
    churn: float = Field(1.0, ge=0, description="stochastic: how much noise is added on the way")
    shift: float = Field(
        1.0, gt=0, le=100, description="of the times of steps: above 1, more of them near the data; shortcut keeps 1"
    )

    @model_validator(mode="after")
    def _jumps_are_learned(self) -> Config:
        if self.sampler == "shortcut" and not self.shortcut_every:
            raise ValueError("sampler: shortcut needs shortcut_every above 0; heun does not")
        return self

    @model_validator(mode="after")
    def _noise_is_independent(self) -> Config:
        # Noise that is near the item would say what of it is not seen, and sampling does not know that.
        if self.degrade and self.coupling == "transport":
            raise ValueError("coupling: transport is not for restoring (degrade); leave it at auto")
        return self

    @model_validator(mode="after")
    def _levels_are_those_of_whole_items(self) -> Config:
        if self.degrade and self.levels != "none":
            raise ValueError("levels: spread out, they are not for restoring (degrade); leave it at none")
        if isinstance(self.levels, tuple) and (len(self.levels) != LEVELS or min(self.levels) <= 0):
            raise ValueError(f"levels: {LEVELS} shares above 0, or auto, or none")
        return self


def resolve(config: Config, spec: DataSpec, train: Table) -> Config:
    """The settings with the shares of levels counted, and mean and standard deviation measured, if they are asked
    for."""
    found: dict[str, Any] = {}
    if config.levels == "auto":
        counts = np.ones(LEVELS)  # of each one more than there are, so that none is impossible
        for some in _some(train, spec, COUNTED):
            counts += count(some)
        found["levels"] = tuple(float(f"{share:.4g}") for share in counts / counts.sum())
    if asked := [name for name in ("data_mean", "data_std") if getattr(config, name) == "auto"]:
        measured = {"data_mean": 0.0, "data_std": 1.0}  # of levels spread out
        if config.levels == "none":
            values = next(_some(train, spec, MEASURED))
            measured = {"data_mean": values.mean().item(), "data_std": max(values.std().item(), LEAST_STD)}
        found |= {name: float(f"{measured[name]:.3g}") for name in asked}
    return config.model_copy(update=found)


def _some(train: Table, spec: DataSpec, most: int) -> Iterator[Tensor]:
    """The target of training items from all over the table, a part of them at a time."""
    rows = np.linspace(0, len(train) - 1, min(len(train), most)).astype(np.int64)
    for part in np.array_split(rows, -(-len(rows) // 500)):
        yield train.batch(part, spec).only()


def build(config: Config, spec: DataSpec) -> Flow:
    """The model for this specification: a network of velocities.

    Raises UserError for settings or shapes that cannot work.
    """
    return Flow(config, spec)


class Flow(Model):
    """p(x | given) as the distribution of noise moved along u. Meets Encodes, Scores, FlowMap and Exports."""

    density: Literal["discrete", "continuous", "none"] = "continuous"
    exact = True
    options = OPTIONS
    settled = ("sampler", "steps")

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        self.config, column = config, spec.only(GridSpec)
        self.target, self.shape, self.levels = spec.only_name, column.shape, column.levels
        self.columns = given_columns(spec)
        c = config
        if c.degrade and len(column.grid) != 2:
            raise UserError(
                f"degrade: corruptions are those of two-dimensional grids; '{self.target}' has {len(column.grid)}.",
                "Leave model.degrade empty.",
            )
        inputs = self.shape[0] + (self.shape[0] + 1 if c.degrade else 0)
        self.net = Denoiser(
            self.shape, condition(self.columns, c.condition), c.width, c.deep, c.blocks, c.deep_blocks, c.condition,
            inputs, c.patch,
        )  # fmt: skip
        self.scaling = fm.Scaling(
            0.5 if c.data_std == "auto" else c.data_std,
            0.0 if c.data_mean == "auto" else c.data_mean,
            c.predicts == "item",
        )
        self.space: Plain | Ranks = Plain()
        if c.levels != "none":
            if self.levels != LEVELS:
                raise UserError(f"levels: '{self.target}' has no 8-bit levels.", "Leave model.levels at none.")
            self.space = Ranks((1.0,) * LEVELS if c.levels == "auto" else c.levels)  # auto: not counted, all alike
        self.last = LAST if c.levels == "none" else LAST_RANKS
        self.coupled = c.coupling == "transport" or (c.coupling == "auto" and not self.columns and not c.degrade)
        if self.coupled and len(spec.givens(ClassSpec)) < len(self.columns):
            raise UserError(
                "coupling: transport exchanges noise among items of which the same is given, which takes classes.",
                "Leave model.coupling at auto.",
            )

    # -- learning ------------------------------------------------------------------------------------

    def phases(self) -> Sequence[Phase]:
        c = self.config
        return [Phase("flow", ("net",), self.flow, c.optim(not_muon=NOT_MUON))]

    def flow(self, batch: Batch, step: Step) -> Loss:
        """|u - target|^2 per value, where the target is x - e, or what two halves of a stretch add up to."""
        c, n, rng = self.config, batch.size, step.rng
        real = batch.only()
        x, noise = self._dequantised(real, rng), rng.normal(n, *self.shape)
        x = self.space.into(x)
        times, places = fm.logit_normal(rng.normal(n), c.time_mean, c.time_std), rng.uniform(n)
        given = drop(batch.given, self.columns, n, c.label_dropout, rng)
        y = vector(self.net, given, n)
        seen = None
        if c.degrade:
            seen = corrupt(real, c.degrade, c.factors, c.unseen, rng.uniform(n, 9), rng.normal(n, *self.shape))
        if self.coupled:
            noise = fm.couple(x, noise, self._groups(given))
        target, h = x - noise, torch.zeros_like(times)
        chosen = None
        if c.shortcut_every and step.progress >= c.shortcut_after:
            chosen = slice(0, None, c.shortcut_every)
            length = 0.5 ** (step.index % (HALVINGS + 1))  # one length a step, so that a step does one thing
            times[chosen], h[chosen] = fm.stretch(places[chosen], length), length
        at = fm.between(x, noise, times)
        if isinstance(self.space, Ranks) and not self.coupled:
            target = (self.space.expected(at, times, real) - at) / fm.over(1 - times, at)
        if chosen is not None:
            target[chosen] = self._two_halves(at[chosen], times[chosen], length, _rows(y, chosen), _rows(seen, chosen))
        error = (self._mean_velocity(at, times, h, y, seen) - target).square().flatten(1).mean(1)
        parts = {}
        if chosen is not None:
            parts = {"shortcut": error[chosen].detach().mean()}
        return Loss(error.mean(), parts)

    @torch.no_grad()
    def _two_halves(
        self, x: Tensor, t: Tensor, length: float, y: Tensor | None, seen: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        """The mean velocity over a stretch from t: of two jumps over its halves (Frans et al. 2024, eq. 5), or for the
        shortest, of one midpoint step along the guided velocity. So jumps are guided at no cost when sampling."""
        half = length / 2
        if length > 0.5**HALVINGS:
            h = torch.full_like(t, half)
            first = self._mean_velocity(x, t, h, y, seen)
            return (first + self._mean_velocity(x + half * first, t + half, h, y, seen)) / 2

        guided = self._guided(self._mean_velocity, y, len(x), self.config.guidance, seen)
        still = torch.zeros_like(t)
        return guided(x + half * guided(x, t, still), t + half, still)

    def _dequantised(self, x: Tensor, rng: Rng) -> Tensor:
        return dequantise(x, rng.uniform(*x.shape), self.levels) if self.levels else x

    def _mean_velocity(
        self, x: Tensor, t: Tensor, h: Tensor, y: Tensor | None, seen: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        """u(x, t, h) f32[B, C, *grid], t and h f32[B]. y: what is given, as the network's condition encodes it.
        seen: what is known of the items, and a mask of where, as f32[B, C + 1, *grid]; None: nothing."""
        s = self.scaling
        x = s.centred(x, t)
        read = [x * fm.over(s.into(t), x)]
        if self.config.degrade:
            read.append(x.new_zeros(len(x), self.shape[0] + 1, *self.shape[1:]) if seen is None else seen)
        out = self.net(torch.cat(read, 1) if len(read) > 1 else read[0], t, h, y)
        return s.mean + fm.over(s.skip(t), x) * x + fm.over(s.out(t), x) * out

    def _groups(self, given: Given) -> Tensor | None:
        """Items of which the same classes are given have the same number, i64[B]; None where nothing is given."""
        found = None
        for name, column in self.columns.items():
            if name in given:
                found = given[name] if found is None else found * (column.num_classes + 1) + given[name]
        return found

    # -- sampling ------------------------------------------------------------------------------------

    def sample(
        self, n: int, given: Given, rng: Rng, *, sampler: Sampler | None = None, steps: int | None = None,
        guidance: float | None = None, seen: Tensor | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """sampler, steps, guidance: None takes those of the settings. dopri5 finds its steps by itself. seen: as
        `flow_map` takes it."""
        noise = rng.normal(n, *self.shape)
        made = self.integrate(noise, given, sampler, steps, guidance, lambda: rng.normal(n, *self.shape), seen)
        return {self.target: self.space.out(made).clamp(-1, 1)}

    def integrate(
        self, x: Tensor, given: Given, sampler: Sampler | None = None, steps: int | None = None,
        guidance: float | Tensor | None = None, noise: Callable[[], Tensor] | None = None, seen: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Noise f32[B, C, *grid] moved to data. noise: draws more of it, for the stochastic sampler; heun without."""
        c = self.config
        sampler, steps = sampler or c.sampler, c.steps if steps is None else steps
        guidance = c.guidance if guidance is None else guidance
        if sampler not in get_args(Sampler):
            raise UserError(f"There is no sampler '{sampler}'.", nearest(sampler, get_args(Sampler)))
        if steps < 1:
            raise UserError(f"steps = {steps}: it takes at least one.", "Ask for 1, 2, 4, ... steps.")
        if sampler == "shortcut":  # jumps have learned the guidance of the settings, and even steps
            return ode.jump(self._flow_map(given, len(x), guidance / c.guidance, seen), x, ode.times(steps))
        u = self._flow_map(given, len(x), guidance, seen)

        def v(x: Tensor, t: Tensor) -> Tensor:
            return u(x, t, torch.zeros_like(t))

        if sampler == "dopri5":
            return ode.dopri5(v, x, 0.0, 1.0)
        times = ode.times(steps, c.shift)
        if sampler == "stochastic" and noise is not None:
            return ode.stochastic(v, x, times, noise, c.churn)
        return {"euler": ode.euler, "midpoint": ode.midpoint}.get(sampler, ode.heun)(v, x, times)

    def graphs(self, *, sampler: Sampler | None = None, steps: int | None = None) -> tuple[Graph, ...]:
        """Noise to items, in steps that are settled."""
        sampler = sampler or self.config.sampler
        if sampler in ("dopri5", "stochastic"):
            why = "finds its steps on the way" if sampler == "dopri5" else "draws noise on the way"
            raise UserError(f"The sampler {sampler} {why}, and cannot leave.", "Take another: --sampler heun.")

        def run(noise: Tensor, *more: Tensor) -> tuple[Tensor]:
            given = dict(zip(self.columns, more, strict=False))
            made = self.integrate(noise, given, sampler, steps, more[-1] if given else None)
            return (self.space.out(made).clamp(-1, 1),)

        noise = Port("noise", ("batch", *self.shape), "what an item comes from, drawn from N(0, 1)")
        ports = given_ports(self.columns, ("noise", "guidance", "item"))
        if ports:
            usual = f"above 1, more typical of what is given; as samples are made: {self.config.guidance:g}"
            ports = (*ports, Port("guidance", (), usual, low=0.5, high=3))
        return (Graph("sampler", run, (noise, *ports), (item_port(self.shape),)),)

    @property
    def corrects(self) -> tuple[str, ...]:
        c = self.config
        enlarges = [f"downscale {factor}" for factor in c.factors] if "downscale" in c.degrade else []
        return (*(kind for kind in c.degrade if kind != "downscale"), *enlarges)

    def flow_map(self, given: Given, n: int, guidance: float = 1.0, seen: Tensor | None = None) -> ode.MeanVelocity:
        """u(x, t, h) of n items, for edits: these compare what is on its way with values of items."""
        if isinstance(self.space, Ranks):
            raise UserError(
                "This run has learned values spread out by their levels (model.levels), which edits cannot guide.",
                "Use a run of image/flow or image/restore.",
            )
        return self._flow_map(given, n, guidance, seen)

    def _flow_map(
        self, given: Given, n: int, guidance: float | Tensor = 1.0, seen: Tensor | None = None
    ) -> ode.MeanVelocity:
        """u(x, t, h) of n items, towards all that is given by `guidance` (Ho & Salimans 2021, eq. 6; it is w + 1)."""
        if not self.columns.keys() & given.keys():
            guidance = 1.0
        return self._guided(self._in_rows, vector(self.net, given, n), n, guidance, seen)

    def _guided(
        self, read: Callable[..., Tensor], y: Tensor | None, n: int, guidance: float | Tensor, seen: Tensor | None
    ) -> ode.MeanVelocity:  # fmt: skip
        """The same of what is given as the condition y, by `read` of x, t, h, y and seen: both ways in one pass."""
        if y is None or (not isinstance(guidance, Tensor) and guidance == 1):
            return lambda x, t, h: read(x, t, h, y, seen)
        both = torch.cat([y, vector(self.net, {}, n)])  # type: ignore[list-item]
        twice = None if seen is None else torch.cat([seen, seen])

        def guided(x: Tensor, t: Tensor, h: Tensor) -> Tensor:
            towards, anyhow = read(torch.cat([x, x]), t.repeat(2), h.repeat(2), both, twice).chunk(2)
            return torch.lerp(anyhow, towards, guidance)

        return guided

    def _in_rows(
        self, x: Tensor, t: Tensor, h: Tensor, y: Tensor | None, seen: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        """u in bf16 where the machine multiplies it, so many items at a time (core/rows.py)."""
        if torch.compiler.is_exporting():  # what leaves is one pass of any size, in full precision
            return self._mean_velocity(x, t, h, y, seen)
        device = x.device.type
        rows = rows_of(self.shape) if device == "cpu" else ROWS
        with torch.autocast(device, torch.bfloat16, enabled=multiplies_bf16(x.device)):
            parts = [
                self._mean_velocity(x[pick], t[pick], h[pick], _rows(y, pick), _rows(seen, pick))
                for pick in passes(len(x), rows, x.device)
            ]
        return torch.cat(parts)[: len(x)]

    # -- Encodes and Scores ----------------------------------------------------------------------------

    @property
    def latent_dim(self) -> int:
        """The noise that an item comes from is its code."""
        return math.prod(self.shape)

    def decode(self, z: Tensor, given: Given) -> dict[str, Tensor]:
        return {self.target: self.space.out(self.integrate(z.view(-1, *self.shape), given)).clamp(-1, 1)}

    def encode(self, batch: Batch) -> Tensor:
        """The ODE the other way."""
        u = self._flow_map(batch.given, batch.size, self.config.guidance)
        x = self.space.into(batch.only())
        times = torch.linspace(1, 0, 33, device=x.device)
        return ode.midpoint(lambda x, t: u(x, t, torch.zeros_like(t)), x, times).flatten(1)

    def score_target(self, batch: Batch, rng: Rng) -> Batch:
        return Batch({self.target: self._dequantised(batch.only(), rng)}, batch.given, batch.items)

    def log_prob(self, batch: Batch, rng: Rng, samples: int = 1) -> Tensor:
        """log p(x | given) with one Hutchinson probe; nothing is gained by several samples, since there is no bound."""
        real = batch.only()
        x, y = self.space.into(real), vector(self.net, batch.given, batch.size)
        probe = torch.where(rng.uniform(*x.shape) < 0.5, -1.0, 1.0)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            with torch.autocast(x.device.type, torch.bfloat16, enabled=multiplies_bf16(x.device)):
                return self._mean_velocity(x, t, torch.zeros_like(t), y)

        field = ode.with_divergence(velocity, probe)
        # What is on its way to x is at last * x when all but a trace of noise is gone.
        state = torch.cat([self.last * x.flatten(1), x.new_zeros(len(x), 1)], 1)
        state = ode.dopri5(field, state, self.last, 0.0, TOLERANCE, TOLERANCE)
        traced = ode.log_normal(state[:, :-1]) - state[:, -1]
        return traced + self.latent_dim * math.log(self.last) + self.space.log_det(real)


def _rows(x: Tensor | None, rows: slice | Tensor) -> Tensor | None:
    return None if x is None else x[rows]
