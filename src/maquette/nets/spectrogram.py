"""How loud each pitch of a sound is over time: the short-time Fourier transform in mel bands, in decibels.

Mel as in HTK: 2595 log10(1 + f / 700). Bands are triangles of height 1, whose corners are evenly spaced in mel.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

MOMENT = 0.032  # seconds of a frame, about: pitch and syllables of speech are both to be seen
SHIFTS = 4  # frames begin a quarter of one apart
RANGE = 80.0  # dB below the loudest that are worth showing
FLOOR = -100.0  # dB of a full-scale sine, below which nothing is told apart
SILENT = FLOOR + 0.5  # about where nothing is left


def frame_size(rate: int) -> int:
    """Samples of a frame: the power of two that is nearest to MOMENT, 256 at 8 kHz."""
    return 2 ** max(round(torch.tensor(MOMENT * rate).log2().item()), 4)


def bands_for(rate: int) -> int:
    """How many bands a rate calls for: 40 of telephone speech, 80 of all that has higher pitches."""
    return 40 if rate <= 8000 else 80


def transform(x: Tensor, size: int, hop: int) -> Tensor:
    """The short-time Fourier transform: f32[..., N] -> complex64[..., size // 2 + 1, N // hop + 1].

    Frame t is centred at sample t * hop, under a periodic Hann window; silence stands around the sound.
    """
    flat = x.reshape(-1, x.shape[-1])
    made = torch.stft(flat, size, hop, window=_window(size, x), pad_mode="constant", return_complex=True)
    return made.reshape(*x.shape[:-1], *made.shape[1:])


def inverse(frames: Tensor, size: int, hop: int, length: int) -> Tensor:
    """The sound f32[..., length] whose transform is nearest to these frames, complex64[..., size // 2 + 1, T]: the same
    sound again where they are the transform of one (Griffin & Lim 1984, eq. 6)."""
    flat = frames.reshape(-1, *frames.shape[-2:])
    window = _window(size, flat.real)
    return torch.istft(flat, size, hop, window=window, length=length).reshape(*frames.shape[:-2], length)


def compressed(x: Tensor, size: int, hop: int) -> Tensor:
    """`transform` of f32[B, N] with magnitudes as their square roots, so that what is quiet counts as it is heard:
    f32[B, 2 F, T], real parts before imaginary ones; a full-scale sine is 1 (Richter et al. 2023, eq. 22)."""
    frames = transform(x, size, hop) / full_scale(size) ** 0.5
    frames = frames * frames.abs().clamp(min=1e-8).rsqrt()
    return torch.cat([frames.real, frames.imag], 1)


def expanded(values: Tensor) -> Tensor:
    """The frames of `compressed` values, f32[B, 2 F, T], but for their scale: real and imaginary parts, as they are."""
    real, imaginary = values.chunk(2, 1)
    return values * (real.square() + imaginary.square() + 1e-12).sqrt().repeat(1, 2, 1)


def sound_of(values: Tensor, size: int, hop: int, length: int) -> Tensor:
    """The inverse of `compressed`, f32[B, length]."""
    real, imaginary = expanded(values).float().chunk(2, 1)
    return inverse(torch.complex(real, imaginary) * full_scale(size) ** 0.5, size, hop, length)


def power(x: Tensor, size: int, hop: int) -> Tensor:
    """Squared magnitudes of `transform`, f32."""
    return transform(x, size, hop).abs().square()


def full_scale(size: int) -> float:
    """Power of a sine of amplitude 1 in the middle of a band."""
    return (size / 4) ** 2


def _window(size: int, like: Tensor) -> Tensor:
    return torch.hann_window(size, dtype=like.dtype, device=like.device)


@functools.lru_cache(maxsize=8)
def mel_filters(bands: int, size: int, rate: int) -> Tensor:
    """f32[bands, size // 2 + 1]: how much of each frequency is in each band, from 0 Hz to half the rate."""
    top = 2595 * torch.log10(torch.tensor(1 + rate / 2 / 700, dtype=torch.float64))
    corners = 700 * (10 ** (torch.linspace(0, 1, bands + 2, dtype=torch.float64) * top / 2595) - 1)
    frequency = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (frequency - low) / (middle - low), (high - frequency) / (high - middle)
    return torch.minimum(rising, falling).clamp_min(0).float()


def log_mel(x: Tensor, rate: int, bands: int | None = None) -> Tensor:
    """Decibels f32[..., bands, frames] of sounds f32[..., N]; nothing is below -100 dB of a full-scale sine."""
    size = frame_size(rate)
    filters = mel_filters(bands or bands_for(rate), size, rate).to(x)
    bands_power = filters @ power(x, size, size // SHIFTS) / full_scale(size)
    return 10 * torch.log10(bands_power + 10 ** (FLOOR / 10))
