"""What corrupts a picture: pixels left out, averaged over blocks, blurred, noise, JPEG. Pure functions and objects.

An `Observation` says what of a picture x f32[B, C, H, W] in [-1, 1] is seen, y = A x, and finds the nearest picture
that agrees with what was seen: `project(x, y)`, the null-space projection x + A^+ (y - A x) of linear operators
(Wang et al. 2023, eq. 6). For training, `corrupt` draws one degradation for each item.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.sampling.ode import over

Kind = Literal["downscale", "hole", "noise", "blur", "jpeg"]
NOISE = (0.05, 1.0)  # standard deviations that `corrupt` draws, on the scale of [-1, 1]
BLUR = (0.02, 0.1)  # standard deviations, as shares of the longer side
QUALITY = (5.0, 75.0)  # of JPEG


class Observation(Protocol):
    """What is seen of a picture."""

    def apply(self, x: Tensor) -> Tensor:
        """Pictures f32[B, C, H, W] -> what is seen of them."""
        ...

    def project(self, x: Tensor, y: Tensor, ratio: float = 0.0) -> Tensor:
        """The picture nearest to x of which y is seen. ratio: variance of the noise in y over that of x, which is
        then moved only as far as y can be trusted: x + A^T (A A^T + ratio)^-1 (y - A x), the mean of Gaussian x."""
        ...


@dataclass(frozen=True)
class Masked:
    """Some pixels are seen. seen: 1 for them and 0 for the others, f32[B or 1, 1, H, W]."""

    seen: Tensor

    def apply(self, x: Tensor) -> Tensor:
        return x * self.seen

    def project(self, x: Tensor, y: Tensor, ratio: float = 0.0) -> Tensor:
        return x + self.seen * (y - x) / (1 + ratio)


@dataclass(frozen=True)
class BlockAverage:
    """The means of blocks of factor x factor pixels are seen: A A^T = I / factor^2, A^+ repeats."""

    factor: int

    def apply(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.factor)

    def project(self, x: Tensor, y: Tensor, ratio: float = 0.0) -> Tensor:
        return x + enlarge(y - self.apply(x), self.factor) / (1 + ratio * self.factor**2)


@dataclass(frozen=True)
class Blur:
    """A Gaussian blur is seen. sigma: in pixels; beyond its border a picture is mirrored.

    Rows and columns are blurred by matrices K, so that singular values of the whole are products of theirs.
    """

    sigma: float
    height: int
    width: int

    def apply(self, x: Tensor) -> Tensor:
        return blur(x, torch.full((len(x),), self.sigma, device=x.device))

    def project(self, x: Tensor, y: Tensor, ratio: float = 0.0) -> Tensor:
        (u, s, vh), (p, q, rh) = self._factors(self.height), self._factors(self.width)
        both = (s[:, None] * q[None, :]).to(x)
        # Singular values below rounding to 8 bits say nothing: 1e-4 is that of values about 0.3 apart.
        weight = both / (both.square() + max(ratio, 1e-4))
        inside = u.T.to(x) @ (y - self.apply(x)) @ p.to(x)
        return x + vh.T.to(x) @ (weight * inside) @ rh.to(x)

    def _factors(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        return _singular(self.sigma, size)


@functools.lru_cache(16)
def _singular(sigma: float, size: int) -> tuple[Tensor, Tensor, Tensor]:
    u, s, vh = torch.linalg.svd(_blur_matrix(torch.tensor([sigma], dtype=torch.float64), size)[0])
    return u, s, vh


@dataclass(frozen=True)
class Jpeg:
    """A JPEG is seen: of each 8x8 block the DCT coefficients, rounded to multiples of a table.

    What agrees with it is a box of coefficients, so the nearest such picture has each of them clipped to its interval
    (projection onto the quantisation constraint set; Zakhor 1992, eq. 5). apply() gives what the file shows.

    luminance, chrominance: quantisation tables f32[8, 8]; colour is not subsampled
    """

    luminance: Tensor
    chrominance: Tensor

    def apply(self, x: Tensor) -> Tensor:
        tables = self._tables(x)
        return _from_coefficients((_coefficients(x, rounded=True) / tables).round() * tables, x.shape)

    def project(self, x: Tensor, y: Tensor, ratio: float = 0.0) -> Tensor:
        tables = self._tables(x)
        middle, half = (_coefficients(y) / tables).round() * tables, tables / 2
        half = half.repeat(1, *middle.shape[2:4], 1, 1)
        if x.shape[2] % 8:
            half[:, -1] *= 2  # what of a block lies beyond the border was thrown away
        if x.shape[3] % 8:
            half[:, :, -1] *= 2
        inside = torch.minimum(torch.maximum(_coefficients(x), middle - half), middle + half)
        return _from_coefficients(inside, x.shape, rounded=False)

    def _tables(self, x: Tensor) -> Tensor:
        tables = [self.luminance] if x.shape[1] == 1 else [self.luminance, self.chrominance, self.chrominance]
        return torch.stack(tables).to(x)[:, None, None]  # [C, 1, 1, 8, 8]


# -- for each item its own ---------------------------------------------------------------------------


def corrupt(
    x: Tensor, kinds: Sequence[Kind], factors: Sequence[int], hidden: float, u: Tensor, noise: Tensor
) -> Tensor:  # fmt: skip
    """Pictures f32[B, C, H, W] as they are seen, f32[B, C + 1, H, W]: each corrupted in one of the ways, and a channel
    that is 1 where pixels are seen. A share `hidden` of them is not seen at all: 0 everywhere.

    u f32[B, 9] uniform on [0, 1); noise f32[B, C, H, W] normal      factors: of downscaling, shown by repeated pixels
    """
    kind, amount = (u[:, 0] * len(kinds)).long(), u[:, 1]
    shown, seen = x, torch.ones_like(x[:, :1])
    for number, name in enumerate(kinds):
        made, mask = x, torch.ones_like(seen)
        if name == "downscale":
            chosen = (amount * len(factors)).long()
            for place, factor in enumerate(factors):
                made = torch.where(over(chosen == place, x), block_means(x, factor), made)
        elif name == "hole":
            mask = random_holes(u[:, 3:], noise[:, :1])
            made = x * mask
        elif name == "noise":
            made = add_noise(x, noise, NOISE[0] * (NOISE[1] / NOISE[0]) ** amount)
        elif name == "blur":
            made = blur(x, (BLUR[0] + (BLUR[1] - BLUR[0]) * amount) * max(x.shape[2:]))
        else:
            made = jpeg(x, QUALITY[0] * (QUALITY[1] / QUALITY[0]) ** amount)
        ours = over(kind == number, x)
        shown, seen = torch.where(ours, made, shown), torch.where(ours, mask, seen)
    return torch.cat([shown, seen], 1) * over(u[:, 2] >= hidden, x)


def enlarge(y: Tensor, factor: int) -> Tensor:
    """By whole numbers, f32[B, C, h, w] -> f32[B, C, factor h, factor w]: each pixel becomes a block."""
    return y.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def block_means(x: Tensor, factor: int) -> Tensor:
    """Each block of factor x factor pixels as its mean, f32[B, C, H, W]; what is left over at the border is of
    smaller blocks."""
    rows, columns = x.shape[2:]
    means = F.avg_pool2d(x, factor, ceil_mode=True)
    return enlarge(means, factor)[..., :rows, :columns]


def blur(x: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of f32[B, C, H, W] with standard deviations f32[B] in pixels, mirrored at the border."""
    rows, columns = (_blur_matrix(sigma.to(x), size)[:, None] for size in x.shape[2:])
    return rows @ x @ columns.mT


def _blur_matrix(sigma: Tensor, size: int) -> Tensor:
    """[B, size, size]: row i is the weights of the pixels that make pixel i."""
    place = torch.arange(size, device=sigma.device, dtype=sigma.dtype)
    matrix = sigma.new_zeros(len(sigma), size, size)
    for turn in (-1, 0, 1):  # the picture, and its mirror images on either side: ... 1 0 | 0 1 2 | 2 1 ...
        image = place if turn == 0 else (-1 - place if turn < 0 else 2 * size - 1 - place)
        matrix += (-0.5 * ((place[:, None] - image) / sigma[:, None, None].clamp(min=1e-3)).square()).exp()
    return matrix / matrix.sum(2, keepdim=True)


def add_noise(x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """x + sigma noise, f32[B, C, H, W] with sigma f32[B] on the scale of [-1, 1]; clipped to it, as a file is."""
    return (x + over(sigma, x) * noise).clamp(-1, 1)


def random_holes(u: Tensor, field: Tensor) -> Tensor:
    """Masks f32[B, 1, H, W], 1 where pixels are seen: half of the holes are rectangles, with sides of 1/8 to 3/4 of
    the picture's, the others of free form, of 1/10 to 1/2 of its area.

    u f32[B, 6] uniform on [0, 1); field f32[B, 1, H, W] normal, whose largest smooth hills are the free form
    """
    rows, columns = field.shape[2:]
    high, wide = 0.125 + 0.625 * u[:, 0], 0.125 + 0.625 * u[:, 1]
    down = _within(rows, u[:, 2] * (1 - high), high)
    across = _within(columns, u[:, 3] * (1 - wide), wide)
    rectangle = down[:, :, None] & across[:, None, :]
    hills = blur(field, torch.full((len(u),), max(rows, columns) / 14, device=u.device)).flatten(1)
    level = hills.sort(1).values.gather(1, ((0.5 + 0.4 * u[:, 4, None]) * hills.shape[1]).long())
    free = (hills >= level).view(-1, rows, columns)
    hole = torch.where((u[:, 5] < 0.5)[:, None, None], rectangle, free)
    return 1.0 - hole[:, None].to(field)


def _within(size: int, start: Tensor, length: Tensor) -> Tensor:
    """bool[B, size]: which of `size` pixels are within [start, start + length), as shares."""
    place = (torch.arange(size, device=start.device) + 0.5) / size
    return (place >= start[:, None]) & (place < (start + length)[:, None])


# -- JPEG ---------------------------------------------------------------------------------------------

# Annex K of ITU-T T.81 (1992): the tables that the quality of libjpeg scales.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *((99,) * 8,) * 4,
)  # fmt: skip
# Y, Cb, Cr of R, G, B (JFIF, from ITU-R BT.601).
_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def jpeg_tables(quality: Tensor) -> Tensor:
    """Quantisation tables f32[B, 2, 8, 8], luminance and chrominance, for qualities f32[B] in 1..100 (libjpeg)."""
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality).floor()
    tables = torch.tensor([_LUMINANCE, _CHROMINANCE], dtype=torch.float32, device=quality.device)
    return ((tables * scale.view(-1, 1, 1, 1) + 50) / 100).floor().clamp(1, 255)


def jpeg(x: Tensor, quality: Tensor) -> Tensor:
    """f32[B, C, H, W] -> what a JPEG of quality f32[B] shows; colours (C = 3) are not subsampled."""
    tables = jpeg_tables(quality)
    tables = tables[:, :1] if x.shape[1] == 1 else tables[:, [0, 1, 1]]
    tables = tables[:, :, None, None]
    return _from_coefficients((_coefficients(x, rounded=True) / tables).round() * tables, x.shape)


@functools.lru_cache(1)
def _dct() -> Tensor:
    """The orthonormal DCT-II of 8 values, f32[8, 8]: rows are frequencies."""
    k, n = torch.arange(8.0)[:, None], torch.arange(8.0)[None]
    matrix = (math.pi * (2 * n + 1) * k / 16).cos() / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def _coefficients(x: Tensor, rounded: bool = False) -> Tensor:
    """[-1, 1] f32[B, C, H, W] -> DCT coefficients f32[B, C, H/8, W/8, 8, 8] of 8-bit values around 0; borders are
    continued to whole blocks. rounded: Y, Cb and Cr are, as in files."""
    levels = x * 127.5 - 0.5  # v - 128, of v in 0..255
    if x.shape[1] == 3:
        levels = torch.einsum("dc,bchw->bdhw", torch.tensor(_YCC).to(x), levels + 128)
        levels = (levels.round() if rounded else levels) - torch.tensor([128.0, 0, 0]).to(x).view(1, 3, 1, 1)
    rows, columns = x.shape[2:]
    levels = F.pad(levels, (0, -columns % 8, 0, -rows % 8), mode="replicate")
    blocks = levels.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)
    d = _dct().to(x)
    return d @ blocks @ d.T


def _from_coefficients(coefficients: Tensor, shape: Sequence[int], rounded: bool = True) -> Tensor:
    d = _dct().to(coefficients)
    levels = (d.T @ coefficients @ d).transpose(3, 4).flatten(2, 3).flatten(3, 4)[..., : shape[2], : shape[3]]
    if shape[1] == 3:
        levels = (levels.round() if rounded else levels) + torch.tensor([128.0, 0, 0]).to(levels).view(1, 3, 1, 1)
        levels = torch.einsum("cd,bdhw->bchw", torch.linalg.inv(torch.tensor(_YCC)).to(levels), levels) - 128
    x = (levels + 0.5) / 127.5
    return ((x * 127.5 - 0.5).round() + 0.5).clamp(-127.5, 127.5) / 127.5 if rounded else x
