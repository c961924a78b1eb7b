"""Features from a small network trained once on the user's own training sounds (evaluation/own.py); nothing is
downloaded.

It sees mel bands. What is augmented is when a sound begins, how fast and how high it is, and no more: features that do
not see noise could not hold it against a generator. What is wrong with sounds it learns to name (flaws.py).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.evaluation.own import Lesson, OwnKind, OwnNetwork
from maquette.modalities.audio.config import Spec
from maquette.modalities.audio.flaws import FLAWS, flawed
from maquette.nets.spectrogram import bands_for, log_mel

VERSION = 2  # raise it whenever the network or its training changes: cached ones are then left alone
DIM = 64
FRAMES = 160  # of longer sounds several are averaged
QUIET, MIDDLE, SPREAD = -80.0, -45.0, 20.0  # dB: below the first all is silent; about the mean and spread of the rest
BATCH, EPOCHS, MOST = 64, 40, 100_000  # sounds in a step; passes over few sounds, and the most that are shown


class Network(OwnNetwork):
    """Features of what `look` makes of sounds f32[B, C, N]: mel bands f32[B, C, bands, frames]."""

    at_once = BATCH

    def __init__(self, channels: int, rate: int, out: int) -> None:
        super().__init__()
        self.rate = rate
        widths = (channels, 32, 64, 96, 128)
        self.trunk = nn.Sequential(*(layer for i, (a, b) in enumerate(pairwise(widths)) for layer in _block(a, b, i)))
        self.finish(128 * 8, DIM, out, len(FLAWS))

    def look(self, items: Tensor) -> Tensor:
        mel = (log_mel(items, self.rate, bands_for(self.rate)).clamp_min(QUIET) - MIDDLE) / SPREAD
        frames = min(-(-mel.shape[-1] // 2), FRAMES)
        return F.adaptive_avg_pool2d(mel, (mel.shape[-2], frames))

    def forward(self, bands: Tensor) -> Tensor:
        # 2 x 4 rather than a single mean: when what is heard is part of what a sound is.
        features: Tensor = self.features(F.adaptive_avg_pool2d(self.trunk(bands), (2, 4)).flatten(1))
        return features


def _block(before: int, after: int, number: int) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, 3, stride=2 if number < 3 else 1, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def _built(spec: Spec, items: int, out: int) -> Network:
    return Network(spec.channels, spec.rate_hz, out)


def _learned(build: Callable[[], Network], lesson: Lesson) -> Network:
    network = lesson.begin(build, VERSION)
    _train(network, lesson)
    return network


def _train(network: Network, lesson: Lesson) -> None:
    def show(x: Tensor, some: int) -> tuple[list[Tensor], Tensor, Tensor]:
        bad, flaw = flawed(x[:some])
        bands = network.look(torch.cat([x, bad]))
        good, spoiled = bands[: len(x)], bands[len(x) :]
        return [move(good) for _ in range(lesson.views)], spoiled, flaw

    lesson.teach(network, *lesson.plan(BATCH, EPOCHS, MOST), 5e-3, show)


def move(bands: Tensor, shift: float = 0.1, stretch: float = 0.15, pitch: float = 0.04) -> Tensor:
    """Each f32[B, C, bands, frames] later or earlier, slower or faster, higher or lower, by up to so much of it."""
    u = (torch.rand(4, len(bands)) * 2 - 1).to(bands.device)
    zero, one = torch.zeros_like(u[0]), torch.ones_like(u[0])
    time = torch.stack([one + stretch * u[0], zero, 2 * shift * u[1]], 1)
    height = torch.stack([zero, one + pitch * u[2], 2 * pitch * u[3]], 1)
    grid = F.affine_grid(torch.stack([time, height], 1), list(bands.shape), align_corners=False)
    return F.grid_sample(bands, grid, padding_mode="border", align_corners=False)


own_features = OwnKind("own-audio", VERSION, "sounds", lambda spec: (spec.shape, spec.rate_hz), _built, _learned)
