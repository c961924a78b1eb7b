"""Features that see time, from a small network trained once on the user's own training clips (evaluation/own.py).
Nothing is downloaded.

Frames are seen one by one, and what is seen in them one after the other, after Tran et al. 2018 (R(2+1)D). What is
augmented is where things are, and no more: features that do not see order and speed could not hold them against a
generator. What is wrong with clips it learns to name (flaws.py).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.evaluation.own import Lesson, OwnKind, OwnNetwork
from maquette.modalities.video.config import Spec
from maquette.modalities.video.flaws import FLAWS, flawed

VERSION = 1  # raise it whenever the network or its training changes: cached ones are then left alone
DIM, FRAMES, SIDE = 64, 16, 32  # of longer clips every second frame is seen, or third; larger ones are averaged down
WIDTHS = (24, 48, 64)
BATCH, EPOCHS, MOST = 64, 30, 20_000  # clips in a step; passes over few, and the most that are shown


class Network(OwnNetwork):
    """Features of what `look` makes of clips f32[B, C, T, H, W]: frames as channels, f32[B, C * t, h, w]."""

    at_once = BATCH

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.channels = channels
        sizes = (channels, *WIDTHS)
        self.frames = nn.Sequential(*(layer for i in range(3) for layer in _block(sizes[i], sizes[i + 1], (3, 3), 2)))
        self.times = nn.Sequential(*_block(WIDTHS[-1], 96, (3, 1), (2, 1)), *_block(96, 128, (3, 1), (2, 1)))
        self.finish(128 * 8, DIM, out, len(FLAWS))

    def look(self, items: Tensor) -> Tensor:
        some = items[:, :, :: -(-items.shape[2] // FRAMES)].transpose(1, 2)
        frames = some.flatten(0, 1)
        if max(frames.shape[-2:]) > SIDE:
            frames = F.adaptive_avg_pool2d(frames, (min(frames.shape[-2], SIDE), min(frames.shape[-1], SIDE)))
        return frames.unflatten(0, some.shape[:2]).flatten(1, 2)

    def each(self, seen: Tensor) -> Tensor:
        """f32[B, C * t, h, w] -> f32[B, t, D, 4, 4]: what is seen in each frame."""
        frames = seen.unflatten(1, (-1, self.channels))
        found = F.adaptive_avg_pool2d(self.frames(frames.flatten(0, 1)), 4)
        return found.unflatten(0, frames.shape[:2])

    def forward(self, seen: Tensor) -> Tensor:
        over = self.times(self.each(seen).flatten(3).transpose(1, 2))  # (B, D, t, 16) -> (B, 128, t / 4, 16)
        over = over.mean(2).unflatten(2, (4, 4)), over.amax(2).unflatten(2, (4, 4))
        # 2 x 2 rather than a single mean: where things are is part of what a clip is.
        features: Tensor = self.features(torch.cat([F.adaptive_avg_pool2d(part, 2).flatten(1) for part in over], 1))
        return features


def _block(before: int, after: int, kernel: tuple[int, int], stride: int | tuple[int, int]) -> list[nn.Module]:
    padding = (kernel[0] // 2, kernel[1] // 2)
    conv = nn.Conv2d(before, after, kernel, stride, padding, bias=False)
    return [conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def _built(spec: Spec, items: int, out: int) -> Network:
    return Network(spec.channels, out)


def _learned(build: Callable[[], Network], lesson: Lesson) -> Network:
    network = lesson.begin(build, VERSION)

    def show(x: Tensor, some: int) -> tuple[list[Tensor], Tensor, Tensor]:
        bad, flaw = flawed(x[:some])
        return [network.look(moved(x)) for _ in range(lesson.views)], network.look(bad), flaw

    lesson.teach(network, *lesson.plan(BATCH, EPOCHS, MOST), 5e-3, show)
    return network


def moved(x: Tensor, most: float = 0.1) -> Tensor:
    """Clips f32[B, C, T, H, W], each shifted by up to so much of its sides; edges repeat."""
    height, width = x.shape[-2:]
    down, right = (max(int(most * side), 1) for side in (height, width))
    frames = F.pad(x.flatten(1, 2), (right, right, down, down), mode="replicate").unflatten(1, x.shape[1:3])
    made = []
    for clip in frames:
        top, left = (int(torch.randint(0, 2 * side + 1, ())) for side in (down, right))
        made.append(clip[..., top : top + height, left : left + width])
    return torch.stack(made)


own_features = OwnKind("own-video", VERSION, "clips", lambda spec: (spec.shape,), _built, _learned)
