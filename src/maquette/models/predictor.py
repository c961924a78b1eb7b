"""Clips whose next moments are painted, all at once, by one convolutional network (nets/painter.py).

What has no recurrence learns the motion of a clip in one pass, as well as what goes from moment to moment (SimVP, Gao
et al. 2022; Tan et al. 2023). It is what `flow_video`, which moves what was seen, is held against.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor, nn

from maquette.core.bounds import Width
from maquette.core.graph import Graph
from maquette.core.model import Loss
from maquette.core.spec import DataSpec, GridSpec
from maquette.core.table import Table
from maquette.models._continuing import Continuing, ContinuingConfig, families, resolved
from maquette.models._given import ANY
from maquette.nets.condition import Condition
from maquette.nets.painter import Painter

SUPPORTS = (GridSpec,)
GIVEN = ANY

__all__ = ["GIVEN", "SUPPORTS", "Config", "Predictor", "build", "families", "resolve"]


class Config(ContinuingConfig):
    """Settings of a predictor."""

    width: Width = Field(64, description="channels of a moment ahead, and twice those of one that is seen")


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
    """The mean of what may come next. Meets Continues and Exports."""

    not_muon = ("stem", "skip", "head", "place", "moment", "core.time", "core.condition")

    def network(self, described: Condition | None) -> nn.Module:
        c, (channels, _, *size) = self.config, self.shape
        return Painter(
            (channels, *size), c.seen, c.ahead, described, c.width, c.deep, c.blocks, c.deep_blocks, c.condition
        )  # fmt: skip

    def made(self, out: Tensor) -> Tensor:
        return out

    def error(self, out: Tensor, seen: Tensor, ahead: Tensor) -> Loss:
        return Loss((out - ahead).square().mean())

    def graphs(self, **asked: Any) -> tuple[Graph, ...]:
        """The first moments, and those after what is seen."""
        return self._graphs(**asked)
