"""The network that continues a clip by moving what was seen: layers of the last frame, and where things in them go.

It is asked where what is there goes, not where what will be there comes from: that can be told near the thing itself,
however far it goes; and which of two things that lie over one another is in which layer is settled place by place. A
frame is its layers, laid where they go (splatting, Niklaus and Liu 2020), over a ground that stays, whose values are
those of whichever frame showed it, and over what is painted anew.

A displacement is the sum of steps from moment to moment, so that the motion of the next frame is learned first and that
of later ones goes on from it. Steps are those of patches, and linear between these: motion is smooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.condition import Condition
from maquette.nets.denoiser import Denoiser
from maquette.nets.dims import Conv, gather, spread
from maquette.nets.warp import differences, over, splat

LAGS = ((1, 3), (3, 6))  # frames before the last that it is compared with, displaced by up to so many half patches
_TRUSTED = 3.0  # logit of the share of what is moved, at first
_STEP = 0.1  # of a patch: what 1 of the network's output moves. At 1 one update throws things out of the frame


@dataclass(frozen=True)
class Scene:
    """What the last frame is made of, and how it goes on. Of T moments, by `Mover.moments`.

    colour:  of each layer, the hindmost first, f32[B, K, C, H, W]
    share:   of each cell that it covers, f32[B, K, 1, H, W]
    steps:   where things in each tile of a layer go, from the moment before on, down and right, in cells:
             f32[B, T, K, 2, H / tile, W / tile]; to a moment before the last frame, from the moment after it
    ground:  what is behind the layers, painted residual included, f32[B, ahead, C, H, W]
    trust:   share of what is moved that is shown, f32[B, ahead, 1, H, W]
    """

    colour: Tensor
    share: Tensor
    steps: Tensor
    ground: Tensor
    trust: Tensor
    tile: int

    @property
    def ahead(self) -> int:
        return self.ground.shape[1]

    @property
    def ways(self) -> Tensor:
        """Of each cell from the last frame to each moment, f32[B, T, K, 2, H, W]."""
        parts = self.steps.split([self.ahead, self.steps.shape[1] - self.ahead], 1)
        return self._fine(torch.cat([part.cumsum(1) for part in parts], 1))

    def _fine(self, steps: Tensor) -> Tensor:
        """Of tiles -> of each cell."""
        *_, h, w = self.share.shape
        fine = F.interpolate(steps.flatten(0, 2), scale_factor=self.tile, mode="bilinear", align_corners=False)
        return fine[..., :h, :w].unflatten(0, steps.shape[:3])

    def laid(self, ways: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All layers where they go by f32[B, T, K, 2, H, W]: their colour times the share of each cell that they cover,
        f32[B, T, C, H, W], this share f32[B, T, 1, H, W], and what is seen of each, f32[B, T, K, H, W]."""
        b, moments = ways.shape[:2]
        layers = torch.cat([self.colour * self.share, self.share], 2)[:, None].expand(-1, moments, -1, -1, -1, -1)
        laid = _laid(layers, ways)
        laid = laid / laid[:, :, :, -1:].clamp(min=1)  # where cells crowd, their mean
        colour, covered, seen = over(*laid.flatten(0, 1).split([laid.shape[3] - 1, 1], 2))
        return colour.unflatten(0, (b, moments)), covered.unflatten(0, (b, moments)), seen.unflatten(0, (b, moments))

    def frames(self) -> tuple[Tensor, Tensor, Tensor]:
        """The moments ahead f32[B, ahead, C, H, W]; those seen before the last, from it backwards, over the mean
        ground; and what is seen of each layer ahead, f32[B, ahead, K, H, W]."""
        n, trust = self.ahead, self.trust
        made, covered, seen = self.laid(self.ways)
        future = trust * made[:, :n] + (1 - trust * covered[:, :n]) * self.ground
        past = made[:, n:] + (1 - covered[:, n:]) * self.ground.mean(1, keepdim=True)
        return future, past, trust * seen[:, :n]

    def flow(self) -> Tensor:
        """Where each cell of a layer comes from, of the moments ahead and from each to the one before it:
        f32[B, ahead, K, 2, H, W]; 0 where the layer is not."""
        steps, ways = self._fine(self.steps[:, : self.ahead]), self.ways[:, : self.ahead]
        share = self.share[:, None].expand(-1, self.ahead, -1, -1, -1, -1)
        found = _laid(torch.cat([-steps * share, share], 3), ways)
        return found[:, :, :, :2] / found[:, :, :, 2:].clamp(min=1e-3)


def between(first: Scene, last: Scene, t: Tensor) -> Tensor:
    """What lies between two frames at t f32[B, n] in [0, 1], f32[B, n, C, H, W]: layers of both, each moved a part of
    its way to the other, the nearer one counting more; where neither covers a cell, the ground.

    first, last: of each what it is made of, with the other as the frame before it
    """
    t = t[:, :, None, None, None]
    made = weight = torch.zeros_like(first.ground[:, :1])
    bare = torch.ones_like(first.trust[:, :1])
    for scene, way in ((first, t), (last, 1 - t)):
        colour, covered, _ = scene.laid(scene.ways[:, scene.ahead :][:, :1] * way[..., None])
        share = (1 - way) * scene.trust[:, :1]
        made, weight = made + share * colour, weight + share * covered
        bare = bare * (1 - scene.trust[:, :1] * covered)
    ground = (first.ground[:, :1] + last.ground[:, :1]) / 2
    return (made + (bare + 1e-3) * ground) / (weight + bare + 1e-3)


def _laid(values: Tensor, ways: Tensor) -> Tensor:
    """f32[B, T, K, n, H, W] where it goes by f32[B, T, K, 2, H, W]."""
    return splat(values.flatten(0, 2), ways.flatten(0, 2)).unflatten(0, ways.shape[:3])


class Mover(nn.Module):
    """x f32[B, C, seen, H, W], t f32[B] the share of these frames that is shown, c as `condition` makes it -> a Scene.

    shape: (C, H, W) of a frame     layers: K     past: whether it also moves back, to the frames that were seen
    """

    def __init__(
        self, shape: Sequence[int], seen: int, ahead: int, layers: int, condition: Condition | None, width: int,
        deep: int, blocks: int, deep_blocks: int, described: int,
    ) -> None:  # fmt: skip
        super().__init__()
        channels, *size = shape
        self.channels, self.seen, self.ahead, self.layers = channels, seen, ahead, layers
        # Maps of values: of layers their shares and what of their colour the last frame does not show; of the ground
        # which frames show it; of each moment what is painted, and what is not trusted.
        self.maps = [layers, layers * channels, seen, ahead * channels, ahead]
        self.trunk = Denoiser(
            (sum(self.maps), *size), condition, width, deep, blocks, deep_blocks, described, seen * channels,
            head=1,  # of so many maps
        )  # fmt: skip
        self.moments = ahead + seen - 1
        self.motion = Conv[2](4 * self.trunk.head.in_channels, layers * 2 * (1 + self.moments), gain=0.05)
        self.lags = [(lag, reach) for lag, reach in LAGS if lag < seen]
        self.matched = Conv[2](sum((2 * reach + 1) ** 2 for _, reach in self.lags), self.trunk.head.in_channels, 1)
        bias = self.trunk.head.bias
        assert bias is not None
        with torch.no_grad():
            self.trunk.head.weight.mul_(0.3)
            bias.view(-1, sum(self.maps))[:, -ahead:] = _TRUSTED  # channels of a cell lie as (values, maps)

    @property
    def condition(self) -> Condition | None:
        return self.trunk.condition

    def forward(self, x: Tensor, t: Tensor, c: Tensor | None) -> Scene:
        b = len(x)
        known = self.matched(self._matches(x))
        features = self.trunk.features(x.flatten(1, 2), t, torch.zeros_like(t), c, known)
        share, hidden, ground, painted, trust = self.trunk.values(features).split(self.maps, 1)
        shown = torch.einsum("bthw,bcthw->bchw", ground.softmax(1), x)
        frames = (b, self.ahead, -1, *x.shape[-2:])
        return Scene(
            x[:, None, :, -1] + hidden.unflatten(1, (self.layers, -1)), share.sigmoid()[:, :, None],
            self._steps(features), shown[:, None] + painted.view(frames), trust.sigmoid().view(frames),
            2 * self.trunk.grid.patch,
        )  # fmt: skip

    def _matches(self, x: Tensor) -> Tensor:
        """How far the last frame is from some before it, displaced: f32[B, displacements, H / patch, W / patch]."""
        grid = self.trunk.grid
        whole = spread(grid.cut(x.flatten(1, 2)), grid.patch)
        half = F.avg_pool2d(whole, grid.patch // 2).unflatten(1, x.shape[1:3])
        found = [differences(half[:, :, -1], half[:, :, -1 - lag], reach) for lag, reach in self.lags]
        return F.avg_pool2d(torch.cat(found, 1), 2)

    def _steps(self, features: Tensor) -> Tensor:
        h, w = features.shape[-2:]
        coarse = gather(F.pad(features, (0, w % 2, 0, h % 2)))
        found = self.motion(coarse).float().unflatten(1, (self.layers, 2, -1)) * (_STEP * self.trunk.grid.patch)
        steady, more = found.split([1, self.moments], 3)  # what stays the same, and how each moment differs
        ahead, back = (steady + more).split([self.ahead, self.seen - 1], 3)
        return torch.cat([ahead, -back], 3).permute(0, 3, 1, 2, 4, 5)
