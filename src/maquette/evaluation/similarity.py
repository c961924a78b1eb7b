"""How near one item is to another: peak signal-to-noise ratio, structural similarity, and of sounds the distance of
their spectra. Values in [-1, 1]."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.nets.spectrogram import FLOOR, SHIFTS, frame_size, full_scale, power

_WINDOW, _SIGMA = 11, 1.5  # cells
_PEAK = 4  # squared, of the range from -1 to 1
_LEAST = 1e-12
_K1, _K2 = 0.01, 0.03


def decibels(squared_error: float) -> float:
    """Peak signal-to-noise ratio of a mean squared error, dB."""
    return 10 * math.log10(_PEAK / max(squared_error, _LEAST))


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """10 log10(range^2 / mean squared error) of each item, f32[B], in dB, with the range 2 of [-1, 1]."""
    error = (a - b).square().flatten(1).mean(1)
    return 10 * (_PEAK / error.clamp(min=_LEAST)).log10()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of f32[B, C, H, W], f32[B], at most 1 (Wang et al. 2004, eq. 13): Gaussian windows of
    11 cells, only those wholly inside the grid; a side must have 11. Channels are averaged."""
    channels = a.shape[1]
    place = torch.arange(_WINDOW, dtype=a.dtype, device=a.device) - _WINDOW // 2
    row = (-0.5 * (place / _SIGMA).square()).exp()
    kernel = (row[:, None] * row / row.sum() ** 2).expand(channels, 1, -1, -1)

    def mean(x: Tensor) -> Tensor:
        return F.conv2d(x, kernel, groups=channels)

    ma, mb = mean(a), mean(b)
    va, vb, both = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    c1, c2 = (_K1 * 2) ** 2, (_K2 * 2) ** 2
    found = (2 * ma * mb + c1) * (2 * both + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return found.flatten(1).mean(1)


def log_spectral_distance(a: Tensor, b: Tensor, rate: int) -> Tensor:
    """How far the spectra of sounds f32[..., N] of `rate` Hz are apart, f32[...], in dB: of 10 log10 of the power of
    each frequency, the root of the mean square over frequencies, its mean over frames (Gray & Markel 1976). What is
    more than 100 dB below a sine of full scale counts as that. Padding is to be cut off before."""
    size = frame_size(rate)

    def decibels(x: Tensor) -> Tensor:
        return 10 * (power(x, size, size // SHIFTS) / full_scale(size)).clamp_min(10 ** (FLOOR / 10)).log10()

    return (decibels(a) - decibels(b)).square().mean(-2).sqrt().mean(-1)
