"""From mel bands to sound: what Griffin-Lim makes of them in a few rounds, mended by networks at frame rate.

As in Vocos (Siuzdak 2023): ConvNeXt blocks over frames, and a head that says magnitude and phase of each frequency, of
which the inverse transform is the sound. What is added is where it begins. Phases go round by more than bands tell, so
a network that sees these alone has to find phases from nothing; here it turns those of a sound that is there already,
and scales magnitudes that are interpolated between bands. A second one reads what that has come to, and in which bands
it is too loud or too quiet, and mends it again.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.mel import Mel
from maquette.nets.spectrogram import full_scale, inverse, transform
from maquette.sampling.griffin_lim import griffin_lim

_KERNEL = 7  # frames
_FACTOR = 2  # how much wider a block is within
_POWER = 0.3  # magnitudes are read to this power, so that quiet ones are seen
_LARGEST = 6.0  # e^6: factor on a magnitude
_MISSED = 5.0  # factor on what is missed of the bands, which is small
_LEAST = 1e-9  # of squared magnitudes: where there is nothing, nothing is turned


class Vocoder(nn.Module):
    """Grids f32[B, bands, frames] of sounds of one channel -> f32[B, samples].

    rounds: of Griffin-Lim      stages: times that what it makes is mended, by so many `blocks` each
    """

    def __init__(self, mel: Mel, width: int, stages: int, blocks: int, rounds: int) -> None:
        super().__init__()
        self.mel, self.rounds = mel, rounds
        self.stages = nn.ModuleList(_Stage(mel, width, blocks) for _ in range(stages))

    def forward(self, grids: Tensor, samples: int) -> Tensor:
        mel = self.mel
        with torch.no_grad(), torch.autocast(grids.device.type, enabled=False):
            sound = griffin_lim(mel.power(grids).sqrt(), mel.size, mel.hop, samples, self.rounds)
            magnitudes = mel.envelope(grids).sqrt()
        for stage in self.stages:
            sound, magnitudes = stage(grids, sound, magnitudes)
        return sound

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles what has real numbers: of complex ones the compiler can do nothing."""
        for module in self.modules():
            if isinstance(module, _Block):
                module.compile(*args, **kwargs)


class _Stage(nn.Module):
    """Makes a sound f32[B, samples] of another, of grids, and of magnitudes f32[B, frequencies, frames]; and these as
    they are then. At first it changes no phase and no magnitude."""

    def __init__(self, mel: Mel, width: int, blocks: int) -> None:
        super().__init__()
        self.mel, frequencies = mel, mel.size // 2 + 1
        self.stem = nn.Linear(2 * (mel.bands + frequencies), width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3 * frequencies)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, grids: Tensor, sound: Tensor, magnitudes: Tensor) -> tuple[Tensor, Tensor]:
        mel, plain = self.mel, torch.autocast(grids.device.type, enabled=False)
        with plain:
            found = transform(sound, mel.size, mel.hop)
            size = (found.abs().square() + _LEAST).sqrt()
            phase = found / size
            seen = phase * (size / full_scale(mel.size) ** 0.5) ** _POWER
            missed = _MISSED * (grids - mel.of(sound[:, None])[:, 0])
            read = torch.cat([grids, missed, seen.real, seen.imag], 1)
        h = self.stem(read.mT)
        for block in self.blocks:
            h = block(h)
        larger, along, across = self.head(self.norm(h)).float().mT.chunk(3, 1)
        with plain:
            turned = phase * torch.complex(1 + along, across)
            turned = turned / (turned.abs().square() + 1e-4).sqrt()
            magnitudes = magnitudes * larger.clamp(-_LARGEST, _LARGEST).exp()
            return inverse(magnitudes * turned, mel.size, mel.hop, sound.shape[-1]), magnitudes


class _Block(nn.Module):
    """f32[B, T, width] -> the same and what it adds (Liu et al. 2022)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.across = nn.Conv1d(width, width, _KERNEL, padding=_KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, _FACTOR * width)
        self.narrow = nn.Linear(_FACTOR * width, width)
        nn.init.normal_(self.narrow.weight, std=0.1 * (_FACTOR * width) ** -0.5)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.narrow(F.gelu(self.wide(self.norm(self.across(h.mT).mT))))
