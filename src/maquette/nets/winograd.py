"""3x3 convolutions with a fifth of the multiplications (Winograd 1980; Lavin & Gray 2016), in matrix products.

A tile of m x m results is made from (m + 2) x (m + 2) products of two transforms instead of 9 m x m: 81 instead of 441
for m = 7. The points of evaluation lie at equal angles of the projective line, (cos a, sin a): with the usual 0, 1, -1,
2, -2, 1/2, ... the transforms of tiles beyond 4 x 4 are too ill-conditioned for single precision, with these the error
is 1e-5 of the values' standard deviation at m = 7 and 4e-5 at m = 8, where a direct sum in bf16 has 3e-3.

The order of memory is that of cells first, [H, W, B, C]: there each transform of a dimension is one matrix product for
each tile, which reads and writes where things lie, and nothing is copied.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_LARGEST = 8  # results a side of a tile: beyond it, rounding grows faster than multiplications fall
_MOST_TILES = 4  # a side of a grid
_FROM_CHANNELS = 32  # with fewer, the transforms cost what the products save
_FROM_ROWS = 16  # items times tiles; with fewer, transforming the weights costs more
_MOST_KEPT = 2**28  # bytes of transformed weights


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
    """The convolution of x f[B, C, H, W] with weight f[O, C, 3, 3], zeros around it -> f[B, O, H, W], cells first.

    Differentiable as often as one likes.
    """
    batch, inputs, height, width = x.shape
    cells = x.permute(2, 3, 0, 1).contiguous().view(height, width, -1)
    v = _Tiles.apply(cells, height, width, True, True)
    u = _at_points(weight, tile(height), tile(width))
    y = _Product.apply(v.view(len(u), -1, inputs), u).view(*v.shape[:3], -1)
    y = _Tiles.apply(y, height, width, False, False).view(height, width, batch, -1)
    if bias is not None:
        y = y + bias
    return y.permute(2, 3, 0, 1)


def tile(size: int) -> int:
    """Results a side of a tile, for a grid of `size` cells a side: what takes the fewest multiplications."""
    return min(range(2, _LARGEST + 1), key=lambda m: (-(-size // m) * (m + 2), m))


class _Product(torch.autograd.Function):
    """a [N, I, K] and b [N, J, K] -> a b^T [N, I, J], each gradient in the order in which its operand lies."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return torch.bmm(a, b.mT)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        for_a, for_b = ctx.needs_input_grad
        return _Product.apply(grad, b.mT) if for_a else None, _Product.apply(grad.mT, a.mT) if for_b else None


class _Tiles(torch.autograd.Function):
    """Cells [H, W, R] to points of tiles [n, n, tiles, R], or back.

    padded: tiles of m + 2 cells, which overlap by two and reach into the zeros around the grid; else of m cells
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, height: int, width: int, padded: bool, there: bool) -> Tensor:
        ctx.of = height, width, padded, there
        return _to_points(x, padded) if there else _from_points(x, height, width, padded)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        height, width, padded, there = ctx.of
        return _Tiles.apply(grad.contiguous(), height, width, padded, not there), None, None, None, None


# Opaque to the compiler, which cannot follow what is written into parts of a tensor.
@torch.library.custom_op("maquette::to_points", mutates_args=())
def _to_points(x: Tensor, padded: bool) -> Tensor:
    height, width, rest = x.shape
    down, across = _tiles(height, padded, x.dtype), _tiles(width, padded, x.dtype)
    n = len(down[0][1])
    made = x.new_empty(n, len(across[0][1]), len(down) * len(across), rest)
    half = x.new_empty(n, width, rest)
    for i, (rows, to_rows) in enumerate(down):
        torch.mm(to_rows, x[rows].view(-1, width * rest), out=half.view(n, -1))
        for j, (columns, to_columns) in enumerate(across, i * len(across)):
            torch.bmm(to_columns.expand(n, -1, -1), half[:, columns], out=made[:, :, j])
    return made


@torch.library.custom_op("maquette::from_points", mutates_args=())
def _from_points(points: Tensor, height: int, width: int, padded: bool) -> Tensor:
    """The transpose of `_to_points`: where tiles overlap, they are added."""
    n, _, _, rest = points.shape
    down, across = _tiles(height, padded, points.dtype), _tiles(width, padded, points.dtype)
    made = points.new_empty(height, width * rest)
    half = points.new_empty(n, width, rest)
    shared = 2 if padded else 0  # cells of a tile that are in the one before, too
    for i, (rows, to_rows) in enumerate(down):
        for j, (columns, to_columns) in enumerate(across):
            tile, back = points[:, :, i * len(across) + j], to_columns.T.expand(n, -1, -1)
            new = shared if j else 0
            torch.bmm(back[:, new:], tile, out=half[:, columns][:, new:])
            if new:
                half[:, columns][:, :new].baddbmm_(back[:, :new], tile)
        new, flat = shared if i else 0, half.view(n, -1)
        torch.mm(to_rows.T[new:], flat, out=made[rows][new:])
        if new:
            made[rows][:new].addmm_(to_rows.T[:new], flat)
    return made.view(height, width, rest)


@_to_points.register_fake
def _(x: Tensor, padded: bool) -> Tensor:
    height, width, rest = x.shape
    m, n = tile(height), tile(width)
    return x.new_empty(m + 2, n + 2, -(-height // m) * -(-width // n), rest)


@_from_points.register_fake
def _(points: Tensor, height: int, width: int, padded: bool) -> Tensor:
    return points.new_empty(height, width, points.shape[-1])


_Kept = tuple[Tensor, int, tuple[int, int], Tensor]
_kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def _at_points(weight: Tensor, m: int, n: int) -> Tensor:
    """The weight f[O, C, 3, 3] at the points of tiles of m x n results, [points, O, C].

    Where it is not learned from, as in sampling, what was made is kept for as long as the weight stays as it is.
    """
    if torch.compiler.is_compiling() or (torch.is_grad_enabled() and weight.requires_grad):
        return _made(weight, m, n)
    found: _Kept | None = _kept.get(weight)
    # An alias of it keeps its memory from being another's, and counts with it how often it was written to.
    if found and (found[0].data_ptr(), *found[1:3]) == (weight.data_ptr(), weight._version, (m, n)):
        return found[3]
    made = _made(weight, m, n)
    if sum(kept[3].nbytes for kept in _kept.values()) + made.nbytes <= _MOST_KEPT:
        _kept[weight] = weight.detach(), weight._version, (m, n), made
    return made


def _made(weight: Tensor, m: int, n: int) -> Tensor:
    outputs, inputs = weight.shape[:2]
    made = _of_weights(m, n, weight.dtype) @ weight.permute(2, 3, 0, 1).reshape(9, outputs * inputs)
    return made.view(-1, outputs, inputs)


def _of_weights(m: int, n: int, dtype: torch.dtype) -> Tensor:
    """From 3 x 3 weights to points, [(m + 2) (n + 2), 9]."""
    return _kron(m, n, dtype)


_of_weights._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch.compiler's own function imports 1.4 s


@lru_cache
def _kron(m: int, n: int, dtype: torch.dtype) -> Tensor:
    return torch.kron(_values(m + 2, 3), _values(n + 2, 3)).to(dtype)


@lru_cache
def _tiles(size: int, padded: bool, dtype: torch.dtype) -> list[tuple[slice, Tensor]]:
    """The tiles along a dimension of `size` cells: which cells each takes, and their way to its points [n, cells].

    A product of polynomials is interpolated from its values; correlation is its transpose (Lavin & Gray, section 3).
    """
    m, made = tile(size), []
    to_points = torch.linalg.inv(_values(m + 2, m + 2)).T if padded else _values(m + 2, m)
    reach = 1 if padded else 0
    for first in range(0, size, m):
        cells = slice(max(first - reach, 0), min(first + m + reach, size))
        matrix = to_points[:, cells.start - first + reach : cells.stop - first + reach]
        made.append((cells, matrix.to(dtype).contiguous()))
    return made


def _values(points: int, terms: int) -> Tensor:
    """Of the homogeneous monomials of a polynomial, at each point, f64[points, terms]."""
    angles = [math.pi * k / points for k in range(points)]
    return torch.tensor([[math.sin(a) ** j * math.cos(a) ** (terms - 1 - j) for j in range(terms)] for a in angles],
                        dtype=torch.float64)  # fmt: skip
