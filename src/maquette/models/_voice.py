"""How families that learn grids of mel bands become audible: a voice makes sounds of grids.

It belongs to the model of the grids, and learns in the same run from the same batches: the family adds `networks` to
its children, `keeps` to what it keeps, and `phases` to its own.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from maquette.core.errors import UserError
from maquette.core.model import Phase
from maquette.core.spec import GridSpec
from maquette.nets.mel import Mel
from maquette.sampling.griffin_lim import griffin_lim


class VoiceConfig(BaseModel):
    """Settings of what makes sounds of mel bands."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    vocoder: Literal["griffin-lim"] = Field("griffin-lim", description="griffin-lim: learns nothing")
    rounds: int = Field(60, ge=1, le=1000, description="griffin-lim: times that the sound is made again")


def voice(config: VoiceConfig, column: GridSpec) -> Voice:
    """The voice of a column of sounds.

    Raises UserError for what is no sound.
    """
    return Voice(config, column)


class Voice:
    """Sounds <-> grids of mel bands, and how to learn the way back."""

    keeps: tuple[str, ...] = ()

    def __init__(self, config: VoiceConfig, column: GridSpec) -> None:
        rate = getattr(column, "rate_hz", None)
        if rate is None or len(column.grid) != 1:
            raise UserError(f"A voice makes sounds, and {column.kind} are none.", "`maquette recipes` lists what can.")
        self.config, self.mel = config, Mel(rate)
        (self.samples,) = column.grid

    def networks(self) -> dict[str, nn.Module]:
        """Children that the family adds to its own, by name."""
        return {}

    def phases(self) -> list[Phase]:
        """How `networks` learn, from batches whose one target is the sound."""
        return []

    @torch.no_grad()
    def sound(self, grids: Tensor) -> Tensor:
        """f32[B, C, bands, frames] -> canonical sounds f32[B, C, N], exactly 0.0 behind their ends: where frames stay
        silent until the last. That of an item is the same in any batch."""
        made = torch.stack([self._inverse(grid) for grid in grids.float()])  # sums of more rows have another order
        behind = torch.arange(self.samples, device=grids.device) >= self.mel.lengths(grids, self.samples)[:, None]
        return made.clamp(-1, 1).masked_fill(behind[:, None], 0.0)

    def _inverse(self, grids: Tensor) -> Tensor:
        """f32[C, bands, frames] -> f32[C, N]."""
        mel = self.mel
        return griffin_lim(mel.power(grids).sqrt(), mel.size, mel.hop, self.samples, self.config.rounds)
