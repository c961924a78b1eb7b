"""How near one item is to another: peak signal-to-noise ratio, structural similarity; of what goes on in time, the
scale-invariant ratio of signal to distortion and the log-spectral distance. Values in [-1, 1]."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.nets.spectrogram import power

_WINDOW, _SIGMA = 11, 1.5  # cells
_PEAK = 4  # squared, of the range from -1 to 1
_LEAST = 1e-12
_K1, _K2 = 0.01, 0.03
_FRAME = 256  # values
_QUIET = 1e-6  # of the loudest value of a power spectrogram: what is below it, 60 dB, is as good as silent


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


def si_sdr(made: Tensor, real: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio of f32[B, ..., N] in dB, f32[B] (Le Roux et al. 2019, eq. 5)."""
    a, b = made.flatten(1).double(), real.flatten(1).double()
    target = b * ((a * b).sum(1, keepdim=True) / b.square().sum(1, keepdim=True).clamp(min=_LEAST))
    error = (a - target).square().sum(1).clamp(min=_LEAST)
    return (10 * (target.square().sum(1).clamp(min=_LEAST) / error).log10()).float()


def log_spectral_distance(made: Tensor, real: Tensor, where: Tensor | None = None) -> Tensor:
    """Root of the mean squared difference of log power spectra over frequency, its mean over frames, of f32[B, ..., N]
    in dB, f32[B] (Gray & Markel 1976). What is 60 dB below the loudest of the real item counts as that loud.

    where: 1 where it is to be compared, f32[B, N], by the values in the middle of frames; None: everywhere
    """
    a, b = (power(x.float().reshape(len(x), -1, x.shape[-1]), _FRAME, _FRAME // 4) for x in (made, real))
    least = b.amax((1, 2, 3), keepdim=True).clamp(min=_LEAST) * _QUIET
    difference = 10 * (a.maximum(least) / b.maximum(least)).log10()
    by_frame = difference.square().mean(2).sqrt().mean(1)
    if where is None:
        return by_frame.mean(1)
    chosen = where[:, :: _FRAME // 4]
    chosen = F.pad(chosen, (0, by_frame.shape[1] - chosen.shape[1]))
    return (by_frame * chosen).sum(1) / chosen.sum(1).clamp(min=1)
