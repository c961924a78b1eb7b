"""The network that continues a clip by moving what was seen: layers of the last frame, and where each of them goes.

A layer moves as one thing. It begins as what stands out of the ground on one side of the last frame, is followed
through the frames that were seen to where it fits best (correlation of the whole plane), and becomes what all of them
have in common when they are laid on the last one along its path: a few rounds of that tell apart what has crossed
before anything is learned (layers as Frey and Jojic 2003 find them). A small network that sees this path alone, one
axis at a time, goes on with it (as the parts of a scene do in Hsieh et al. 2018). It learns from where the layers are
found ahead: what lands beside its place tells little of where that is. Turning, growing and bending are added to the
path, and cost where they are not needed: tiles that go different ways tear what they show.

What a layer shows, and what of it was hidden, a network tells from all frames, laid on the last one. A frame is its
layers, laid where they go (splatting, Niklaus and Liu 2020), over a ground that stays, and over what is painted anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.condition import Condition
from maquette.nets.denoiser import Block, Denoiser
from maquette.nets.dims import Conv, gather, spread
from maquette.nets.warp import differences, over, splat, warp

LAGS = ((1, 3), (3, 6))  # frames before the last that it is compared with, displaced by up to so many half patches
_TRUSTED = 3.0  # logit of the share of what is moved, at first
_SMALL = 0.1  # what 1 of an output means: of a patch, or of half a side. At 1 one update throws things out of the frame
_SIDES = 8.0  # logit by which layers begin on other sides of what moves: with equal ones none would become its own
_STANDS_OUT = 0.03  # squared difference from what stays, at which a cell counts half
_BARE = 6.0  # logit by which the ground is told from frames in which nothing stands out
_ROUNDS = 3  # of following layers, and finding what they are. On coarser cells they are lost more often
_SHARP = 100.0  # how much more likely a layer is where it fits wholly than where it does not
_BEFORE = (1, 2, 4, 8)  # frames before the last to which layers are moved back


@dataclass(frozen=True)
class Followed:
    """What moves, found without learning: layers in the last frame, f32[B, K, H, W] in [0, 1]; where each is in all
    frames, less where it is in the last one, in cells, f32[B, K, seen, 2]; how well it fits there, f32[B, K, seen]; all
    frames, less what stays, laid on the last one along its path, f32[B, K, seen, C, H, W]; and what stays, f32[B, C, 1,
    H, W]."""

    layers: Tensor
    path: Tensor
    fits: Tensor
    aligned: Tensor
    stays: Tensor


@dataclass(frozen=True)
class Scene:
    """What the last frame is made of, and how it goes on. T moments: those ahead, then some before the last
    frame, from it backwards.

    colour:  of each layer, the hindmost first, f32[B, K, C, H, W]
    share:   of each cell that it covers, f32[B, K, 1, H, W]
    ways:    of each cell of a layer from the last frame to each moment, down and right, in cells, f32[B, T, K, 2, H, W]
    ground:  what is behind the layers, painted residual included, f32[B, ahead, C, H, W]
    trust:   share of what is moved that is shown, f32[B, ahead, 1, H, W]
    path:    where layers go ahead, in half sides, f32[B, K, ahead, 2]
    bend:    how each tile of a layer goes its own way, in tiles a moment, f32[B, K, 2, tiles, tiles]
    told:    what is known of what was seen
    """

    colour: Tensor
    share: Tensor
    ways: Tensor
    ground: Tensor
    trust: Tensor
    path: Tensor
    bend: Tensor
    told: Followed

    @property
    def ahead(self) -> int:
        return self.ground.shape[1]

    def laid(self, ways: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All layers where they go by f32[B, T, K, 2, H, W]: their colour times the share of each cell that they cover,
        f32[B, T, C, H, W], this share f32[B, T, 1, H, W], and what is seen of each, f32[B, T, K, H, W]."""
        b, moments = ways.shape[:2]
        layers = torch.cat([self.colour * self.share, self.share], 2)[:, None].expand(-1, moments, -1, -1, -1, -1)
        laid = _laid(layers, ways)
        laid = laid / laid[:, :, :, -1:].clamp(min=1)  # where cells crowd, their mean
        colour, covered, seen = over(*laid.flatten(0, 1).split([laid.shape[3] - 1, 1], 2))
        return colour.unflatten(0, (b, moments)), covered.unflatten(0, (b, moments)), seen.unflatten(0, (b, moments))

    def future(self) -> tuple[Tensor, Tensor]:
        """The moments ahead f32[B, ahead, C, H, W], and what is seen of each layer, f32[B, ahead, K, H, W]."""
        made, covered, seen = self.laid(self.ways[:, : self.ahead])
        return self.trust * made + (1 - self.trust * covered) * self.ground, self.trust * seen

    def past(self) -> Tensor:
        """The moments before the last frame, over the mean ground, f32[B, n, C, H, W]."""
        made, covered, _ = self.laid(self.ways[:, self.ahead :])
        return made + (1 - covered) * self.ground.mean(1, keepdim=True)

    def strayed(self, ahead: Tensor) -> Tensor:
        """How far layers go from where they are found in the moments ahead f32[B, C, ahead, H, W], mean over those that
        are found, in half sides."""
        with torch.no_grad():
            found, fits = follow(self.told.layers, stands_out(ahead, self.told.stays))
            sure = (2 * fits - 1).clamp(0, 1)[..., None]
        h, w = ahead.shape[3:]
        apart = self.path - found / torch.tensor([(h - 1) / 2, (w - 1) / 2], device=ahead.device)
        return (sure * apart.abs()).mean()

    def flow(self) -> Tensor:
        """Where each cell of a layer comes from, of the moments ahead and from each to the one before it:
        f32[B, ahead, K, 2, H, W]; 0 where the layer is not."""
        ways = self.ways[:, : self.ahead]
        steps = torch.cat([ways[:, :1], ways.diff(dim=1)], 1)
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


@torch.no_grad()
def followed(x: Tensor, layers: int) -> Followed:
    """What moves in f32[B, C, T, H, W]. Of two frames nobody knows what stays: there nothing is said to move."""
    x = (128 * x).round() / 128  # rounding of frames that were made, which depends on the batch, must not choose
    b, _, t, _, _ = x.shape
    stays = x.median(2, keepdim=True).values if t > 2 else x.mean(2, keepdim=True)
    moving, out = (x - stays).transpose(1, 2), stands_out(x, stays)
    found = out[:, None, -1] * _sides(out[:, -1], layers)
    path, fits = x.new_zeros(b, layers, t, 2), x.new_ones(b, layers, t)
    for _ in range(_ROUNDS if t > 2 else 0):
        path, fits = follow(found, out)
        shared = _fetched(out[:, :, None], path)[:, :, :, 0].mean(2) ** 3
        found = shared.square() / (shared.sum(1, keepdim=True) + 1e-3)
    return Followed(found, path, fits, _fetched(moving, path), stays)


def stands_out(x: Tensor, stays: Tensor) -> Tensor:
    """How far each cell of frames f32[B, C, T, H, W] stands out from what stays, f32[B, T, H, W] in [0, 1]."""
    apart = (x - stays).square().mean(1) / 4
    return apart / (apart + _STANDS_OUT)


def _sides(out: Tensor, layers: int) -> Tensor:
    """Shares of layers that lie around the middle of what stands out, f32[B, H, W] -> f32[B, K, H, W]."""
    rows, columns = (torch.linspace(-1, 1, n, device=out.device) for n in out.shape[1:])
    mass = out.sum((1, 2)) + 1e-3
    down = rows - (out.sum(2) @ rows / mass)[:, None]
    right = columns - (out.sum(1) @ columns / mass)[:, None]
    turns = torch.arange(layers, device=out.device) * (2 * math.pi / layers) + 0.5
    apart = turns.sin()[:, None, None] * down[:, None, :, None] + turns.cos()[:, None, None] * right[:, None, None]
    return (_SIDES * apart).softmax(1)


def follow(layers: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Where layers f32[B, K, H, W] fit best in frames f32[B, T, H, W], less where they are, f32[B, K, T, 2]; how well,
    f32[B, K, T]."""
    # In double precision: of two places that fit alike, rounding, which depends on the batch, must not choose.
    h, w = frames.shape[2:]
    high, wide = h + h // 2, w + w // 2  # so that what leaves on one side does not come in on the other
    layer, frame = (torch.fft.rfft2(x.double(), s=(high, wide)) for x in (layers, frames))
    fits = torch.fft.irfft2(frame[:, None] * layer[:, :, None].conj(), s=(high, wide))
    fits = fits / (layers.square().sum((2, 3))[:, :, None, None, None] + 1)
    likely = (_SHARP * fits).flatten(3).softmax(3).view_as(fits)
    down, right = (torch.fft.fftfreq(n, 1 / n, device=layers.device).double() for n in (high, wide))
    return torch.stack([likely.sum(4) @ down, likely.sum(3) @ right], 3).float(), fits.flatten(3).amax(3).float()


def _fetched(x: Tensor, path: Tensor) -> Tensor:
    """f32[B, T, C, H, W] laid back along f32[B, K, T, 2], f32[B, K, T, C, H, W]."""
    many = x[:, None].expand(-1, path.shape[1], -1, -1, -1, -1)
    ways = path[..., None, None].expand(-1, -1, -1, -1, *x.shape[3:])
    return warp(many.flatten(0, 2), ways.flatten(0, 2)).view(many.shape)


class Path(nn.Module):
    """How layers go on: path f32[B, K, seen, 2] and how far they reach f32[B, K, 2] in half sides, how well they fitted
    f32[B, K, seen], what they look like f32[B, K, n] -> where they are then, less where they are, f32[B, K, ahead, 2];
    each axis by itself, by the same weights."""

    def __init__(self, seen: int, ahead: int, looks: int, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(2 * seen + looks + 3, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )  # fmt: skip
        self.out = nn.Linear(width + seen, ahead)
        nn.init.normal_(self.out.weight, std=0.1 / math.sqrt(width))
        nn.init.zeros_(self.out.bias)

    def forward(self, path: Tensor, fits: Tensor, reach: Tensor, looks: Tensor) -> Tensor:
        at = path.transpose(2, 3)  # f32[B, K, axis, seen]
        after, shape, lag = at - at[..., -1:], (*at.shape[:3], -1), min(3, at.shape[3] - 1)
        axis = torch.eye(2, device=at.device).expand(*at.shape[:2], 2, 2)
        more = (fits[:, :, None].expand(shape), 4 * reach[..., None], axis, looks[:, :, None].expand(shape))
        inner = self.inner(torch.cat([2 * at, *more], 3))
        steps = self.out(torch.cat([inner, 4 * after], 3)).float() * _SMALL
        return (steps - after[..., -1 - lag, None] / lag).cumsum(3).transpose(2, 3)


class Mover(nn.Module):
    """x f32[B, C, seen, H, W], t f32[B] the share of these frames that is shown, c as `condition` makes it -> a Scene.

    shape: (C, H, W) of a frame     layers: K     others as of Denoiser
    """

    side: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(
        self, shape: Sequence[int], seen: int, ahead: int, layers: int, condition: Condition | None, width: int,
        deep: int, blocks: int, deep_blocks: int, described: int,
    ) -> None:  # fmt: skip
        super().__init__()
        channels, *size = shape
        self.channels, self.seen, self.ahead, self.layers = channels, seen, ahead, layers
        # Maps of values: which frames show the ground; of each moment what is painted, and what is not trusted.
        self.maps = [seen, ahead * channels, ahead]
        self.trunk = Denoiser(
            (sum(self.maps), *size), condition, width, deep, blocks, deep_blocks, described, seen * channels + 2,
            head=1,  # of so many maps
        )  # fmt: skip
        grid, width = self.trunk.grid, self.trunk.head.in_channels
        looks = max(width // 4, 1)
        self.before = [lag for lag in _BEFORE if lag < seen]
        self.lags = [(lag, reach) for lag, reach in LAGS if lag < seen]
        self.matched = Conv[2](sum((2 * reach + 1) ** 2 for _, reach in self.lags), width, 1)
        self.looks = nn.Linear(width, looks)
        self.path = Path(seen, ahead, looks, width)
        self.turns = nn.Linear(looks, 2)
        self.motion = Conv[2](4 * width, layers * 2, gain=0.05)
        # What all frames say of a layer, laid on the last one along its path: its share and its colour.
        self.together = Conv[2]((seen * channels + 2) * grid.values, width, 1)
        self.beside = Conv[2](width, width, 1)
        self.agree = Block(width, 2)
        self.scale, self.shift = nn.Parameter(torch.zeros(1, width, 1, 1)), nn.Parameter(torch.zeros(1, width, 1, 1))
        self.shown = Conv[2](width, (1 + channels) * grid.values, 1, gain=0.2)
        bias = self.trunk.head.bias
        assert bias is not None
        with torch.no_grad():
            self.trunk.head.weight.mul_(0.3)
            bias.view(-1, sum(self.maps))[:, -ahead:] = _TRUSTED  # channels of a cell lie as (values, maps)
            self.turns.weight.mul_(0.1)
            self.turns.bias.zero_()
        rows, columns = (torch.linspace(-1, 1, n, device="cpu") for n in size)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    @property
    def condition(self) -> Condition | None:
        return self.trunk.condition

    def forward(self, x: Tensor, t: Tensor, c: Tensor | None) -> Scene:
        x = self._filled(x, t)
        (b, channels, _, h, w), grid = x.shape, self.trunk.grid
        where = torch.stack(torch.meshgrid(self.rows, self.columns, indexing="ij")).expand(b, -1, -1, -1)
        known = self.matched(self._matches(x))
        features = self.trunk.features(torch.cat([x.flatten(1, 2), where], 1), t, torch.zeros_like(t), c, known)
        ground, painted, trust = self.trunk.values(features).split(self.maps, 1)

        with torch.autocast(x.device.type, enabled=False):  # places are told to fractions of a cell
            told = followed(x.float(), self.layers)
            middle, reach = self._places(told.layers)
        found, half = told.layers, torch.tensor([(h - 1) / 2, (w - 1) / 2], device=x.device)
        near = grid.cut(found).unflatten(1, (-1, self.layers)).mean(1)
        near = near / (near.sum((2, 3), keepdim=True) + 1e-3)
        looks = self.looks(torch.einsum("bkhw,bchw->bkc", near, features.float())).float()
        ahead = self.path(middle[:, :, None] + told.path / half, told.fits, reach, looks)
        path = torch.cat([ahead * half, told.path[:, :, [-1 - lag for lag in self.before]]], 2)
        bend = self._bend(features)
        ways = self._ways(path, middle, self.turns(looks).float(), bend)

        others = found.sum(1, keepdim=True) - found
        aligned = torch.cat([told.aligned.flatten(2, 3), found[:, :, None], others[:, :, None]], 2)
        u = self.together(grid.cut(aligned.flatten(0, 1))) + self.beside(features).repeat_interleave(self.layers, 0)
        u = F.silu(self.agree(u, 1 + self.scale, self.shift))
        share, colour = grid.join(self.shown(u)).float().unflatten(0, (b, -1)).split([1, channels], 2)
        base = found[:, :, None].clamp(0.02, 0.98).logit()
        frames = (b, self.ahead, -1, h, w)
        which = (ground - _BARE * stands_out(x, told.stays)).softmax(1)
        shown = torch.einsum("bthw,bcthw->bchw", which, x)[:, None]
        return Scene(
            x[:, None, :, -1] + colour, (base + 2 * share).sigmoid(), ways,
            shown + painted.view(frames), trust.sigmoid().view(frames), ahead, bend, told,
        )  # fmt: skip

    def _filled(self, x: Tensor, t: Tensor) -> Tensor:
        """With the first frame that is shown instead of those that are hidden before it."""
        hidden = self.seen - (t * self.seen).round().long()
        frames = torch.arange(self.seen, device=x.device).maximum(hidden[:, None])
        return x.gather(2, frames[:, None, :, None, None].expand_as(x))

    def _fine(self, tiles: Tensor, side: int = 1) -> Tensor:
        """f32[B, K, n, h, w] of tiles of so many patches -> of cells."""
        side *= self.trunk.grid.patch
        fine = F.interpolate(tiles.flatten(0, 1), scale_factor=side, mode="bilinear", align_corners=False)
        return fine[..., : len(self.rows), : len(self.columns)].unflatten(0, tiles.shape[:2])

    def _places(self, layers: Tensor) -> tuple[Tensor, Tensor]:
        """The middle of layers f32[B, K, H, W] and how far they reach about it, f32[B, K, 2] in half sides."""
        mass = layers.sum((2, 3))[..., None] + 1e-3
        lines = [(layers.sum(3) / mass, self.rows), (layers.sum(2) / mass, self.columns)]
        middle = torch.stack([share @ place for share, place in lines], 2)
        apart = [(share * (place - middle[:, :, i, None]).square()).sum(2) for i, (share, place) in enumerate(lines)]
        return middle, (torch.stack(apart, 2) + 1e-6).sqrt()

    def _ways(self, path: Tensor, middle: Tensor, turns: Tensor, bend: Tensor) -> Tensor:
        """Of each cell to each moment, f32[B, T, K, 2, H, W]. path: of each layer, f32[B, K, T, 2], in cells; it turns
        about its middle f32[B, K, 2] and grows by f32[B, K, 2] a moment, and bends."""
        moments = torch.tensor([*range(1, self.ahead + 1), *(-lag for lag in self.before)]).to(path)
        h, w = len(self.rows), len(self.columns)
        down = (self.rows - middle[:, :, :1])[:, None, :, :, None] * ((h - 1) / 2)
        right = (self.columns - middle[:, :, 1:])[:, None, :, None] * ((w - 1) / 2)
        angle, grown = (_SMALL * turns[:, None] * moments[:, None, None]).unbind(3)  # f32[B, T, K]
        size = grown.clamp(-1, 1).exp()
        cos, sin = ((size * f(angle))[..., None, None] for f in (torch.cos, torch.sin))
        turned = torch.stack([(cos - 1) * down - sin * right, sin * down + (cos - 1) * right], 3)
        own = self._fine(bend, 2)[:, None] * (moments[:, None, None, None, None] * 2 * self.trunk.grid.patch)
        return path.transpose(1, 2)[..., None, None] + turned + own

    def _matches(self, x: Tensor) -> Tensor:
        """How far the last frame is from some before it, displaced: f32[B, displacements, H / patch, W / patch]."""
        grid = self.trunk.grid
        whole = spread(grid.cut(x.flatten(1, 2)), grid.patch)
        half = F.avg_pool2d(whole, grid.patch // 2).unflatten(1, x.shape[1:3])
        found = [differences(half[:, :, -1], half[:, :, -1 - lag], reach) for lag, reach in self.lags]
        return F.avg_pool2d(torch.cat(found, 1), 2)

    def _bend(self, features: Tensor) -> Tensor:
        h, w = features.shape[-2:]
        coarse = gather(F.pad(features, (0, w % 2, 0, h % 2)))
        return self.motion(coarse).float().unflatten(1, (self.layers, 2)) * _SMALL
