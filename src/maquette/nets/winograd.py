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
from collections.abc import Callable
from functools import lru_cache, wraps
from itertools import product
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_LARGEST = 8  # results a side of a tile: beyond it, rounding grows faster than multiplications fall
_MOST_TILES = 4  # a side of a grid
_FROM_CHANNELS = 48  # with 32, a step of image/gan takes the same time; with fewer, transforms cost more than is saved
_FROM_ITEMS = 16  # with fewer, transforming the weights costs more
_MOST_KEPT = 2**28  # bytes of transformed weights


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether `conv` is faster than a direct sum for x [B, C, H, W] and a weight [O, C, 3, 3].

    Measured on CPUs with AVX2 and AVX-512 in single precision; with bf16 tiles and on GPUs direct sums are faster.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    if weight.shape[2:] != (3, 3) or min(weight.shape[:2]) < _FROM_CHANNELS or min(x.shape[2:]) < 3:
        return False
    return max(-(-size // tile(size)) for size in x.shape[2:]) <= _MOST_TILES and len(x) >= _FROM_ITEMS


def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The convolution of x f[B, C, H, W] with weight f[O, C, 3, 3], zeros around it -> f[B, O, H, W], cells first.

    Differentiable as often as one likes.
    """
    batch, inputs, height, width = x.shape
    cells = x.permute(2, 3, 0, 1).contiguous().view(height, width, -1)
    v = _Tiles.apply(cells, height, width, True, True)
    u = _at_points(weight, tile(height), tile(width))
    y = _Product.apply(v.view(len(v), len(u), batch, inputs), u).view(*v.shape[:3], -1)
    y = _Tiles.apply(y, height, width, False, False).view(height, width, batch, -1)
    if bias is not None:
        y = y + bias
    return y.permute(2, 3, 0, 1)


def tile(size: int) -> int:
    """Results a side of a tile, for a grid of `size` cells a side: what takes the fewest multiplications."""
    return min(range(2, _LARGEST + 1), key=lambda m: (-(-size // m) * (m + 2), m))


class _Product(torch.autograd.Function):
    """a [tiles, N, I, K] and b [N, J, K] -> a b^T [tiles, N, I, J]."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return _product(a, b)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        for_a, for_b = ctx.needs_input_grad
        return _Product.apply(grad, b.mT) if for_a else None, _Sum.apply(grad, a) if for_b else None


class _Sum(torch.autograd.Function):
    """a [tiles, N, I, J] and b [tiles, N, I, K] -> a^T b [N, J, K], over all tiles."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        made = torch.bmm(a[0].mT, b[0])
        for i in range(1, len(a)):
            made.baddbmm_(a[i].mT, b[i])
        return made

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        for_a, for_b = ctx.needs_input_grad
        return _Product.apply(b, grad) if for_a else None, _Product.apply(a, grad.mT) if for_b else None


class _Tiles(torch.autograd.Function):
    """Cells [H, W, R] to points of tiles [tiles, n, n, R], or back; the two are each other's transpose.

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


def _opaque(fake: Callable[..., Tensor]) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """One operation to the compiler, which cannot follow what is written into parts of a tensor; without it a plain
    function, for the first call of an operation imports the compiler, which takes a second. fake: makes the result
    but for its values."""

    def decorate(work: Callable[..., Tensor]) -> Callable[..., Tensor]:
        operation = torch.library.custom_op(f"maquette::{work.__name__.strip('_')}", work, mutates_args=())
        operation.register_fake(fake)

        @wraps(work)
        def either(*operands: Any) -> Tensor:
            return operation(*operands) if torch.compiler.is_compiling() else work(*operands)

        return either

    return decorate


def _fake_product(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(*a.shape[:3], b.shape[1])


def _fake_points(x: Tensor, padded: bool) -> Tensor:
    height, width, rest = x.shape
    m, n = tile(height), tile(width)
    return x.new_empty(-(-height // m) * -(-width // n), m + 2, n + 2, rest)


def _fake_cells(points: Tensor, height: int, width: int, padded: bool) -> Tensor:
    return points.new_empty(height, width, points.shape[-1])


@_opaque(_fake_product)
def _product(a: Tensor, b: Tensor) -> Tensor:
    made = _fake_product(a, b)
    for i in range(len(a)):  # one product of all would copy what it takes or makes
        torch.bmm(a[i], b.mT, out=made[i])
    return made


@_opaque(_fake_points)
def _to_points(x: Tensor, padded: bool) -> Tensor:
    height, width, rest = x.shape
    tiles = list(product(_tiles(height, padded, x.dtype), _tiles(width, padded, x.dtype)))
    n, m = (len(matrix) for _, matrix in tiles[0])
    made = x.new_empty(len(tiles), n, m, rest)
    for i, ((rows, to_rows), (columns, to_columns)) in enumerate(tiles):
        half = to_rows @ x[rows, columns].flatten(1)
        torch.bmm(to_columns.expand(n, -1, -1), half.view(n, -1, rest), out=made[i])
    return made


@_opaque(_fake_cells)
def _from_points(points: Tensor, height: int, width: int, padded: bool) -> Tensor:
    tiles = list(product(_tiles(height, padded, points.dtype), _tiles(width, padded, points.dtype)))
    n, rest = points.shape[1], points.shape[3]
    overlap = padded and len(tiles) > 1
    made = (points.new_zeros if overlap else points.new_empty)((height, width, rest))
    for i, ((rows, to_rows), (columns, to_columns)) in enumerate(tiles):
        half = torch.bmm(to_columns.T.expand(n, -1, -1), points[i])
        made[rows, columns].flatten(1).addmm_(to_rows.T, half.flatten(1), beta=int(overlap))
    return made


_kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # weight -> (its values, (m, n), at the points)
_keeping = Lock()


def _at_points(weight: Tensor, m: int, n: int) -> Tensor:
    """The weight f[O, C, 3, 3] at the points of tiles of m x n results, [points, O, C].

    Where nothing is learned, as in sampling, what was made is kept for as long as the weight stays as it is. That is
    told by its values: fused optimizers, and what is written to `.data`, leave its version as it was.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return _made(weight, m, n)
    with _keeping:
        found = _kept.get(weight)
    if found and found[1] == (m, n) and torch.equal(found[0], weight):
        return found[2]
    with torch.inference_mode(False), torch.no_grad():  # it may be asked for outside of inference mode
        own = weight.clone()
        made = _made(own, m, n).mT.contiguous().mT  # as products read it a tenth faster
    with _keeping:
        _kept.pop(weight, None)
        if sum(values.nbytes + kept.nbytes for values, _, kept in _kept.values()) + made.nbytes <= _MOST_KEPT:
            _kept[weight] = own, (m, n), made
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
@torch.inference_mode(False)
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
