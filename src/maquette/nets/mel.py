"""Sounds as grids of mel bands over time, the form in which families learn them, and what of it leads back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maquette.nets.spectrogram import FLOOR, SHIFTS, bands_for, frame_size, full_scale, log_mel, mel_filters

ROUNDS = 10  # of non-negative least squares: what they miss falls little afterwards
SILENT = -0.9  # a frame whose bands have less on average is silent; the quietest ends of clips have -0.84


@dataclass(frozen=True)
class Mel:
    """The grid of mel bands of sounds of one rate, in Hz: frames of about 32 ms, a quarter of one apart."""

    rate: int

    @property
    def size(self) -> int:
        """Samples of a frame."""
        return frame_size(self.rate)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self.size // SHIFTS

    @property
    def bands(self) -> int:
        return bands_for(self.rate)

    def frames(self, samples: int) -> int:
        """Of a sound of so many samples."""
        return samples // self.hop + 1

    def of(self, x: Tensor) -> Tensor:
        """Sounds f32[B, C, N] -> f32[B, C, bands, frames] in [-1, 1]: -1 is silence (-100 dB), 1 full scale (0 dB).
        Where a frame holds nothing but zeros, as behind the end of a sound, it is exactly -1."""
        with torch.autocast(x.device.type, enabled=False):
            decibels = log_mel(x.float(), self.rate, self.bands)
        return (1 - 2 * decibels / FLOOR).clamp(-1, 1)

    def power(self, grids: Tensor) -> Tensor:
        """f32[..., bands, frames] -> power of each frequency, f32[..., size // 2 + 1, frames], as `spectrogram.power`
        has it: that of which the bands have nearly what the grid says, and none is negative.

        Least squares by the pseudo-inverse, and then by multiplicative updates (Lee & Seung 2001, eq. 4).
        """
        wanted = (10 ** (self._decibels(grids) / 10) - 10 ** (FLOOR / 10)).clamp_min(0)
        filters = mel_filters(self.bands, self.size, self.rate).to(wanted)
        back = filters.T @ filters
        power, target = (torch.linalg.pinv(filters) @ wanted).clamp_min(1e-12), filters.T @ wanted
        for _ in range(ROUNDS):
            power = power * target / (back @ power).clamp_min(1e-20)
        return power * full_scale(self.size)

    def envelope(self, grids: Tensor) -> Tensor:
        """The same without its detail: decibels are interpolated between the middles of bands."""
        filters = mel_filters(self.bands, self.size, self.rate).to(grids)
        decibels = self._decibels(grids) - 10 * filters.sum(1, keepdim=True).clamp_min(1.0).log10()
        weights = filters.T + 1e-6  # of the first and the last frequency, which are in none: the mean
        return 10 ** ((weights / weights.sum(1, keepdim=True)) @ decibels / 10) * full_scale(self.size)

    def _decibels(self, grids: Tensor) -> Tensor:
        return FLOOR * (1 - grids.float().clamp(-1, 1)) / 2

    def lengths(self, grids: Tensor, samples: int) -> Tensor:
        """i64[B], how much of f32[B, C, bands, frames], sounds of so many samples, is before all is silent until the
        end: about, within half of `hop`."""
        there = (grids.mean(2) > SILENT).any(1)
        frames = there.shape[1] - there.flip(1).int().argmax(1)  # to the last that is not silent
        length = (frames * self.hop - self.size // 2).clamp_min(1)
        length = torch.where(frames == there.shape[1], samples, length)  # it may go on until there is no room
        return torch.where(there.any(1), length, 0)
