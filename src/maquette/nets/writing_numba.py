"""The same step as in nets/writing.py, as one function that numba compiles for this processor.

In numpy a token is some forty operations a layer, each of which reads and writes memory and takes half a microsecond to
begin. Here they are loops over numbers that stay in the cache. Two things are made by hand:

- a product takes 4 or 6 rows of x with 16 columns of a matrix at a time, whose sums stay in registers, and matrices lie
  in memory as they are read, 16 columns after each other (Goto & van de Geijn 2008);
- exp is a polynomial, since the processor's vectors know none (Cephes, expf).

Every number is summed in one order, whatever stands beside it: a text is the same to the last bit, whether it is
written alone or with others. Beside the step in numpy it differs by rounding.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numpy.typing import NDArray

from maquette.nets.machine_code import keep

if TYPE_CHECKING:
    from maquette.nets.writing import Step

if config.DISABLE_JIT:
    raise ImportError("numba is told not to compile")

Array = NDArray[np.float32]
Places = NDArray[np.int64]
LANES = 16  # columns of a tile: two vectors of AVX2, one of AVX-512
PADDED = 4 * LANES  # columns of a matrix are filled up to a multiple of as many as the widest tile has
_loop = partial(njit, nogil=True, error_model="numpy")  # a division by 0 is no error
_SHARE = 16  # texts, fewer than which are not worth a thread, that takes 0.4 ms to begin
_ROUND = np.float32(3 << 22)  # what is added to it is rounded to a whole number, that stands in its last bits


class Compiled:
    """The weights of a step as `_read` takes them."""

    def __init__(self, step: Step, cache: Path | None) -> None:
        layers = step.layers
        self.weights = (
            np.stack([layer.gain for layer in layers]),
            np.stack([packed(layer.qkv) for layer in layers]),
            np.stack([packed(layer.out) for layer in layers]),
            np.stack([packed(layer.up) for layer in layers]),
            np.stack([packed(np.pad(layer.down, ((0, -len(layer.down) % PADDED), (0, 0)))) for layer in layers]),
        )
        self.last, self.vocab, self.eps = packed(step.out), step.out.shape[1], np.float32(step.eps)
        keep(_read, cache)

    def __call__(self, x: Array, turn: Array, keys: Array, before: Array, slot: Places, used: Places) -> Array:
        """Logits f32[B, vocab] after tokens embedded as x [B, width]; the rest as in nets/writing.py, of all layers;
        turn [B, 2, 2, D / 2], slot and used i64[B] are of each text."""

        def some(rows: range) -> Array:
            part = x[rows.start : rows.stop]
            return _read(part, rows.start, *self.weights, self.last, keys, before, turn, slot, used, self.eps)

        n = len(x)
        parts = max(1, min(torch.get_num_threads(), n // _SHARE))
        cuts = [range(n * i // parts, n * (i + 1) // parts) for i in range(parts)]
        if parts == 1:
            return some(cuts[0])[:, : self.vocab]
        with ThreadPoolExecutor(parts) as pool:  # one of each call: a process that is forked off takes no threads along
            return np.concatenate(list(pool.map(some, cuts)))[:, : self.vocab]


def packed(matrix: Array) -> Array:
    """[K, N] -> [tiles, K, LANES], tiles a multiple of 4; columns that are added are zero."""
    k, n = matrix.shape
    whole = np.pad(matrix, ((0, 0), (0, -n % PADDED)))
    return np.ascontiguousarray(whole.reshape(k, -1, LANES).transpose(1, 0, 2))


def _tile(rows: int, wide: int) -> Any:
    """y[rows, wide x LANES] = x[rows, k] times `wide` packed tiles; x and y with so many numbers a row."""

    @intrinsic
    def tile(context, x, x_row, tiles, y, y_row, k):
        def made(context, builder, signature, args):
            x, x_row, tiles, y, y_row, k = args
            vector, undefined = (ir.VectorType(ir.FloatType(), LANES), ir.Undefined)
            zero, first = ir.Constant(vector, [0.0] * LANES), ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
            takes = ir.FunctionType(vector, [vector] * 3)
            fma = cgutils.get_or_insert_function(builder.module, takes, f"llvm.fmuladd.v{LANES}f32")

            def at(array: Any, row: Any, size: Any, column: Any) -> Any:
                return builder.gep(array, [builder.add(builder.mul(row, size), column)])

            def number(value: int) -> Any:
                return ir.Constant(ir.IntType(64), value)

            def several(place: Any) -> Any:
                return builder.bitcast(place, vector.as_pointer())

            sums = [[cgutils.alloca_once(builder, vector) for _ in range(wide)] for _ in range(rows)]
            for row in sums:
                for place in row:
                    builder.store(zero, place)
            with cgutils.for_range(builder, k) as loop:
                i, columns = loop.index, []
                for tile in range(wide):
                    line = builder.add(builder.mul(k, number(tile)), i)
                    columns.append(builder.load(several(at(tiles, line, number(LANES), number(0))), align=4))
                for r, row in enumerate(sums):
                    one = builder.load(at(x, number(r), x_row, i))
                    held = builder.insert_element(ir.Constant(vector, undefined), one, ir.Constant(ir.IntType(32), 0))
                    spread = builder.shuffle_vector(held, ir.Constant(vector, undefined), first)
                    for place, column in zip(row, columns, strict=True):
                        builder.store(builder.call(fma, [spread, column, builder.load(place)]), place)
            for r, row in enumerate(sums):
                for tile, place in enumerate(row):
                    to = several(at(y, number(r), y_row, number(tile * LANES)))
                    builder.store(builder.load(place), to, align=4)
            return context.get_dummy_value()

        return types.void(x, x_row, tiles, y, y_row, k), made

    return tile


@intrinsic
def _at(context, array):
    """Where the numbers of an array begin."""

    def made(context, builder, signature, args):
        return context.make_array(signature.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), made


_six, _four, _two, _one = _tile(6, 1), _tile(4, 1), _tile(2, 2), _tile(1, 4)


@_loop()
def _product(x, matrix, y):
    """y[B, padded N] = x[B, K] times a packed matrix."""
    (rows, k), (tiles, _, _), width = x.shape, matrix.shape, y.shape[1]
    r = rows // 6 * 6
    if rows - r == 2 and r > 0:  # 4 and 4 rows rather than 6 and 2
        r -= 6
    for t in range(tiles):
        for s in range(0, r, 6):
            _six(_at(x[s]), k, _at(matrix[t]), _at(y[s, t * LANES :]), width, k)
        for s in range(r, rows - 3, 4):
            _four(_at(x[s]), k, _at(matrix[t]), _at(y[s, t * LANES :]), width, k)
    r += (rows - r) // 4 * 4
    if rows - r >= 2:
        for t in range(0, tiles, 2):
            _two(_at(x[r]), k, _at(matrix[t]), _at(y[r, t * LANES :]), width, k)
        r += 2
    if rows - r >= 1:
        for t in range(0, tiles, 4):
            _one(_at(x[r]), k, _at(matrix[t]), _at(y[r, t * LANES :]), width, k)


@_loop(fastmath={"contract"})
def _exp(x, upto, bits):
    """exp of x[:upto] <= 0, in place. bits: room for i32 of the same size."""
    power = bits.view(np.float32)
    for i in range(upto):
        v = max(x[i], np.float32(-87.0))
        n = v * np.float32(1.44269504) + _ROUND
        power[i] = n
        n -= _ROUND
        v -= n * np.float32(0.693359375)
        v -= n * np.float32(-2.12194440e-4)
        p = np.float32(1.9875691500e-4)
        p = p * v + np.float32(1.3981999507e-3)
        p = p * v + np.float32(8.3334519073e-3)
        p = p * v + np.float32(4.1665795894e-2)
        p = p * v + np.float32(1.6666665459e-1)
        p = p * v + np.float32(5.0000001201e-1)
        x[i] = p * v * v + v + np.float32(1)
    for i in range(upto):
        bits[i] = (bits[i] + 127) << 23
    for i in range(upto):
        x[i] *= power[i]


@_loop(fastmath={"contract", "reassoc", "nnan", "nsz"})
def _attended(q, k, v, used, shares, bits, out):
    """softmax(k q) v of one head: q, out f32[D]; k, v f32[room, D], of which `used` are filled. Gives the largest of
    k q, without which all of it is worth nothing."""
    size = len(q)
    for s in range(used):
        total = np.float32(0)
        for d in range(size):
            total += q[d] * k[s, d]
        shares[s] = total
    peak = shares[0]
    for s in range(used):
        peak = max(peak, shares[s])
    for s in range(used):
        shares[s] -= peak
    _exp(shares, used, bits)
    total = np.float32(0)
    for s in range(used):
        total += shares[s]
    for d in range(size):
        out[d] = 0
    whole = used // 4 * 4
    for s in range(0, whole, 4):
        a, b, c, e = shares[s], shares[s + 1], shares[s + 2], shares[s + 3]
        for d in range(size):
            out[d] = out[d] + a * v[s, d] + b * v[s + 1, d] + c * v[s + 2, d] + e * v[s + 3, d]
    for s in range(whole, used):
        for d in range(size):
            out[d] += shares[s] * v[s, d]
    for d in range(size):
        out[d] /= total
    return peak


@_loop(fastmath={"contract", "reassoc"})
def _normed(x, eps, out):
    """The layer-norm of x [B, width] over sqrt(width), without its gain."""
    for r in range(len(x)):
        total = np.float32(0)
        for i in range(x.shape[1]):
            total += x[r, i] * x[r, i]
        scale = np.float32(1) / np.sqrt(total + eps)
        for i in range(x.shape[1]):
            out[r, i] = x[r, i] * scale


@_loop()
def _add(x, more):
    for r in range(len(x)):
        for i in range(x.shape[1]):
            x[r, i] += more[r, i]


@_loop(fastmath={"contract"})
def _turned(x, turn, out):
    """x, out: f32[D]; turn: of nets/writing.py, at one position."""
    half = len(x) // 2
    for i in range(half):
        a, b = x[i], x[half + i]
        out[i] = a * turn[0, 0, i] + b * turn[1, 0, i]
        out[half + i] = b * turn[0, 1, i] + a * turn[1, 1, i]


@_loop(fastmath={"contract"})
def _read(x, first, gain, qkv, out, up, down, last, keys, before, turn, slot, used, eps):
    """Logits f32[B, padded vocab] of texts first .. first + B of a memory, whose next token is embedded as x.

    gain f32[layers, width]; qkv, out, up, down: packed matrices [layers, ...]; last: one more
    keys f32[layers, 2, n, heads, room, D], of this token to be put into `slot`; before f32[layers, n, 1, shift]
    turn, slot, used: of each text, as in `Compiled`
    """
    layers, _, _, heads, room, size = keys.shape
    rows, width, shift = len(x), heads * size, before.shape[3]
    y = np.empty((rows, width), np.float32)
    wide = np.empty((rows, qkv.shape[1] * LANES), np.float32)
    hidden = np.empty((rows, up.shape[1] * LANES), np.float32)
    added = np.empty((rows, out.shape[1] * LANES), np.float32)
    query, shares, bits = np.empty(size, np.float32), np.empty(room, np.float32), np.empty(room, np.int32)
    for layer in range(layers):
        _normed(x, eps, y)
        for r in range(rows):
            for i in range(width):
                y[r, i] *= gain[layer, i]
            for i in range(shift):
                now = y[r, i]
                y[r, i] = before[layer, first + r, 0, i]
                before[layer, first + r, 0, i] = now
        _product(y, qkv[layer], wide)
        for r in range(rows):
            turned, at = turn[first + r], slot[first + r]
            for h in range(heads):
                q, k, v = h * size, width + h * size, 2 * width + h * size
                # One at a time, so that it is known that numbers lie side by side.
                kept_k, kept_v = keys[layer, 0, first + r, h], keys[layer, 1, first + r, h]
                _turned(wide[r, q : q + size], turned, query)
                _turned(wide[r, k : k + size], turned, kept_k[at])
                for i in range(size):
                    kept_v[at, i] = wide[r, v + i]
                peak = _attended(query, kept_k, kept_v, used[first + r], shares, bits, y[r, q : q + size])
                if not np.isfinite(peak):  # it ran over: so said, as in numpy
                    y[r, q] = np.nan
        _product(y, out[layer], added)
        _add(x, added)
        _normed(x, eps, y)
        _product(y, up[layer], hidden)
        for r in range(rows):
            for i in range(hidden.shape[1]):
                value = max(hidden[r, i], np.float32(0))
                hidden[r, i] = value * value
        _product(hidden, down[layer], added)
        _add(x, added)
    _normed(x, eps, y)
    logits = np.empty((rows, last.shape[0] * LANES), np.float32)
    _product(y, last, logits)
    return logits
