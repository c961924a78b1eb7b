"""From mel bands to how loud each frequency is: what Griffin-Lim has to know to make a sound of them.

ConvNeXt blocks over frames, as in Vocos (Siuzdak 2023), and a head that scales magnitudes which are interpolated
between bands. Bands say more than they seem to: harmonics, and what is between them, come back from how they change.
Phases are not learned: of true magnitudes Griffin-Lim finds them to a log-spectral distance of 1.1 dB in 60 rounds, of
those of spoken digits that were made 3.2 dB away, to 3.6 in 32.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.mel import Mel

_KERNEL = 7  # frames
_FACTOR = 2  # how much wider a block is within
_LARGEST = 6.0  # e^6: factor on a magnitude


class Vocoder(nn.Module):
    """Grids f32[B, bands, frames] of sounds of one channel -> magnitudes f32[B, frequencies, frames], as those of
    `nets/spectrogram.transform`. At first they are interpolated between bands, and no more."""

    def __init__(self, mel: Mel, width: int, blocks: int) -> None:
        super().__init__()
        self.mel = mel
        self.stem = nn.Linear(mel.bands, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, mel.size // 2 + 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, grids: Tensor) -> Tensor:
        h = self.stem(grids.mT)
        for block in self.blocks:
            h = block(h)
        larger = self.head(self.norm(h)).float().mT
        with torch.autocast(grids.device.type, enabled=False):
            return self.mel.envelope(grids).sqrt() * larger.clamp(-_LARGEST, _LARGEST).exp()

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles what is a network: filters are made of numbers, at which the compiler would stop."""
        for block in self.blocks:
            block.compile(*args, **kwargs)


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
