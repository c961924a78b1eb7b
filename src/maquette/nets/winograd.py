"""3x3 convolutions with a fifth of the multiplications (Winograd 1980; Lavin & Gray 2016), in matrix products.

A tile of m x m results is made from (m + 2) x (m + 2) products of two transforms instead of 9 m x m: 81 instead of 441
for m = 7. The points of evaluation lie at equal angles of the projective line, (cos a, sin a): with the usual 0, 1, -1,
2, -2, 1/2, ... the transforms of tiles beyond 4 x 4 are too ill-conditioned for single precision, with these the error
is 1e-5 of the values' standard deviation at m = 7 and 4e-5 at m = 8, where a direct sum in bf16 has 3e-3.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

_LARGEST = 8  # results a side of a tile: beyond it, rounding grows faster than multiplications fall
_MOST_TILES = 4  # a side of a grid: the transforms work on whole sides, zeros between tiles included
_FROM_CHANNELS = 64  # with fewer, the transforms cost what the products save
_FROM_ROWS = 16  # items times tiles; with fewer, transforming the weights costs more


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether `conv` is faster than a direct sum for x [B, C, H, W] and a weight [O, C, 3, 3].

    Measured on CPUs with AVX2 and AVX-512 in single precision; with bf16 tiles and on GPUs direct sums are faster.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    if weight.shape[2:] != (3, 3) or min(weight.shape[:2]) < _FROM_CHANNELS or min(x.shape[2:]) < 3:
        return False
    tiles = [-(-size // tile(size)) for size in x.shape[2:]]
    return max(tiles) <= _MOST_TILES and len(x) * math.prod(tiles) >= _FROM_ROWS


def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The convolution of x f[B, C, H, W] with weight f[O, C, 3, 3], zeros around it -> f[B, O, H, W], channels last.

    Differentiable as often as one likes.
    """
    batch, inputs, height, width = x.shape
    outputs = len(weight)
    there_h, back_h, points_h, tiles_h = _transforms(height, tile(height), x.dtype)
    there_w, back_w, points_w, tiles_w = _transforms(width, tile(width), x.dtype)
    n_h, n_w = len(points_h), len(points_w)

    # [H, W, B, C] in memory, so that each transform is one matrix product and only tiles have to be moved.
    v = there_h @ x.permute(2, 3, 0, 1).reshape(height, width * batch * inputs)
    v = torch.matmul(there_w, v.view(-1, width, batch * inputs))
    v = v.view(tiles_h, n_h, tiles_w, n_w, batch, inputs).permute(1, 3, 0, 2, 4, 5)
    v = v.reshape(n_h * n_w, tiles_h * tiles_w * batch, inputs)

    u = torch.kron(points_h, points_w) @ weight.permute(2, 3, 0, 1).reshape(9, outputs * inputs)
    y = torch.bmm(v, u.view(n_h * n_w, outputs, inputs).transpose(1, 2))

    y = y.view(n_h, n_w, tiles_h, tiles_w, batch, outputs).permute(2, 0, 3, 1, 4, 5)
    y = back_h @ y.reshape(tiles_h * n_h, tiles_w * n_w * batch * outputs)
    y = torch.matmul(back_w, y.view(height, tiles_w * n_w, batch * outputs)).view(height, width, batch, outputs)
    if bias is not None:
        y = y + bias
    return y.permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)


def tile(size: int) -> int:
    """Results a side of a tile, for a grid of `size` cells a side: what takes the fewest multiplications."""
    return min(range(2, _LARGEST + 1), key=lambda m: (-(-size // m) * (m + 2), m))


def _transforms(size: int, m: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, int]:
    """For one dimension of `size` cells in tiles of m results, from n = m + 2 points:

    to points [tiles n, size] (its zeros are those around the grid), from points [size, tiles n], of the weights [n, 3];
    and the number of tiles.
    """
    return _made(size, m, dtype)


_transforms._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch.compiler's own function imports 1.4 s


@lru_cache
def _made(size: int, m: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, int]:
    n, tiles = m + 2, -(-size // m)
    angles = [math.pi * k / n for k in range(n)]

    def values(terms: int) -> Tensor:  # of the homogeneous monomials of a polynomial, at each point
        return torch.tensor([[math.sin(a) ** j * math.cos(a) ** (terms - 1 - j) for j in range(terms)] for a in angles],
                            dtype=torch.float64)  # fmt: skip

    # A product of polynomials is interpolated from its values; correlation is its transpose (Lavin & Gray, section 3).
    back, there = values(m).T, torch.linalg.inv(values(n)).T
    to_points = torch.zeros(tiles * n, tiles * m + 2, dtype=torch.float64)
    for k in range(tiles):
        to_points[k * n : (k + 1) * n, k * m : k * m + n] = there
    from_points = torch.block_diag(*[back] * tiles)
    made = to_points[:, 1 : size + 1], from_points[:size], values(3)
    first, second, third = (matrix.to(dtype).contiguous() for matrix in made)
    return first, second, third, tiles
