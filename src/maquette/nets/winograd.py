"""Convolutions of 3 cells a side with fewer multiplications (Winograd 1980; Lavin & Gray 2016), in matrix products.

In two dimensions a tile of m x m results is made from (m + 2) x (m + 2) products of two transforms instead of 9 m x m:
81 instead of 441 for m = 7, a fifth; in one dimension two fifths, in three an eighth or less. The points of evaluation
lie at equal angles of the projective line, (cos a, sin a): with the usual 0, 1, -1, 2, -2, 1/2, ... the transforms of
tiles beyond 4 x 4 are too ill-conditioned for single precision, with these the error is 1e-5 of the values' standard
deviation at m = 7 and 4e-5 at m = 8, where a direct sum in bf16 has 3e-3.

The order of memory is that of cells first, [*grid, B, C]: there each transform of a dimension is matrix products, which
read and write where things lie, and nothing is copied. Points come before tiles, so that one batched product does all.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, reduce, wraps
from itertools import product
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

_LARGEST = {1: 8, 2: 8, 3: 4}  # results a side of a tile: beyond it, rounding grows faster than multiplications fall
_MOST_TILES = 64
_FROM_CHANNELS = 48  # with fewer, transforms cost nearly what is saved
_LEAST_CHANNELS = 16  # with fewer, they cost more
_FROM_ITEMS = 16  # with fewer, transforming the weights costs more
_TIMES, _GAIN = 3, 0.95  # measurements of a layer, the best of which counts; what is worth its memory
_MOST_KEPT = 2**28  # bytes of transformed weights


def can(x: Tensor, weight: Tensor) -> bool:
    """Whether `conv` does x [B, C, *grid] and a weight [O, C, 3, ...], and might be faster.

    Measured on CPUs with AVX2 and AVX-512 in single precision; with bf16 tiles and on GPUs direct sums are faster.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    if set(weight.shape[2:]) != {3} or min(x.shape[2:]) < 3 or len(x) < _FROM_ITEMS:
        return False
    return min(weight.shape[:2]) >= _LEAST_CHANNELS and math.prod(_counts(x.shape[2:])) <= _MOST_TILES


def pays(x: Tensor, weight: Tensor, when: str | None = None) -> bool:
    """Whether `conv` is to be taken rather than a direct sum.

    when: what `faster` found; None: what is true of most machines
    """
    if when is None:
        return min(weight.shape[:2]) >= _FROM_CHANNELS and can(x, weight)
    return when in ("always", "learning" if torch.is_grad_enabled() else "sampling") and can(x, weight)


def faster(layer: nn.Module, x: Tensor) -> str:
    """When `conv` is faster here for a layer that takes it as its `fewer` says, and items like x [B, C, *grid]:
    `learning` (forward and backward), `sampling` (forward alone), `always` or `never`. Measured, in some milliseconds.
    """
    layer, seconds = copy.deepcopy(layer).requires_grad_(), dict[tuple[bool, str], float]()
    # Each in the order of memory that it has between layers of its kind, and nothing is drawn.
    first = torch.ones(*x.shape[2:], *x.shape[:2]).permute(-2, -1, *range(x.ndim - 2)).requires_grad_()
    last = torch.ones(len(x), *x.shape[2:], x.shape[1]).movedim(-1, 1).requires_grad_()
    for _, (way, like) in product(range(_TIMES), (("always", first), ("never", last))):
        layer.fewer = way  # type: ignore[assignment]
        for learning in (True, False):
            layer.train(learning)
            with torch.set_grad_enabled(learning):
                began = time.perf_counter()
                made = layer(like)
                if learning:
                    torch.autograd.grad((made * made.detach()).sum(), [like, *layer.parameters()])
                took = time.perf_counter() - began
            seconds[learning, way] = min(took, seconds.get((learning, way), math.inf))
    learns, samples = (seconds[mode, "always"] < _GAIN * seconds[mode, "never"] for mode in (True, False))
    return "always" if learns and samples else "learning" if learns else "sampling" if samples else "never"


def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, keep: bool = False) -> Tensor:
    """The convolution of x f[B, C, *grid] with weight f[O, C, 3, ...], zeros around it -> f[B, O, *grid], cells first.

    Differentiable as often as one likes. keep: whether the weight will be asked for again as it is, as in sampling
    """
    grid, dims = x.shape[2:], x.ndim - 2
    v = _Tiles.apply(x.permute(*range(2, x.ndim), 0, 1).contiguous().flatten(-2), grid, True, True)
    u = _at_points(weight, tiles(grid), keep)
    y = torch.bmm(v.view(len(u), -1, x.shape[1]), u)
    y = _Tiles.apply(y.view(*v.shape[:2], -1), grid, False, False).view(*grid, len(x), -1)
    if bias is not None:
        y = y + bias
    return y.permute(dims, dims + 1, *range(dims))


def tiles(grid: Sequence[int]) -> tuple[int, ...]:
    """Results a side of a tile, for each dimension of a grid: what takes the fewest multiplications."""
    return tuple([_tile(size, _LARGEST[len(grid)]) for size in grid])


def _counts(grid: Sequence[int]) -> list[int]:
    """Tiles along each dimension."""
    return [-(-size // m) for size, m in zip(grid, tiles(grid), strict=True)]


def _tile(size: int, largest: int) -> int:
    return min(range(2, largest + 1), key=lambda m: (-(-size // m) * (m + 2), m))


class _Tiles(torch.autograd.Function):
    """Cells [*grid, R] to points of tiles [points, tiles, R], or back; the two are each other's transpose.

    padded: tiles of m + 2 cells, which overlap by two and reach into the zeros around the grid; else of m cells
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Sequence[int], padded: bool, there: bool) -> Tensor:
        ctx.of = grid, padded, there
        return _to_points(x, padded) if there else _from_points(x, list(grid), padded)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grid, padded, there = ctx.of
        return _Tiles.apply(grad.contiguous(), grid, padded, not there), None, None, None


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


def _fake_points(x: Tensor, padded: bool) -> Tensor:
    *grid, rest = x.shape
    return x.new_empty(math.prod([m + 2 for m in tiles(grid)]), math.prod(_counts(grid)), rest)


def _fake_cells(points: Tensor, grid: list[int], padded: bool) -> Tensor:
    return points.new_empty(*grid, points.shape[-1])


@_opaque(_fake_points)
def _to_points(x: Tensor, padded: bool) -> Tensor:
    made, steps = _fake_points(x, padded), _steps(x.shape[:-1], padded, x.dtype)
    _fill(_by_side(made, steps), x.unsqueeze(0), steps)
    return made


@_opaque(_fake_cells)
def _from_points(points: Tensor, grid: list[int], padded: bool) -> Tensor:
    steps = _steps(tuple(grid), padded, points.dtype)
    return _gathered(_by_side(points, steps), steps, padded).view(*grid, -1)


def _by_side(points: Tensor, steps: Sequence[Step]) -> Tensor:
    """[points, tiles, R] as [points of each dimension, tiles of each dimension, R]."""
    return points.view(*(len(step[0][1]) for step in steps), *(len(step) for step in steps), -1)


def _fill(made: Tensor, h: Tensor, steps: Sequence[Step]) -> None:
    """From h [P, cells of the dimensions left, R], the first P being points of those before, to what `_by_side` has."""
    for i, (cells, matrix) in enumerate(steps[0]):
        its, some, each = made.select(-1 - len(steps), i), h[:, cells].flatten(2), matrix.expand(len(h), -1, -1)
        if len(steps) == 1:
            torch.bmm(each, some, out=its.view(-1, *its.shape[-2:]))
        else:
            _fill(its, torch.bmm(each, some).view(-1, *h.shape[2:]), steps[1:])


def _gathered(points: Tensor, steps: Sequence[Step], padded: bool) -> Tensor:
    """The transpose of `_fill`, but that h is [P, cells of the first dimension left, all else]."""
    (last, matrix), made = steps[0][-1], torch.empty(0)
    overlap = padded and len(steps[0]) > 1
    for i, (cells, matrix) in enumerate(steps[0]):
        its = points.select(-1 - len(steps), i)
        half = _gathered(its, steps[1:], padded).flatten(1) if steps[1:] else its
        half = half.view(-1, len(matrix), half.shape[-1])
        if not i:
            made = (half.new_zeros if overlap else half.new_empty)((len(half), last.stop, half.shape[2]))
        made[:, cells].baddbmm_(matrix.T.expand(len(half), -1, -1), half, beta=int(overlap))
    return made


_kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # weight -> (its values, sides, at the points)
_keeping = Lock()


def _at_points(weight: Tensor, sides: tuple[int, ...], keep: bool) -> Tensor:
    """The weight f[O, C, 3, ...] at the points of tiles of so many results a side, [points, C, O].

    Where nothing is learned what was made can be kept for as long as the weight stays as it is. That is told by its
    values: fused optimizers, and what is written to `.data`, leave its version as it was.
    """
    if not keep or torch.compiler.is_compiling() or torch.is_grad_enabled():
        return _made(weight, sides)
    with _keeping:
        found = _kept.get(weight)
    if found and found[1] == sides and torch.equal(found[0], weight):
        return found[2]
    with torch.inference_mode(False), torch.no_grad():  # it may be asked for outside of inference mode
        own = weight.clone()
        made = _made(own, sides)
    with _keeping:
        _kept.pop(weight, None)
        if sum(values.nbytes + kept.nbytes for values, _, kept in _kept.values()) + made.nbytes <= _MOST_KEPT:
            _kept[weight] = own, sides, made
    return made


def _made(weight: Tensor, sides: tuple[int, ...]) -> Tensor:
    outputs, inputs = weight.shape[:2]
    flat = weight.permute(*range(2, weight.ndim), 1, 0).reshape(-1, inputs * outputs)
    return (_of_weights(sides, weight.dtype) @ flat).view(-1, inputs, outputs)


def _of_weights(sides: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """From 3 x ... weights to points, [points, 3^dimensions]."""
    return _kron(sides, dtype)


_of_weights._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch.compiler's own function imports 1.4 s


@lru_cache
@torch.inference_mode(False)
def _kron(sides: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return reduce(torch.kron, [_values(m + 2, 3) for m in sides]).to(dtype)


Step = list[tuple[slice, Tensor]]  # the tiles along a dimension: which cells each takes, and their way to its points


@lru_cache
def _steps(grid: tuple[int, ...], padded: bool, dtype: torch.dtype) -> list[Step]:
    return [_step(size, m, padded, dtype) for size, m in zip(grid, tiles(grid), strict=True)]


def _step(size: int, m: int, padded: bool, dtype: torch.dtype) -> Step:
    """The tiles of m results along a dimension of `size` cells; matrices are [n, cells].

    A product of polynomials is interpolated from its values; correlation is its transpose (Lavin & Gray, section 3).
    """
    made: Step = []
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
