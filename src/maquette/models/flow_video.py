"""Clips that go on by moving what was seen (nets/mover.py): of layers of the last moment, where each of them goes.

Motion is learned from pictures alone. Where a thing lands beside its place, coarser pictures tell in which direction
that is, and so all scales are compared. What was seen before is explained by the same layers, moved back, which tells
apart what has crossed.

A second, smaller network does the same for two frames, of each of which the other is the moment before: what lies
between them is layers of both, each moved a part of its way (Niklaus and Liu 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from maquette.core.batch import Batch
from maquette.core.bounds import LONGEST, AnyCount, Few
from maquette.core.errors import UserError
from maquette.core.model import Loss, Motion, Phase, Step
from maquette.core.spec import DataSpec, GridSpec
from maquette.core.table import Table
from maquette.losses.scales import over_scales
from maquette.models._continuing import NOT_MUON, ROWS, Continuing, ContinuingConfig, families, resolved
from maquette.models._given import ANY
from maquette.nets.condition import Condition
from maquette.nets.mover import Mover, Scene, between

SUPPORTS = (GridSpec,)
GIVEN = ANY

__all__ = ["GIVEN", "SUPPORTS", "Config", "FlowVideo", "build", "families", "resolve"]


class Config(ContinuingConfig):
    """Settings of a model that moves what was seen."""

    layers: Few = Field(2, description="that may lie over one another, each with its motion, beside the ground")
    past: float = Field(0.5, ge=0, description="weight of the error of the moments before, beside those ahead")
    follow: float = Field(1.0, ge=0, description="weight of how far layers go from where they are found ahead")
    rigid: float = Field(1.0, ge=0, description="weight of how tiles of a layer move otherwise than all of it")
    between_every: AnyCount = Field(
        4, description="step in which what lies between two frames is learned, one in so many; 0: never"
    )
    apart: Annotated[int, Field(ge=2, le=LONGEST)] = Field(
        3, description="moments from one of these to the other, at most"
    )


def resolve(config: Config, spec: DataSpec, train: Table) -> Config:
    """The settings with how many moments are seen and made, and what the model of the first ones measures."""
    found: Config = resolved(config, spec, train)
    return found


def build(config: Config, spec: DataSpec) -> FlowVideo:
    """The model for this specification.

    Raises UserError for what is no clip, and for settings that cannot work.
    """
    return (Tweening if config.between_every else FlowVideo)(config, spec)


class FlowVideo(Continuing):
    """What comes next as what was seen, moved. Meets Continues and Moves."""

    not_muon = (*(f"trunk.{name}" for name in NOT_MUON), "path.out", "turns", "motion", "shown")

    def network(self, described: Condition | None) -> nn.Module:
        if self.config.seen < 2:
            raise UserError("seen = 1: motion is told from two moments.", "Set model.seen to 2 or more.")
        return self._mover(self.config.seen, self.config.ahead, described, 1)

    def _mover(self, seen: int, ahead: int, described: Condition | None, narrower: int) -> Mover:
        c, (channels, _, *size) = self.config, self.shape
        return Mover(
            (channels, *size), seen, ahead, c.layers, described, -(-c.width // narrower), -(-c.deep // narrower),
            c.blocks, c.deep_blocks, c.condition,
        )  # fmt: skip

    def made(self, out: Scene) -> Tensor:
        return out.future()[0].movedim(2, 1)

    def error(self, out: Scene, seen: Tensor, ahead: Tensor) -> Loss:
        c, (future, shares) = self.config, out.future()
        wrong = future - ahead.movedim(1, 2)
        error = over_scales(wrong)
        parts = {"square": wrong.detach().square().mean(), "moved": shares.detach().sum(2).mean()}
        if c.past:
            before = torch.stack([seen[:, :, -1 - lag] for lag in self.net.before], 1)
            past = over_scales(out.past() - before)
            error, parts = error + c.past * past, {**parts, "past": past.detach()}
        if c.follow and c.seen > 2:
            strayed = out.strayed(ahead)
            error, parts = error + c.follow * strayed, {**parts, "strayed": strayed.detach()}
        return Loss(error + c.rigid * out.bend.abs().mean(), parts)

    # -- Moves ---------------------------------------------------------------------------------------

    def motion(self, first: Tensor, count: int) -> Motion:
        """How the `count` moments after f32[B, C, T, H, W] come from those before them."""
        parts = [self._motion(x, count) for x in first.split(ROWS)]
        return Motion(torch.cat([part.flow for part in parts]), torch.cat([part.masks for part in parts]))

    def _motion(self, x: Tensor, count: int) -> Motion:
        flows, masks = [], []
        for _ in range(-(-count // self.config.ahead)):
            scene: Scene = self._next(x, {})
            future, shares = scene.future()
            flows.append(scene.flow())
            masks.append(torch.cat([shares, 1 - shares.sum(2, keepdim=True)], 2))
            x = torch.cat([x, future.movedim(2, 1).clamp(-1, 1)], 2)
        return Motion(torch.cat(flows, 1)[:, :count], torch.cat(masks, 1)[:, :count])


class Tweening(FlowVideo):
    """One that also knows what lies between two moments. Meets Tweens."""

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        if self.shape[1] < 3:
            raise UserError(
                "Between the two frames of a clip nothing is known.", "Take longer clips, or model.between_every=0."
            )
        self.tween = self._mover(2, 1, None, 2)
        self.keeps = (*self.keeps, "tween")

    def phases(self) -> Sequence[Phase]:
        ahead, *rest = super().phases()
        between = replace(
            ahead, name="between", nets=("tween",), loss=self.lies_between, every=self.config.between_every
        )
        return [ahead, between, *rest]

    def lies_between(self, batch: Batch, step: Step) -> Loss:
        """The error of a moment between two others, from anywhere in each clip."""
        x, n, (u, v, w) = batch.only(), batch.size, step.rng.uniform(batch.size, 3).unbind(1)
        apart = 2 + (u * (min(self.config.apart, x.shape[2] - 1) - 1)).long()
        inner = 1 + (v * (apart - 1)).long()
        start = (w * (x.shape[2] - apart)).long()
        item = torch.arange(n, device=x.device)
        first, middle, last = (x[item, :, start + more] for more in (0, inner, apart))
        wrong = self._between(first, last, (inner / apart)[:, None]) - middle[:, None]
        return Loss(over_scales(wrong), {"square": wrong.detach().square().mean()})

    def _between(self, first: Tensor, last: Tensor, t: Tensor) -> Tensor:
        """f32[B, C, H, W] twice at t f32[B, n], f32[B, n, C, H, W]."""
        whole = t.new_ones(len(t))
        from_first = self.tween(torch.stack([last, first], 2), whole, None)
        from_last = self.tween(torch.stack([first, last], 2), whole, None)
        return between(from_first, from_last, t)

    def between(self, first: Tensor, last: Tensor, count: int) -> Tensor:
        """The `count` moments between f32[B, C, H, W] twice, evenly spaced, f32[B, C, count, H, W]."""
        t = torch.arange(1, count + 1, device=first.device) / (count + 1)
        pairs = zip(first.split(ROWS), last.split(ROWS), strict=True)
        return torch.cat([self._between(a, b, t.expand(len(a), -1)) for a, b in pairs]).movedim(2, 1).clamp(-1, 1)
