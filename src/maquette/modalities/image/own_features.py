"""Features from a small network trained once on the user's own training pictures (evaluation/own.py). Nothing is
downloaded.

Without labels two crops of one picture should look alike and unlike all others (NT-Xent; Chen et al. 2020, eq. 1). Only
geometry is augmented: features that do not see blur or noise could not hold it against a generator. What is wrong with
pictures the network learns to name (flaws.py). Pictures are mirrored where that does not hide what they show, which a
short trial finds out: a mirrored digit is no digit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.core.hardware import multiplies_bf16
from maquette.core.rng import derive
from maquette.evaluation.own import Lesson, OwnKind, OwnNetwork
from maquette.modalities.image.config import Spec
from maquette.modalities.image.flaws import FLAWS, flawed

VERSION = 2  # raise it whenever the network or its training changes: cached ones are then left alone
SIDE = 64  # larger pictures are averaged down to it
EASY = 0.95  # right answers after the trial, from which on the classes take no long training
MIRRORED = 0.9  # share of these that must stay right in the mirror
LEARNED = 0.3  # beyond the commonest class: who knows less than that does not know what a mirror hides either
ASKED = 60  # pictures, of fewer of which a trial says nothing


class Network(OwnNetwork):
    """Features of what `look` makes of pictures f32[B, C, H, W]: none is larger than SIDE."""

    def __init__(self, channels: int, height: int, width: int, dim: int, out: int) -> None:
        super().__init__()
        h, w = min(height, SIDE), min(width, SIDE)
        halvings = max(1, math.ceil(math.log2(min(h, w) / 7)))  # 28 -> 7, 32 -> 4, 64 -> 4, 8 -> 4
        first = 2 if halvings > 1 else 1
        width_now, layers = 32, [*_block(channels, 32, 4 if first == 2 else 3, first)]
        for _ in range(halvings - (first == 2)):
            wider = min(width_now * 2, 128)
            layers += [*_block(width_now, width_now, 3, 1), *_block(width_now, wider, 3, 2)]
            width_now = wider
        layers += _block(width_now, width_now, 3, 1)
        self.size = (h, w)
        self.trunk = nn.Sequential(*layers)
        self.finish(width_now * 4, dim, out, len(FLAWS))

    def forward(self, x: Tensor) -> Tensor:
        # 2 x 2 rather than a single mean: where things are is part of what a picture is.
        features: Tensor = self.features(F.adaptive_avg_pool2d(self.trunk(x), 2).flatten(1))
        return features

    def look(self, items: Tensor) -> Tensor:
        return items if items.shape[-2:] == self.size else F.adaptive_avg_pool2d(items, self.size)


def _block(before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, kernel, stride, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def _built(spec: Spec, items: int, out: int) -> Network:
    channels, height, width = spec.shape
    return Network(channels, height, width, 128 if items >= 5000 else 64, out)


def _learned(build: Callable[[], Network], lesson: Lesson) -> Network:
    torch.manual_seed(derive(0, "own features", "trial"))
    mirror, easy = _trial(build(), lesson)
    network = lesson.begin(build, VERSION)
    _train(network, lesson, plan(len(lesson.rows), lesson.column.spec.shape, lesson.labels is None, easy), mirror)
    return network


def plan(n: int, spec_shape: tuple[int, ...], contrastive: bool, easy: bool = True) -> tuple[int, int]:
    """(steps, batch size). easy: whether a minute of two cores will do; if not, it is two, which classes of photographs
    take."""
    area = min(spec_shape[1], SIDE) * min(spec_shape[2], SIDE)
    batch = min(256 if n >= 5000 else 64, n)
    epochs, most = (30, 160_000) if easy else (60, 400_000)
    pictures = min(epochs * n, most * 28 * 28 // max(area, 20 * 20))
    return max(pictures // (2 if contrastive else 1) // batch, 1), batch


def _trial(network: Network, lesson: Lesson) -> tuple[bool, bool]:
    """Whether mirrored pictures still show their class, and whether the classes are easy: what a short training says of
    a tenth that it is not shown."""
    asked, learned = np.split(lesson.rows, [min(len(lesson.rows) // 10, 1000)])
    if len(asked) < ASKED or lesson.labels is None:
        return False, lesson.labels is None
    network.place(lesson.device)
    steps, batch = plan(len(learned), lesson.column.spec.shape, False)
    doing = "trying how hard the classes are"
    _train(network, replace(lesson, rows=learned), (max(steps // 4, 1), batch), False, doing)
    network.eval()
    seen = network.look(lesson.column.take(asked).to(lesson.device))
    with torch.no_grad():
        right, mirrored = (
            float((network.head(network(x)).argmax(1).cpu() == lesson.labels[asked]).float().mean())
            for x in (seen, seen.flip(3))
        )
    chance = float(lesson.labels[asked].bincount().max()) / len(asked)
    return right - chance >= LEARNED and mirrored >= MIRRORED * right, right >= EASY


def _train(
    network: Network, lesson: Lesson, planned: tuple[int, int], mirror: bool,
    doing: str = "training the feature network",
) -> None:  # fmt: skip
    def show(x: Tensor, some: int) -> tuple[list[Tensor], Tensor, Tensor]:
        x = network.look(x)
        bad, flaw = flawed(x[:some])
        # Where pictures are moved to is rounded to bf16, too, as in version 2 from the first: its numbers are known.
        with torch.autocast(x.device.type, torch.bfloat16, enabled=multiplies_bf16(x.device)):
            if lesson.labels is None:
                return [move(x, 0.25, 0.2, 0.15), move(x, 0.25, 0.2, 0.15)], bad, flaw
            flip = torch.rand(len(x), 1, 1, 1).to(x.device) < (0.5 if mirror else 0.0)
            return [move(torch.where(flip, x.flip(3), x), 0.15, 0.15, 0.1)], bad, flaw

    lesson.teach(network, *planned, 6e-3, show, doing)


def move(x: Tensor, turn: float, zoom: float, shift: float) -> Tensor:
    """Each picture turned (radians), zoomed and shifted (shares) by up to so much; edges repeat."""
    n = len(x)
    u = torch.rand(4, n) * 2 - 1
    angle, size = u[0] * turn, 1 + u[1] * zoom
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    dx, dy = u[2] * 2 * shift, u[3] * 2 * shift
    affine = torch.stack([torch.stack([cos, -sin, dx], 1), torch.stack([sin, cos, dy], 1)], 1)
    grid = F.affine_grid(affine, list(x.shape), align_corners=False).to(x)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


own_features = OwnKind("own", VERSION, "pictures", lambda spec: (spec.shape,), _built, _learned)
