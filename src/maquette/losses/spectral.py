"""How far made sounds are from real ones, by their spectra: phases are free."""

from __future__ import annotations

import torch
from torch import Tensor

from maquette.nets.spectrogram import SHIFTS, full_scale, power

SIZES = (128, 256, 512)  # samples of a frame
FLOOR = 1e-9  # of the power of a full-scale sine, added: -90 dB


def log_spectra(made: Tensor, real: Tensor, sizes: tuple[int, ...] = SIZES) -> Tensor:
    """Mean distance of the log magnitudes of sounds f32[..., N], f32[...], in nepers: the root of the mean square over
    frequencies, its mean over frames, and over sizes of them (Yamamoto et al. 2020, with another norm)."""
    both, distances = torch.stack([made, real]), []
    for size in sizes:
        a, b = (power(both, size, size // SHIFTS) / full_scale(size) + FLOOR).log() / 2
        distances.append(((a - b).square().mean(-2) + 1e-6).sqrt().mean(-1))
    return torch.stack(distances).mean(0)
