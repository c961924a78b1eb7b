"""Pictures changed at random before a critic sees them, real and generated alike, so that it cannot learn a few
pictures by heart (differentiable augmentation, Zhao et al. 2020; with a share that adapts, Karras et al. 2020).

Each kind of change happens to a share of the pictures below 1. What is left as it is lets the critic tell changed
pictures from others as a distribution, so that the generator does not learn the changes (Karras et al. 2020, section
3.1). No mirror images: letters, maps and scans have a left and a right.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DRAWS = 17  # uniform numbers a picture
_MOST = 0.8  # beyond it changes leak into what is generated (Karras et al. 2020, fig. 4)
_EVERY = 4  # steps between two looks at how sure the critic is
_FULL = 40_000  # pictures in which the share could go from 0 to 1


class Augment(nn.Module):
    """x f32[B, C, H, W] in [-1, 1], u ~ U[0, 1) f32[B, DRAWS] -> f32[B, C, H, W]; differentiable in x.

    share:  of the pictures that each kind of change happens to; where it adapts, what it begins with
    target: what the critic's certainty is held at, E[sign(D(real) - D(generated))]; 0: the share stays as it is
    """

    share: Tensor
    sure: Tensor
    seen: Tensor
    looked: Tensor

    def __init__(self, share: float, target: float = 0.0) -> None:
        super().__init__()
        self.target = target
        self.register_buffer("share", torch.tensor(share))
        self.register_buffer("sure", torch.tensor(0.0))
        self.register_buffer("seen", torch.tensor(0.0))
        self.register_buffer("looked", torch.tensor(-1))

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        happens, amounts = u[:, :7] < self.share, u[:, 7:]
        return _cut_out(_recolour(_move(x.float(), happens, amounts), happens, amounts), happens, amounts)

    @torch.no_grad()
    def adapt(self, step: int) -> None:
        """Moves the share by what was seen since the last look: up where the critic is surer than its target.

        Micro-batches of a step change nothing; each of several processes goes by what it saw itself, as the
        statistics of batch-norm do.
        """
        if not self.target or step % _EVERY or int(self.looked) == step:
            return
        self.looked.fill_(step)
        seen = float(self.seen)
        if seen:
            way = math.copysign(seen / _FULL, float(self.sure) / seen - self.target)
            self.share.add_(way).clamp_(0.0, _MOST)
        self.sure.zero_()
        self.seen.zero_()

    @torch.no_grad()
    def observe(self, real: Tensor, fake: Tensor) -> None:
        """Logits f32[B] of pictures that training drew."""
        self.sure.add_((real - fake).sign().sum())
        self.seen.add_(len(real))


def _move(x: Tensor, happens: Tensor, u: Tensor) -> Tensor:
    """Shifted by up to an eighth, turned by up to 15 degrees, larger, smaller or stretched; the edges go on."""
    shift = (u[:, :2] - 0.5) / 2 * happens[:, :1]  # of the picture's two units
    turn = (u[:, 2] - 0.5) * math.radians(30) * happens[:, 1]
    size = 2 ** (0.15 * _normal(u[:, 3]) * happens[:, 2])
    stretch = 2 ** (0.15 * _normal(u[:, 4]) * happens[:, 3])
    cos, sin = turn.cos(), turn.sin()
    rows = [cos * size * stretch, -sin * size, shift[:, 0], sin * size, cos * size / stretch, shift[:, 1]]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    # Pictures that stay where they are keep every pixel.
    return torch.where(happens[:, :4].any(1)[:, None, None, None], moved, x)


def _recolour(x: Tensor, happens: Tensor, u: Tensor) -> Tensor:
    """Brighter or darker; more or less contrast; and more or less colour where there is any."""
    bright = 0.2 * _normal(u[:, 5]) * happens[:, 4]
    contrast = 2 ** (0.4 * _normal(u[:, 6]) * happens[:, 5])
    middle = x.mean((1, 2, 3), keepdim=True)
    x = torch.lerp(middle, x, _wide(contrast)) + _wide(bright)
    if x.shape[1] == 3:
        grey = x.mean(1, keepdim=True)
        x = torch.lerp(grey, x, _wide(2 ** (_normal(u[:, 7]) * happens[:, 5])))
    return x


def _cut_out(x: Tensor, happens: Tensor, u: Tensor) -> Tensor:
    """A square of half the side is blank (cutout, DeVries & Taylor 2017)."""
    inside = []
    for size, at in zip(x.shape[2:], (u[:, 8], u[:, 9]), strict=True):
        places = (torch.arange(size, device=x.device) + 0.5) / size
        inside.append((places - at[:, None]).abs() < 0.25)
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :] & happens[:, 6, None, None, None]
    return x.masked_fill(hole, 0.0)


def _normal(u: Tensor) -> Tensor:
    """N(0, 1) from U[0, 1)."""
    return math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-0.999, 0.999))


def _wide(v: Tensor) -> Tensor:
    return v[:, None, None, None]
