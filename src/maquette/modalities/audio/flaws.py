"""What generators do to sounds, as functions of a batch: the own network learns to name it (own_features.py).

Unlike the known damage that measures are tried on (damage.py): what a network learned to see here, it is examined on
there. f32[B, C, N] in [-1, 1] -> the same, from torch's global generator.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maquette.core.batch import lengths


def _between(low: float, high: float) -> float:
    return float(torch.empty(()).uniform_(low, high))


def spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Its Fourier transform, and the share of the highest frequency that each place in it is."""
    waves = torch.fft.rfft(x)
    return waves, torch.linspace(0, 1, waves.shape[-1], device=x.device)


def hissing(x: Tensor) -> Tensor:
    """With noise of all frequencies, as loud as a part of the sound."""
    return x + torch.randn_like(x) * x.std((1, 2), keepdim=True) * _between(0.1, 0.6)


def dull(x: Tensor) -> Tensor:
    """Without high frequencies."""
    waves, share = spectrum(x)
    return torch.fft.irfft(waves * (share < _between(0.1, 0.5)), x.shape[-1])


def holed(x: Tensor) -> Tensor:
    """With stretches of silence."""
    size = max(int(x.shape[-1] * _between(0.01, 0.06)), 1)
    there = torch.rand(len(x), 1, -(-x.shape[-1] // size), device=x.device) > 0.25
    return x * there.repeat_interleave(size, -1)[..., : x.shape[-1]]


def clipped(x: Tensor) -> Tensor:
    """Far beyond full scale."""
    most = x.abs().amax((1, 2), keepdim=True) * _between(0.05, 0.3)
    return x.clamp(-most, most)


def babbled(x: Tensor) -> Tensor:
    """Several at once."""
    return (x + x.roll(1, 0)) / 2


def scrambled(x: Tensor) -> Tensor:
    """Its stretches in another order, each of them sound."""
    parts = int(torch.randint(4, 10, ()))
    length = max(int(lengths(x).float().mean()), parts) // parts * parts
    order = torch.randperm(parts, device=x.device)
    mixed = x[..., :length].unflatten(-1, (parts, -1))[..., order, :].flatten(-2)
    return torch.cat([mixed, x[..., length:]], -1)


def endless(x: Tensor) -> Tensor:
    """What should end goes on, as noise or as a hum."""
    noise = torch.randn_like(x) if torch.rand(()) < 0.5 else torch.sin(torch.arange(x.shape[-1]) * _between(0.05, 0.5))
    behind = torch.arange(x.shape[-1], device=x.device) >= lengths(x)[:, None, None] * _between(0.4, 1.0)
    return torch.where(behind, noise.to(x) * x.std((1, 2), keepdim=True) * _between(0.3, 1.0), x)


FLAWS = (hissing, dull, holed, clipped, babbled, scrambled, endless)


def flawed(x: Tensor) -> tuple[Tensor, Tensor]:
    """A batch in which each flaw has its share, and which flaw it is i64[B]: 1, 2, ... (0 would be none)."""
    parts = x.tensor_split(len(FLAWS))
    made = torch.cat([flaw(part) for flaw, part in zip(FLAWS, parts, strict=True) if len(part)])
    return made, torch.cat([torch.full((len(part),), i + 1) for i, part in enumerate(parts)]).to(x.device)
