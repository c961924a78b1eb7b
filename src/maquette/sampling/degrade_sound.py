"""What happens to sounds: noise, gaps, a narrow band, clipping, reverberation, coding. Pure functions of f32[B, N].

For training, `corrupt` draws what happens to each item; the other functions take what is to happen as numbers, one for
each item, for trials. All is reproducible: what is random comes in as uniform and normal numbers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

Kind = Literal["noise", "gap", "lowpass", "clip", "reverb", "coding"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# What `corrupt` draws from.
SNR = (0.0, 20.0)  # dB of the sound above the noise
SLOPE = 2.0  # noise of power 1 / f^(0..SLOPE): white, and up to brown; half of it is white
GAP = (0.01, 0.1)  # seconds
BAND = (0.3, 0.8)  # share of the band that is left; half of the bands are cut in half
CLIP = (0.1, 0.6)  # of the peak
T60 = (0.1, 0.8)  # seconds in which the reverberation falls by 60 dB
DIRECT = (0.0, 12.0)  # dB of the direct sound above all of the reverberation
COARSE = (0.5, 2.0)  # steps of a coder, over the root mean square of a band
ALSO = 0.2  # share of items to which each of the other things happens, too

_EDGE = 0.09  # share of the band over which a low-pass falls, as soxr's does
_LEAST = 1e-12
_LINES = 576  # coefficients of a block of MP3
_BANDS = 22  # that are rounded alike
_U = 5  # uniform numbers for each kind


def draws(kinds: Sequence[Kind]) -> int:
    """Uniform numbers that `corrupt` takes for an item."""
    return 2 + _U * len(kinds)


def corrupt(
    x: Tensor, kinds: Sequence[Kind], rate: int, hidden: float, u: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Sounds f32[B, N] as they are heard, and where, both f32[B, N]: one thing happens to each, and often another, in
    the order that they have in the world. A share `hidden` of the items is not heard at all: 0 everywhere.

    u f32[B, draws(kinds)] uniform on [0, 1); noise f32[B, N] normal
    """
    first = (u[:, 0] * len(kinds)).long()
    y, seen = x.clone(), torch.ones_like(x)
    for kind in sorted(kinds, key=("reverb", "noise", "lowpass", "clip", "coding", "gap").index):
        number = kinds.index(kind)
        own = u[:, 2 + _U * number : 2 + _U * (number + 1)]
        rows = ((first == number) | (own[:, 0] < ALSO)).nonzero()[:, 0]
        if not len(rows):
            continue
        of, a = y[rows], own[rows, 1:]
        if kind == "noise":
            y[rows] = noisy(of, noise[rows], _between(SNR, a[:, 0]), SLOPE * (2 * a[:, 1] - 1).clamp(min=0))
        elif kind == "gap":
            size, again = (_between(GAP, a[:, i]) * rate / x.shape[1] for i in (0, 2))
            y[rows], seen[rows] = gapped(of, a[:, 1] * (1 - size), size)
            both = a[:, 2] < 0.5
            y[rows[both]], more = gapped(y[rows[both]], a[both, 3] * (1 - again[both]), again[both])
            seen[rows[both]] *= more
        elif kind == "lowpass":
            y[rows] = narrowed(of, torch.where(a[:, 0] < 0.5, 0.5, _between(BAND, a[:, 1])))
        elif kind == "clip":
            y[rows] = clipped(of, _between(CLIP, a[:, 0]))
        elif kind == "reverb":
            y[rows] = reverberant(of, noise[rows], _between(T60, a[:, 0]), _between(DIRECT, a[:, 1]), rate)
        else:
            y[rows] = coded(of, _between(COARSE, a[:, 0]))
    heard = (u[:, 1:2] >= hidden).to(x)
    return y * heard, seen * heard


def _between(limits: tuple[float, float], u: Tensor) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * u


def noisy(x: Tensor, noise: Tensor, snr: Tensor, slope: Tensor | None = None) -> Tensor:
    """With noise f32[B, N], so many dB below what is not silent of the sound; its power is made to fall as 1 / f^slope.

    snr, slope: f32[B]
    """
    if slope is not None and bool(slope.any()):
        waves = torch.fft.rfft(noise)
        share = torch.arange(waves.shape[1], device=x.device).clamp(min=1) / waves.shape[1]
        noise = torch.fft.irfft(waves * share ** (-slope[:, None] / 2), noise.shape[1])
    power = x.square().sum(1) / (x != 0).sum(1).clamp(min=1)
    level = (power / noise.square().mean(1).clamp(min=_LEAST)).sqrt() * 10 ** (-snr / 20)
    return x + level[:, None] * noise


def gapped(x: Tensor, start: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """With a gap [start, start + size), shares of its length f32[B]; and where it is heard, f32[B, N]."""
    place = (torch.arange(x.shape[1], device=x.device) + 0.5) / x.shape[1]
    seen = 1 - ((place >= start[:, None]) & (place < (start + size)[:, None])).to(x)
    return x * seen, seen


def narrowed(x: Tensor, share: Tensor) -> Tensor:
    """Without what is above a share f32[B] of its band: a recording of a lower rate."""
    waves = torch.fft.rfft(x)
    place = torch.linspace(0, 1, waves.shape[1], device=x.device)
    fall = ((share[:, None] - place) / (_EDGE * share[:, None])).clamp(0, 1)
    return torch.fft.irfft(waves * (0.5 - 0.5 * (math.pi * fall).cos()), x.shape[1])


def clipped(x: Tensor, share: Tensor) -> Tensor:
    """Cut off at a share f32[B] of its peak."""
    level = (x.abs().amax(1) * share)[:, None]
    return torch.minimum(torch.maximum(x, -level), level)


def reverberant(x: Tensor, noise: Tensor, t60: Tensor, direct: Tensor, rate: int) -> Tensor:
    """In a room: noise that dies away follows each sample, from the next millisecond on (Polack 1988).

    noise f32[B, N] normal      t60: seconds f32[B] in which it falls by 60 dB
    direct: dB f32[B] of the direct sound above all that follows
    """
    n = x.shape[1]
    time = torch.arange(n, device=x.device) / rate
    tail = noise * (-math.log(1e3) * time / t60[:, None]).exp() * (time >= 1e-3)
    tail = tail * (10 ** (-direct / 20) / tail.square().sum(1).clamp(min=_LEAST).sqrt())[:, None]
    return x + torch.fft.irfft(torch.fft.rfft(x, 2 * n) * torch.fft.rfft(tail, 2 * n), 2 * n)[:, :n]


def coded(x: Tensor, coarse: Tensor) -> Tensor:
    """Rounded as coders do: MDCT coefficients in blocks and bands as of MP3, to multiples of a step, f32[B], over the
    root mean square of their band. It is not MP3, which knows what can be heard: that is tried on real files."""
    n, blocks = x.shape[1], -(-x.shape[1] // _LINES) + 1
    padded = F.pad(x, (_LINES, blocks * _LINES - n))
    basis = _mdct().to(x)  # [2 L, L]
    lines = padded.unfold(1, 2 * _LINES, _LINES) @ basis  # [B, blocks, L]
    edges = (_LINES * (torch.arange(_BANDS + 1) / _BANDS) ** 2).long().tolist()
    made = []
    for low, high in pairwise(edges):
        band = lines[..., low:high]
        step = coarse[:, None, None] * band.square().mean(-1, keepdim=True).sqrt().clamp(min=_LEAST)
        made.append((band / step).round() * step)
    pieces = torch.cat(made, 2) @ basis.T  # [B, blocks, 2 L], to be laid half over one another
    first, second = pieces.chunk(2, 2)
    return (first[:, 1:] + second[:, :-1]).flatten(1)[:, :n]


@functools.lru_cache(1)
def _mdct() -> Tensor:
    """The MDCT of 2 L samples under a sine window, f32[2 L, L], whose transpose undoes it (Princen & Bradley 1986)."""
    time, line = torch.arange(2 * _LINES)[:, None].double(), torch.arange(_LINES)[None].double()
    window = (math.pi / (2 * _LINES) * (time + 0.5)).sin()
    waves = (math.pi / _LINES * (time + 0.5 + _LINES / 2) * (line + 0.5)).cos()
    return (window * waves * math.sqrt(2 / _LINES)).float()
