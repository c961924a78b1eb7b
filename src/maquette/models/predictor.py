"""Clips whose next moments are painted, all at once, by one convolutional network (SimVP, Gao et al. 2022).

The moments that are seen are channels of one grid, and so are those ahead: what has no recurrence learns the motion of
a clip in one pass, as well as what goes from moment to moment (Tan et al. 2023). It is what `flow_video`, which moves
what was seen, is held against.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maquette.core.model import Loss
from maquette.core.spec import DataSpec, GridSpec
from maquette.core.table import Table
from maquette.models._continuing import Continuing, ContinuingConfig, families, resolved
from maquette.models._given import ANY
from maquette.nets.condition import Condition
from maquette.nets.denoiser import Denoiser

SUPPORTS = (GridSpec,)
GIVEN = ANY

__all__ = ["GIVEN", "SUPPORTS", "Config", "Predictor", "build", "families", "resolve"]


class Config(ContinuingConfig):
    """Settings of a predictor."""


def resolve(config: Config, spec: DataSpec, train: Table) -> Config:
    """The settings with how many moments are seen and made, and what the model of the first ones measures."""
    found: Config = resolved(config, spec, train)
    return found


def build(config: Config, spec: DataSpec) -> Predictor:
    """The model for this specification.

    Raises UserError for what is no clip, and for settings that cannot work.
    """
    return Predictor(config, spec)


class Predictor(Continuing):
    """The mean of what may come next. Meets Continues."""

    def network(self, described: Condition | None) -> nn.Module:
        c, (channels, _, *size) = self.config, self.shape
        return Painter(
            channels, size, c.seen, c.ahead, described, c.width, c.deep, c.blocks, c.deep_blocks, c.condition
        )  # fmt: skip

    def made(self, out: Tensor) -> Tensor:
        return out

    def error(self, out: Tensor, seen: Tensor, ahead: Tensor) -> Loss:
        return Loss((out - ahead).square().mean())


class Painter(Denoiser):
    """x f32[B, C, seen, H, W], t f32[B] the share of these that is shown, c as `condition` makes it -> the moments
    ahead, f32[B, C, ahead, H, W]."""

    def __init__(
        self, channels: int, size: Sequence[int], seen: int, ahead: int, condition: Condition | None, width: int,
        deep: int, blocks: int, deep_blocks: int, described: int,
    ) -> None:  # fmt: skip
        shape = (channels * ahead, *size)
        super().__init__(shape, condition, width, deep, blocks, deep_blocks, described, channels * seen)
        self.channels = channels

    def forward(self, x: Tensor, t: Tensor, c: Tensor | None) -> Tensor:  # type: ignore[override]
        out = super().forward(x.flatten(1, 2), t, torch.zeros_like(t), c)
        return out.unflatten(1, (self.channels, -1))
