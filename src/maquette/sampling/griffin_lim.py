"""A sound of which only the magnitudes are known, by Griffin & Lim (1984) with momentum (Perraudin et al. 2013)."""

from __future__ import annotations

import torch
from torch import Tensor

from maquette.nets.spectrogram import inverse, transform


def griffin_lim(
    magnitudes: Tensor, size: int, hop: int, length: int, rounds: int = 60, momentum: float = 0.99,
    known: tuple[Tensor, Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """Magnitudes f32[..., size // 2 + 1, frames] -> a sound f32[..., length] whose transform has nearly these.

    momentum: alpha of the fast algorithm; 0 is the one of 1984. The phases begin at random, the same each time.
    known:    frames that are to be as they are, complex64[..., size // 2 + 1, frames], where the second is true
    """
    generator = torch.Generator("cpu").manual_seed(0)
    angles = 2 * torch.pi * torch.rand(magnitudes.shape[-2:], generator=generator).to(magnitudes)
    frames, before = torch.polar(magnitudes, angles.expand_as(magnitudes)), None
    for left in reversed(range(rounds + 1)):
        frames = frames if known is None else torch.where(known[1], known[0], frames)
        if left:
            made = transform(inverse(frames, size, hop, length), size, hop)
            ahead = made if before is None else made + momentum * (made - before)
            frames, before = magnitudes * ahead / ahead.abs().clamp_min(1e-12), made
    return inverse(frames, size, hop, length)
