"""A transformer's next token, on a CPU: its matrix products, and next to nothing beside them.

    step = Step.of(net, torch.float32)
    logits = step(memory, tokens)  # as net.advance(memory, tokens[:, None])[:, 0], up to rounding

One token costs little arithmetic: it is reading the weights, and some forty operations a layer. In numpy an operation
on a few hundred numbers takes a fifth of the time that it takes in torch, and a matrix is read twice as fast. Three
changes of the weights, made once, leave less to do:

- a layer-norm does not see what is the same in all numbers of a token, so whatever is added to the stream of tokens is
  made to have the mean 0, and there is no mean to take away (Ashkboos et al. 2024, SliceGPT, section 3.1);
- the gains of norms, and the scale of attention, stand in the matrices that follow;
- the readout and the table of tokens are one matrix.

Who writes much goes on with the same step compiled, where numba is installed (nets/writing_numba.py).
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maquette.nets.attention import Memory, rotation

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

    from maquette.nets.ngrams import Ngrams
    from maquette.nets.transformer import Block, Transformer
    from maquette.nets.writing_numba import Compiled

Array = NDArray[np.float32]
_FEW = 8  # texts whose products are too small to be shared among threads
_WORTH = 2048  # steps, before which numba would take longer to be loaded than it could have saved


class Step:
    """The weights of a transformer as they are now: see `of`."""

    def __init__(self, net: Transformer, cache: Path | None) -> None:
        """cache: where the compiled function is kept; None: it is compiled in each process."""
        self.seen, self.cache = [weight.detach().clone() for weight in _weights(net)], cache
        self.scale, self.head_dim = math.sqrt(net.width), net.head_dim
        # Of x with the mean 0, the layer-norm is x / sqrt(x x' + width eps), times sqrt(width), times its gain.
        self.eps = net.width * net.norm.eps
        self.layers = [_Layer(block, net) for block in net.blocks]  # type: ignore[arg-type]
        self.table = _centred(net.embedding.weight * self.scale)  # tokens as the first layer reads them, [vocab, width]
        self.ngrams = None if net.ngrams is None else _Ngrams(net.ngrams, self.scale)
        self.out = _after(net.norm, net.embedding.weight @ net.readout.weight)
        self.times = 0.0  # that it was called

    @staticmethod
    def of(net: Transformer, dtype: torch.dtype, cache: Path | None = None) -> Step | None:
        """That of this network, which keeps it until its weights are others; None where it is not the next token of
        one that remembers numbers of this type: on a CPU, in f32, without dropout."""
        weight = net.embedding.weight
        if net.training or weight.device.type != "cpu" or not weight.dtype == dtype == torch.float32:
            return None
        # By their values: an optimizer need not count its changes.
        if net.step is None or not all(map(torch.equal, net.step.seen, _weights(net))):
            net.step = Step(net, cache)
        return net.step

    @cached_property
    def compiled(self) -> Compiled | None:
        """The step as one function; None where numba is not installed."""
        try:
            from maquette.nets.writing_numba import Compiled
        except ImportError:
            return None
        return Compiled(self, self.cache)

    def __call__(self, memory: Memory, tokens: Tensor) -> Tensor:
        """Logits f32[B, vocab] of the token after i64[B]; the memory moves on by one token."""
        # What runs over is for those to say who draw from it.
        with _threads(len(tokens)), np.errstate(over="ignore", invalid="ignore"):
            return torch.from_numpy(self._logits(memory, tokens))

    def _logits(self, memory: Memory, tokens: Tensor) -> Array:
        memory.reserve(1)
        room, position = memory.keys.shape[4], memory.position
        slot, used = position % room, min(position + 1, room)
        keys, before = memory.keys.numpy(), memory.before.numpy()
        turn = turns(self.head_dim, 1 << max(8, position.bit_length()))[position]
        x = self.embedded(memory, tokens)
        memory.position += 1
        self.times += 1
        if self.times > _WORTH and memory.source is None and self.compiled is not None:
            return self.compiled(x, np.repeat(turn[None], len(x), 0), keys, before, *_each(len(x), slot, used))
        for i, layer in enumerate(self.layers):
            x += layer.attend(self._normed(x), turn, keys[i], before[i, :, 0], slot, used)
            if memory.source is not None:
                x += layer.look(self._normed(x), memory.source.layers[i].numpy(), memory.source.bias.numpy())
            x += layer.mlp(self._normed(x))
        return np.dot(self._normed(x), self.out)

    def embedded(self, memory: Memory, tokens: Tensor) -> Array:
        x = self.table[tokens.numpy()]
        if self.ngrams is not None:
            x += self.ngrams(memory, tokens)
        if memory.condition is not None:
            x += _centred(memory.condition * self.scale)
        return x

    def _normed(self, x: Array) -> Array:
        """The layer-norm of x [B, width] over sqrt(width), without its gain."""
        if len(x) == 1:  # one number is no array: three operations less
            return x * (1 / math.sqrt(np.dot(x[0], x[0]) + self.eps))
        size = np.matmul(x[:, None], x[:, :, None])[:, 0]
        return x / np.sqrt(size + np.float32(self.eps))


def _each(n: int, *numbers: int) -> tuple[NDArray[np.int64], ...]:
    """Of each of n texts that are at the same place."""
    return tuple(np.full(n, number, np.int64) for number in numbers)


def _weights(net: Transformer) -> list[Tensor]:
    """All that a step is made of."""
    parts = (net.embedding, net.blocks, net.norm, net.readout, net.ngrams)
    return [weight for part in parts if part is not None for weight in part.parameters()]


class _Ngrams:
    def __init__(self, ngrams: Ngrams, scale: float) -> None:
        n = ngrams.before
        # Each column sums over one token more, from the last one backwards.
        self.powers = ngrams.powers.numpy()[:, None] * np.fliplr(np.tri(n + 1, n, dtype=np.int64))
        self.first, self.rows = ngrams.first.numpy(), ngrams.rows
        self.table, self.out = _array(ngrams.table.weight), _centred(ngrams.out.weight.T * scale)

    def __call__(self, memory: Memory, tokens: Tensor) -> Array:
        """What the last tokens say together, [B, width]; the memory of them moves on."""
        recent = torch.cat([memory.recent, tokens[:, None]], 1)
        memory.recent = recent[:, 1:]
        rows = (np.dot(recent.numpy(), self.powers) >> 33) % self.rows + self.first
        found = np.add.reduce(self.table[rows], 1)
        return np.matmul(found[:, None], self.out)[:, 0]  # row by row: the same whatever stands beside it


class _Layer:
    def __init__(self, block: Block, net: Transformer) -> None:
        attention, cross = block.attention, block.cross
        self.heads, self.shift, scale = attention.heads, attention.shift, net.head_dim**-0.5
        self.gain = _array(block.norm_attention.weight * math.sqrt(net.width))  # what is shifted is kept with it
        q, k, v = attention.qkv.weight.chunk(3)
        self.qkv = _array(torch.cat([q * scale, k, v]).T)
        self.out = _centred(attention.out.weight.T)
        if cross is not None and block.norm_cross is not None:
            self.cross_q, self.cross_out = (
                _after(block.norm_cross, cross.q.weight * scale),
                _centred(cross.out.weight.T),
            )
        self.up = _after(block.norm_mlp, block.up.weight)
        self.down = _centred(block.down.weight.T)

    def attend(self, x: Array, turn: Array, kept: Array, before: Array, slot: int, used: int) -> Array:
        """kept: keys and values [2, B, heads, room, D], of this token to be put into `slot`. before: what is shifted on
        from the token before [B, shift]. turn: of `turns`."""
        n, heads = len(x), self.heads
        x = x * self.gain
        if self.shift:
            now = x[:, : self.shift].copy()
            x[:, : self.shift] = before
            before[:] = now
        qkv = np.dot(x, self.qkv).reshape(n, 3, heads, 2, -1)
        qk = qkv[:, :2]
        turned = qk * turn[0]
        turned += qk[:, :, :, ::-1] * turn[1]
        turned = turned.reshape(n, 2, heads, -1)
        kept[0, :, :, slot] = turned[:, 1]
        kept[1, :, :, slot] = qkv[:, 2].reshape(n, heads, -1)
        return np.dot(_attended(turned[:, 0], kept[0, :, :, :used], kept[1, :, :, :used]), self.out)

    def look(self, x: Array, kv: Array, bias: Array) -> Array:
        """At a source: its keys and values [2, B, heads, S, D], and their bias [B, 1, 1, S]."""
        q = np.dot(x, self.cross_q).reshape(len(x), self.heads, -1)
        return np.dot(_attended(q, kv[0], kv[1], bias), self.cross_out)

    def mlp(self, x: Array) -> Array:
        hidden = np.dot(x, self.up)
        np.maximum(hidden, 0, out=hidden)
        hidden *= hidden
        return np.dot(hidden, self.down)


def _attended(q: Array, k: Array, v: Array, bias: Array | None = None) -> Array:
    """q: [B, heads, D], scaled; k, v: [B, heads, S, D] -> [B, heads x D]."""
    shares = np.matmul(k, q[..., None])[..., None, :, 0]
    if bias is not None:
        shares += bias
    shares -= np.maximum.reduce(shares, -1, keepdims=True)
    np.exp(shares, out=shares)
    out = np.matmul(shares, v)
    out /= np.add.reduce(shares, -1, keepdims=True)
    return out.reshape(len(q), -1)


def _threads(texts: int) -> AbstractContextManager[object]:
    """Of numpy's products: one where there are few texts, which threads would cost more than they save."""
    return nullcontext() if texts > _FEW or _threadless() else _blas().limit(limits=1, user_api="blas")


@cache
def _blas() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@cache
def _threadless() -> bool:
    return all(library["num_threads"] == 1 for library in _blas().info() if library["user_api"] == "blas")


@lru_cache(maxsize=8)
def turns(dim: int, upto: int) -> Array:
    """What the two halves of a query at each position are multiplied with, and those halves exchanged:
    [upto, 2, 2, dim / 2]."""
    cos, sin = rotation(dim, 0, upto, torch.device("cpu")).numpy()
    return np.stack([np.stack([cos, cos], 1), np.stack([-sin, sin], 1)], 1)


def _array(x: Tensor) -> Array:
    return np.ascontiguousarray(x.detach().numpy())


def _after(norm: nn.LayerNorm, weight: Tensor) -> Array:
    """A matrix [outputs, width] that follows a norm, with its gain -> [width, outputs]."""
    return _array((weight * norm.weight).T * math.sqrt(weight.shape[1]))


def _centred(x: Tensor) -> Array:
    """Numbers of tokens [..., width] with the mean 0."""
    return _array(x - x.mean(-1, keepdim=True))
