"""A transformer's next token, on a CPU: its matrix products, and next to nothing beside them.

    step = Step(net)
    logits = step(memory, tokens)  # as net.advance(memory, tokens[:, None])[:, 0], up to rounding

What one token costs is not its arithmetic but reading the weights and calling some forty operations a layer. Those of
numpy take a fifth of the time of torch's where there are a few hundred numbers, and read a matrix twice as fast. Three
changes of the weights, made once, leave less to do:

- a layer-norm does not see what is the same in all numbers of a token, so whatever is added to the stream of tokens is
  made to have the mean 0, and there is no mean to take away (Ashkboos et al. 2024, SliceGPT, section 3.1);
- the gains of norms, and the scale of attention, stand in the matrices that follow;
- the readout and the table of tokens are one matrix.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maquette.nets.attention import Memory, rotation

if TYPE_CHECKING:
    from maquette.nets.transformer import Block, Transformer

Array = NDArray[np.float32]


def possible(net: Transformer, memory: Memory) -> bool:
    """Whether `Step` is this network's next token: on a CPU, in f32, without dropout."""
    weight = net.embedding.weight
    return not net.training and weight.device.type == "cpu" and memory.keys.dtype == weight.dtype == torch.float32


class Step:
    """The weights of a transformer as they are now; another step has to be made when they change."""

    def __init__(self, net: Transformer) -> None:
        self.net, self.width = net, net.width
        # Of x with the mean 0, x / |x| sqrt(width) is its layer-norm: with sqrt(width) in the weights, too.
        self.eps = np.float32(net.width * net.norm.eps)
        self.layers = [_Layer(block, net) for block in net.blocks]  # type: ignore[arg-type]
        self.table = _centred(net.embedding.weight * math.sqrt(net.width))
        self.out = _into(net.embedding.weight @ net.readout.weight, net.norm)

    def __call__(self, memory: Memory, tokens: Tensor) -> Tensor:
        """Logits f32[B, vocab] of the token after i64[B]; the memory moves on by one token."""
        memory.reserve(1)
        n, room = len(tokens), memory.keys.shape[4]
        slot, used = memory.position % room, min(memory.position + 1, room)
        keys, before = memory.keys.numpy(), memory.before.numpy()
        turn = _turns(self.net.head_dim, 1 << max(8, memory.position.bit_length()))[memory.position]
        x = self._embedded(memory, tokens)
        for i, layer in enumerate(self.layers):
            y = self._normed(x)
            x += layer.attend(y, turn, keys[i], before[i, :, 0], slot, used)
            if layer.source is not None:
                assert memory.source is not None
                x += layer.look(self._normed(x), memory.source.layers[i].numpy(), memory.source.bias.numpy())
            x += layer.mlp(self._normed(x))
        memory.position += 1
        return torch.from_numpy(np.dot(self._normed(x), self.out)).view(n, -1)

    def _embedded(self, memory: Memory, tokens: Tensor) -> Array:
        if memory.condition is None and self.net.ngrams is None:
            return self.table[tokens.numpy()]  # type: ignore[no-any-return]
        x = self.net.embed(memory, tokens[:, None])[:, 0]
        return (x - x.mean(1, keepdim=True)).numpy()

    def _normed(self, x: Array) -> Array:
        """The layer-norm of x [B, width] over sqrt(width), without its gain."""
        size = np.matmul(x[:, None], x[:, :, None])[:, 0]
        size += self.eps
        return x / np.sqrt(size, out=size)  # type: ignore[no-any-return]


class _Layer:
    def __init__(self, block: Block, net: Transformer) -> None:
        attention, cross = block.attention, block.cross
        self.heads, self.shift, scale = attention.heads, attention.shift, net.head_dim**-0.5
        self.gain = _array(block.norm_attention.weight * math.sqrt(net.width))  # what is shifted is kept with it
        q, k, v = attention.qkv.weight.chunk(3)
        self.qkv = _array(torch.cat([q * scale, k, v]).T)
        self.out = _centred(attention.out.weight.T)
        self.source = None
        if cross is not None and block.norm_cross is not None:
            self.source = _into(cross.q.weight * scale, block.norm_cross), _centred(cross.out.weight.T)
        self.up = _into(block.up.weight, block.norm_mlp)
        self.down = _centred(block.down.weight.T)

    def attend(self, x: Array, turn: Array, kept: Array, before: Array, slot: int, used: int) -> Array:
        """kept: the keys and values of the layer [2, B, heads, room, D]. before: what it shifts on [B, shift]."""
        x = x * self.gain
        if self.shift:
            now = x[:, : self.shift].copy()
            x[:, : self.shift], before[:] = before, now
        qkv = np.dot(x, self.qkv).reshape(len(x), 3 * self.heads, 2, -1)
        qk = qkv[:, : 2 * self.heads]
        turned = qk * turn[0]
        turned += qk[:, :, ::-1] * turn[1]
        turned = turned.reshape(len(x), 2, self.heads, -1)
        kept[0, :, :, slot] = turned[:, 1]
        kept[1, :, :, slot] = qkv[:, 2 * self.heads :].reshape(len(x), self.heads, -1)
        return np.dot(_attended(turned[:, 0], kept[0, :, :, :used], kept[1, :, :, :used]), self.out)

    def look(self, x: Array, kv: Array, bias: Array) -> Array:
        """At the source: its keys and values [2, B, heads, S, D], and their bias [B, 1, 1, S]."""
        assert self.source is not None
        q = np.dot(x, self.source[0]).reshape(len(x), self.heads, -1)
        return np.dot(_attended(q, kv[0], kv[1], bias), self.source[1])

    def mlp(self, x: Array) -> Array:
        hidden = np.dot(x, self.up)
        np.maximum(hidden, 0, out=hidden)
        hidden *= hidden
        return np.dot(hidden, self.down)


def _attended(q: Array, k: Array, v: Array, bias: Array | None = None) -> Array:
    """q: [B, heads, D], scaled; k, v: [B, heads, S, D] -> [B, heads x D]."""
    scores = np.matmul(k, q[..., None])
    shares = scores.reshape(*q.shape[:2], 1, -1)
    if bias is not None:
        shares += bias
    shares -= np.maximum.reduce(shares, -1, keepdims=True)
    np.exp(shares, out=shares)
    out = np.matmul(shares, v)
    out /= np.add.reduce(shares, -1, keepdims=True)
    return out.reshape(len(q), -1)


@lru_cache(maxsize=8)
def _turns(dim: int, upto: int) -> Array:
    """What the two halves of a query at each position are multiplied with, and the halves exchanged:
    [upto, 2, 2, dim / 2]."""
    cos, sin = rotation(dim, 0, upto, torch.device("cpu")).numpy()
    return np.stack([np.stack([cos, cos], 1), np.stack([-sin, sin], 1)], 1)


def _array(x: Tensor) -> Array:
    return np.ascontiguousarray(x.detach().numpy())


def _into(weight: Tensor, norm: Any) -> Array:
    """A matrix [outputs, width] that follows a norm, with its gain -> [width, outputs]."""
    return _array((weight * norm.weight * math.sqrt(weight.shape[1])).T)


def _centred(x: Tensor) -> Array:
    """What is added to the stream of tokens, [..., width]."""
    return _array(x - x.mean(-1, keepdim=True))
