"""The network of restoration: spectra on their way from what is heard to what it was -> what it may have been.

A network on the grid of frequency and time, whose layers have the same weights at all frequencies, and which is told
where each lies. Of each value it gives a mean and a spread around it: how loud something was is easy to tell where its
phase is anybody's guess.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.denoiser import Denoiser

_PLACES = 4  # waves that tell a frequency where it lies
_LEAST, _MOST = 0.03, 20.0  # of a spread


class Restorer(nn.Module):
    """x, heard f32[B, 2 F, T], seen f32[B, 1, T], t f32[B] in [0, 1] -> mean f32[B, 2 F, T] and spread f32[B, F, T] of
    what it may have been, before x is taken into account in closed form. T is `frames`.

    x is at t = 0 what is heard, with noise, and at t = 1 what it was; real parts come before imaginary ones, and all is
    of standard deviation 1, about.
    """

    turn: Tensor
    places: Tensor

    def __init__(self, bands: int, frames: int, width: int, deep: int, blocks: int, deep_blocks: int) -> None:
        super().__init__()
        self.frames = frames
        grid = (4, bands - 1, frames)  # without the last, where nothing is: a power of two remains
        self.net = Denoiser(grid, None, width, deep, blocks, deep_blocks, 128, inputs=7 + _PLACES, patch=4)
        band, frame = torch.arange(bands - 1, device="cpu"), torch.arange(frames, device="cpu")
        # Phases as of a clock that all frames share: those of a tone then hardly move from frame to frame.
        angle = -math.pi / 2 * (band[:, None] * (frame + 2) % 4)
        self.register_buffer("turn", torch.stack([angle.cos(), angle.sin()]), persistent=False)
        waves = torch.arange(1, _PLACES + 1, device="cpu")[:, None] * (band + 0.5) * math.pi / len(band)
        self.register_buffer("places", waves.cos(), persistent=False)

    def forward(self, x: Tensor, heard: Tensor, seen: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        b, bands = len(x), len(self.turn[0])
        rows = [_read(_turned(_grid(v)[:, :, :-1], self.turn)) for v in (x, heard)]
        rows += [seen[:, :, None].expand(b, 1, bands, -1), self.places[None, :, :, None].expand(b, -1, -1, self.frames)]
        out = self.net(torch.cat(rows, 1), t, torch.zeros_like(t), None)
        added = _turned(out[:, :2], self.turn * self.turn.new_tensor([1, -1])[:, None, None])
        added, mask, spread = (F.pad(v, (0, 0, 0, 1)) for v in (added, out[:, 2:3], out[:, 3:]))
        mean = added + _grid(heard) * (mask + 2).sigmoid()
        return mean.flatten(1, 2), _LEAST + spread[:, 0].clamp(max=math.log(_MOST)).exp()


def _grid(x: Tensor) -> Tensor:
    """f32[B, 2 F, T] -> f32[B, 2, F, T]."""
    return x.unflatten(1, (2, -1))


def _turned(x: Tensor, by: Tensor) -> Tensor:
    """The product of complex numbers, f32[B, 2, F, T] and f32[2, F, T]."""
    return torch.stack([x[:, 0] * by[0] - x[:, 1] * by[1], x[:, 0] * by[1] + x[:, 1] * by[0]], 1)


def _read(x: Tensor) -> Tensor:
    """x with magnitudes as their roots, and these, f32[B, 3, F, T]: what is far louder would drown the rest."""
    loudness = (x.square().sum(1, keepdim=True) + 1e-6) ** 0.25
    return torch.cat([x / loudness, loudness], 1)
