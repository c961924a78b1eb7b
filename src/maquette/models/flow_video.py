"""Clips that go on by moving what was seen (nets/mover.py): of layers of the last moment, where each cell of them goes.

Motion is learned from pictures alone. Where a thing lands beside its place, coarser pictures tell in which direction
that is, and so all scales are compared. What was seen before is explained by the same layers, moved back, which tells
apart what has crossed.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from maquette.core.bounds import Few
from maquette.core.model import Loss, Motion
from maquette.core.spec import DataSpec, GridSpec
from maquette.core.table import Table
from maquette.losses.scales import over_scales
from maquette.models._continuing import NOT_MUON, Continuing, ContinuingConfig, families, resolved
from maquette.models._given import ANY
from maquette.nets.condition import Condition
from maquette.nets.mover import Mover, Scene

SUPPORTS = (GridSpec,)
GIVEN = ANY

__all__ = ["GIVEN", "SUPPORTS", "Config", "FlowVideo", "build", "families", "resolve"]


class Config(ContinuingConfig):
    """Settings of a model that moves what was seen."""

    layers: Few = Field(2, description="that may lie over one another, each with its motion, beside the ground")
    past: float = Field(0.5, ge=0, description="weight of the error of the moments before, beside those ahead")


def resolve(config: Config, spec: DataSpec, train: Table) -> Config:
    """The settings with how many moments are seen and made, and what the model of the first ones measures."""
    found: Config = resolved(config, spec, train)
    return found


def build(config: Config, spec: DataSpec) -> FlowVideo:
    """The model for this specification.

    Raises UserError for what is no clip, and for settings that cannot work.
    """
    return FlowVideo(config, spec)


class FlowVideo(Continuing):
    """What comes next as what was seen, moved. Meets Continues and Moves."""

    not_muon = (*(f"trunk.{name}" for name in NOT_MUON), "motion")

    def network(self, described: Condition | None) -> nn.Module:
        c, (channels, _, *size) = self.config, self.shape
        return Mover(
            (channels, *size), c.seen, c.ahead, c.layers, described, c.width, c.deep, c.blocks, c.deep_blocks,
            c.condition,
        )  # fmt: skip

    def made(self, out: Scene) -> Tensor:
        return out.frames()[0].movedim(2, 1)

    def error(self, out: Scene, seen: Tensor, ahead: Tensor) -> Loss:
        future, past, shares = out.frames()
        wrong = future - ahead.movedim(1, 2)
        error = over_scales(wrong)
        parts = {"square": wrong.detach().square().mean(), "moved": shares.detach().sum(2).mean()}
        if self.config.past and past.shape[1]:
            before = over_scales(past - seen[:, :, :-1].flip(2).movedim(1, 2))
            error, parts = error + self.config.past * before, {**parts, "past": before.detach()}
        return Loss(error, parts)

    # -- Moves ---------------------------------------------------------------------------------------

    def motion(self, first: Tensor, count: int) -> Motion:
        """How the `count` moments after f32[B, C, T, H, W] come from those before them."""
        flows, masks, x = [], [], first
        for _ in range(-(-count // self.config.ahead)):
            scene: Scene = self._next(x, {})
            future, _, shares = scene.frames()
            flows.append(scene.flow())
            masks.append(torch.cat([shares, 1 - shares.sum(2, keepdim=True)], 2))
            x = torch.cat([x, future.movedim(2, 1).clamp(-1, 1)], 2)
        return Motion(torch.cat(flows, 1)[:, :count], torch.cat(masks, 1)[:, :count])
