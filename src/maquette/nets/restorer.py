"""The network of restoration: spectra on their way from what is heard to what it was -> what it was.

Frequencies are channels of a grid in time, where convolutions are dense: several times faster per FLOP on a CPU than
thin layers on a grid of time and frequency. What no such network does well is to find out magnitudes, since its layers
have weights of their own for each frequency, nor to pass a spectrum on as it is, through so few channels; so it is told
the magnitudes, and gives two masks, of what is heard and of what is on its way, and what is to be added to both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maquette.nets.denoiser import Denoiser


class Restorer(nn.Module):
    """x, heard f32[B, 2 F, T], seen f32[B, 1, T], t f32[B] in [0, 1] -> f32[B, 2 F, T]. T is `frames`.

    x is at t = 0 what is heard, with noise, and at t = 1 what it was; real parts come before imaginary ones, and all is
    of standard deviation 1, about.
    """

    def __init__(self, values: int, frames: int, width: int, deep: int, blocks: int, deep_blocks: int) -> None:
        super().__init__()
        self.frames = frames
        self.net = Denoiser(
            (2 * values, frames), None, width, deep, blocks, deep_blocks, width, inputs=3 * values + 1, patch=2
        )

    def forward(self, x: Tensor, heard: Tensor, seen: Tensor, t: Tensor) -> Tensor:
        out = self.net(torch.cat([*_read(x), *_read(heard), seen], 1), t, torch.zeros_like(t), None)
        half = x.shape[1] // 2
        added, *masks = out.split([2 * half, half, half], 1)
        for source, mask, share in ((heard, masks[0], 1 - t), (x, masks[1], t)):
            added = added + source * (mask + 4 * share.view(-1, 1, 1) - 2).sigmoid().repeat(1, 2, 1)
        return added


def _read(x: Tensor) -> tuple[Tensor, Tensor]:
    """x with magnitudes as their roots, and these: what is far louder than the rest would drown it."""
    real, imaginary = x.chunk(2, 1)
    loudness = (real.square() + imaginary.square() + 1e-6) ** 0.25
    return x / loudness.repeat(1, 2, 1), loudness
