"""How families that learn grids of mel bands become audible: a voice makes sounds of grids.

It belongs to the model of the grids, and learns in the same run from the same batches: the family adds `networks` to
its children, `keeps` to what it keeps, and `phases` to its own.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from maquette.core.batch import Batch, lengths
from maquette.core.bounds import Count, Depth, Share, Width
from maquette.core.errors import UserError
from maquette.core.model import Loss, Optim, Phase, Step
from maquette.core.spec import GridSpec
from maquette.losses.spectral import log_distance
from maquette.nets.mel import Mel
from maquette.nets.spectrogram import full_scale, mel_filters, power
from maquette.nets.vocoder import Vocoder
from maquette.sampling.griffin_lim import griffin_lim

GOLDEN = 0.6180339887  # multiples of it fill [0, 1) evenly
LOUDER = 6.0  # dB that moments are made louder or quieter by at most,
FASTER = 1.15  # and faster, and higher by as much: slower ones would lack their highest frequencies
BANDS = 0.2  # what bands count beside frequencies: the logarithm of what is not known is less than its power


class VoiceConfig(BaseModel):
    """Settings of what makes sounds of mel bands."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    vocoder: Literal["learned", "griffin-lim"] = Field("learned", description="griffin-lim: learns nothing")
    rounds: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="of Griffin-Lim; null: 60, or 32 where a network says how loud frequencies are",
    )
    width: Width = Field(256, description="numbers of a frame within the network; multiples of 32 suit the hardware")
    blocks: Depth = Field(6, description="of the network, one after the other")
    seconds: float = Field(0.5, gt=0, le=60, description="of each sound that are learned in a step")
    noise: float = Field(
        0.02, ge=0, le=1, description="most of the noise on the grids it learns from: those that are made are not exact"
    )

    lr: float = Field(2e-3, gt=0)
    muon: float = Field(3.0, ge=0, description="learning rate of Muon, for the blocks' matrices, over `lr`; 0: no Muon")
    beta1: Share = 0.9
    beta2: Share = 0.99
    schedule: Literal["constant", "cosine", "linear"] = "linear"
    warmup: Share = Field(0.01, description="share of the run in which the learning rate grows")
    clip: float = Field(1.0, ge=0, description="largest gradient norm; 0: any")
    every: Count = Field(1, description="steps of the run to a step of the voice")


def voice(config: VoiceConfig, column: GridSpec) -> Voice:
    """The voice of a column of sounds.

    Raises UserError for what is no sound.
    """
    return Learned(config, column) if config.vocoder == "learned" else Voice(config, column)


class Voice:
    """Sounds <-> grids of mel bands, and how to learn the way back; this one learns nothing."""

    keeps: tuple[str, ...] = ()
    rounds = 60

    def __init__(self, config: VoiceConfig, column: GridSpec) -> None:
        rate = getattr(column, "rate_hz", None)
        if rate is None or len(column.grid) != 1:
            raise UserError(f"A voice makes sounds, and {column.kind} are none.", "`maquette recipes` lists what can.")
        self.config, self.mel = config, Mel(rate)
        self.rounds = config.rounds or self.rounds
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
        made = grids.new_zeros(*grids.shape[:2], self.samples)
        for sound, grid, n in zip(made, grids, self.mel.lengths(grids, self.samples).tolist(), strict=True):
            if n:  # one by one: sums over more rows have another order
                sound[:, :n] = self.inverse(grid[..., : self.mel.frames(n)], n)
        return made.clamp(-1, 1)

    def inverse(self, grids: Tensor, samples: int) -> Tensor:
        """f32[B, bands, frames] of one channel each -> f32[B, samples]."""
        return griffin_lim(self.magnitudes(grids), self.mel.size, self.mel.hop, samples, self.rounds)

    def magnitudes(self, grids: Tensor) -> Tensor:
        """f32[B, bands, frames] -> of each frequency, f32[B, frequencies, frames]."""
        return self.mel.power(grids).sqrt()


class Learned(Voice):
    """One whose network learns the magnitudes of the sounds of a batch from their grids, a moment of each in a step."""

    keeps = ("vocoder",)
    rounds = 32

    @cached_property
    def vocoder(self) -> Vocoder:
        c = self.config
        return Vocoder(self.mel, c.width, c.blocks)

    def networks(self) -> dict[str, nn.Module]:
        return {"vocoder": self.vocoder}

    def phases(self) -> list[Phase]:
        c = self.config
        others = tuple(
            name for name, _ in self.vocoder.named_parameters() if "wide" not in name and "narrow" not in name
        )
        optim = Optim(
            "adam", c.lr, (c.beta1, c.beta2), schedule=c.schedule, warmup=c.warmup, clip=c.clip, muon=c.muon,
            muon_block=64, not_muon=others,
        )  # fmt: skip
        return [Phase("vocoder", ("vocoder",), self.loss, optim, every=c.every)]

    def loss(self, batch: Batch, step: Step) -> Loss:
        """How far magnitudes, and what they come to in bands, are from real ones; of moments that begin at random."""
        mel, places, louder = self.mel, step.rng.uniform(batch.size), step.rng.uniform(batch.size)
        faster = FASTER ** (step.index * GOLDEN % 1)  # one for all of a step, even over a run
        moments = self.moments(batch.only().float(), places, faster)
        moments = moments * 10 ** ((2 * louder.view(-1, 1, 1) - 1) * LOUDER / 20)
        strengths = step.rng.uniform(batch.size).view(-1, 1, 1, 1) * self.config.noise
        grids = mel.of(moments)
        noisy = (grids + strengths * step.rng.normal(*grids.shape)).clamp(-1, 1)
        made = self.vocoder(noisy.flatten(0, 1)).square().unflatten(0, grids.shape[:2]) / full_scale(mel.size)
        real = power(moments, mel.size, mel.hop) / full_scale(mel.size)
        filters = mel_filters(mel.bands, mel.size, mel.rate).to(real)
        spectra, bands = log_distance(made, real).mean(), log_distance(filters @ made, filters @ real).mean()
        return Loss(spectra + BANDS * bands, {"spectra": spectra.detach(), "bands": bands.detach()})

    def moments(self, x: Tensor, places: Tensor, faster: float = 1.0) -> Tensor:
        """Of sounds f32[B, C, N], without their padding but where they are shorter. places: in [0, 1), f32[B]"""
        size = round(self.config.seconds * self.mel.rate / self.mel.hop) * self.mel.hop
        heard = round(size * faster)
        x = F.pad(x, (0, max(0, heard - x.shape[-1])))
        starts = (places * (lengths(x) - heard + 1).clamp_min(1)).long()
        index = starts[:, None] + torch.arange(heard, device=x.device)
        x = x.gather(-1, index[:, None].expand(-1, x.shape[1], -1))
        return x if heard == size else torch.fft.irfft(torch.fft.rfft(x), size) * (size / heard)

    def magnitudes(self, grids: Tensor) -> Tensor:
        return self.vocoder(grids)
