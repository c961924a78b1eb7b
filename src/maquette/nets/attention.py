"""Attention with rotary positions, and what it remembers of a text that is written token by token.

    attend(q, k, v) = softmax(q k' / sqrt(D) + bias) v                     (Vaswani et al. 2017, eq. 1)

q and k turn with their position, so that their product knows only how far apart they stand (Su et al. 2021,
RoFormer, eq. 34). A token sees itself and the `context - 1` tokens before it, in a long pass as well as one by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from maquette.nets.writing import Step

_CACHED = 1 << 18  # numbers that are turned at a time
HIDDEN = -1e4  # added to a score that must not count; finite, so that a source of padding alone gives no NaN


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """q: [B, heads, T, D]; k, v: [B, heads, S, D]; bias: [T, S] or [B, 1, 1, S] -> [B, heads, T, D]."""
    if q.device.type != "cpu" or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v, None if bias is None else bias.to(q.dtype))
    flat = (x.flatten(0, 1) for x in (q, k, v))
    return _Attend.apply(*flat, _flat(bias, q)).view(q.shape)


def _flat(bias: Tensor | None, q: Tensor) -> Tensor:
    """A bias for scores [B x heads, T, S]."""
    if bias is None:
        return q.new_zeros(())
    flat = bias.expand(-1, q.shape[1], -1, -1).flatten(0, 1) if bias.ndim == 4 else bias
    return flat.to(q.dtype)


class _Attend(torch.autograd.Function):
    """Attention of [B x heads, T, D] as plain matrix products.

    On a CPU the backward pass of torch's fused attention takes two to five times as long as all of this.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        shares = torch.baddbmm(bias, q, k.mT, alpha=q.shape[-1] ** -0.5).softmax(-1)
        ctx.save_for_backward(q, k, v, shares)
        return shares @ v

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, shares = ctx.saved_tensors
        scores = torch._softmax_backward_data(grad @ v.mT, shares, -1, shares.dtype)
        scale = q.shape[-1] ** -0.5
        return (scores @ k).mul_(scale), (scores.mT @ q).mul_(scale), shares.mT @ grad, None


class _SelfAttend(torch.autograd.Function):
    """The same of qkv [B, T, 3, heads, D], turned by `turn` -> [B, T, heads x D], with fewer copies."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, turn: Tensor, bias: Tensor) -> Tensor:
        b, t, _, heads, d = qkv.shape
        apart = qkv.permute(2, 0, 3, 1, 4)
        q, k = _rotate_into(qkv.new_empty(2, b, heads, t, d), apart[:2], turn).view(2, b * heads, t, d).unbind(0)
        v = apart[2].reshape(b * heads, t, d)
        shares = torch.baddbmm(bias, q, k.mT, alpha=d**-0.5).softmax(-1)
        ctx.save_for_backward(q, k, v, shares, turn)
        ctx.shape = qkv.shape
        return (shares @ v).view(b, heads, t, d).transpose(1, 2).reshape(b, t, heads * d)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, shares, turn = ctx.saved_tensors
        b, t, _, heads, d = ctx.shape
        grad = grad.view(b, t, heads, d).transpose(1, 2).reshape(b * heads, t, d)
        scores = torch._softmax_backward_data(grad @ v.mT, shares, -1, shares.dtype)
        turned = grad.new_empty(2, b, heads, t, d)
        torch.bmm(scores, k, out=turned[0].view(b * heads, t, d))
        torch.bmm(scores.mT, q, out=turned[1].view(b * heads, t, d))
        out = grad.new_empty(ctx.shape)
        apart = out.permute(2, 0, 3, 1, 4)
        # The gradient of a rotation is the rotation back.
        _rotate_into(apart[:2], turned, turn * turn.new_tensor([1, -1]).view(2, 1, 1) * d**-0.5)
        apart[2] = (shares.mT @ grad).view(b, heads, t, d)
        return out, None, None


class _ReluSquared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.relu()
        ctx.save_for_backward(y)
        return y * y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return torch.addcmul(y.new_zeros(()), grad, y, value=2)


def relu_squared(x: Tensor) -> Tensor:
    """max(x, 0)^2 (So et al. 2021), with a backward pass of one operation instead of four."""
    return _ReluSquared.apply(x) if torch.is_grad_enabled() else x.relu().square()


def scores(q: Tensor, k: Tensor, bias: Tensor | None) -> Tensor:
    """q k' / sqrt(D) + bias, [B x heads, T, S]."""
    return torch.baddbmm(_flat(bias, q), q.flatten(0, 1), k.flatten(0, 1).mT, alpha=q.shape[-1] ** -0.5)


# -- positions -------------------------------------------------------------------------------------------------


def rotation(dim: int, start: int, length: int, device: torch.device) -> Tensor:
    """Cosine and sine of position theta_j for these positions, theta_j = 10000^(-2j / dim): f32[2, length, dim / 2]."""
    if torch.compiler.is_exporting():  # for other programs, of any length
        return turns(dim, torch.arange(start, start + length, device=device))
    upto = 1 << max(8, (start + length - 1).bit_length())
    return _rotations(dim, upto, device)[:, start : start + length]


@lru_cache(maxsize=32)
def _rotations(dim: int, upto: int, device: torch.device) -> Tensor:
    return turns(dim, torch.arange(upto)).to(device)


def turns(dim: int, positions: Tensor) -> Tensor:
    """Cosine and sine of these positions i64[T], f32[2, T, dim / 2]."""
    theta = 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64, device=positions.device) / dim)
    angle = positions.double()[:, None] * theta  # float64: far positions stay exact
    return torch.stack([angle.cos(), angle.sin()]).float()


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turns [..., T, D], numbers j and j + D / 2 as a pair, by the cosines and sines f32[2, T, D / 2]; f32."""
    (a, b), (cos, sin) = x.float().chunk(2, -1), turn
    return torch.cat([torch.addcmul(a * cos, b, sin, value=-1), torch.addcmul(b * cos, a, sin)], -1)


def _rotate_into(out: Tensor, x: Tensor, turn: Tensor) -> Tensor:
    """The same of x [2, B, heads, T, D], written to `out`, a few items at a time: so all of it stays in the cache."""
    sin, twice = turn[1], torch.cat([turn[0], turn[0]], -1)
    items = max(1, _CACHED * x.shape[1] // x.numel())
    for part, to in zip(x.split(items, 1), out.split(items, 1), strict=True):
        part = part.to(torch.float32, memory_format=torch.contiguous_format).contiguous()
        y = part * twice
        (a, b), (y_a, y_b) = part.chunk(2, -1), y.chunk(2, -1)
        y_a.addcmul_(b, sin, value=-1)
        y_b.addcmul_(a, sin)
        to.copy_(y)
    return out


@lru_cache(maxsize=32)
def band(length: int, context: int, device: torch.device) -> Tensor:
    """Bias f32[length, length] under which a token sees itself and the context - 1 before it."""
    seen = torch.ones(length, length, dtype=torch.bool, device=device).tril().triu(1 - context)
    return torch.zeros(length, length, device=device).masked_fill(~seen, HIDDEN)


def padding_bias(real: Tensor) -> Tensor:
    """Bias f32[B, 1, 1, S] that hides the tokens where bool[B, S] is False."""
    return torch.zeros(real.shape, device=real.device).masked_fill(~real, HIDDEN)[:, None, None]


# -- memory ----------------------------------------------------------------------------------------------------


def empty_memory(like: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros. On a CPU they come from numpy, which asks the system for large pages: all of a memory is read for each
    token, and takes a fifth less time."""
    if like.device.type == "cpu" and dtype == torch.float32:
        return torch.from_numpy(np.zeros(shape, np.float32))
    return like.new_zeros(shape, dtype=dtype)


@dataclass(frozen=True)
class Source:
    """What a decoder looks at: keys and values of each layer, [layers][2, B, heads, S, D], and their bias."""

    layers: tuple[Tensor, ...]
    bias: Tensor

    def rows(self, index: Tensor) -> Source:
        return Source(tuple(kv.index_select(1, index) for kv in self.layers), self.bias.index_select(0, index))


class Memory:
    """Keys and values of the last `context` tokens of B texts, in a ring that grows up to that size.

    The place of a key in the ring says nothing: its position is in its rotation. So one token more needs no mask,
    and nothing is ever moved.
    """

    def __init__(
        self,
        keys: Tensor,
        context: int,
        recent: Tensor,
        before: Tensor,
        source: Source | None = None,
        condition: Tensor | None = None,
    ) -> None:
        """keys: [layers, 2, B, heads, capacity, D], of which nothing is filled. condition: f32[B, width] or None.

        recent: i64[B, n], the n tokens read last, padding at first
        before: f32[layers, B, 1, shift], what each layer shifts on from the token read last, zero at first
        """
        self.keys, self.context, self.recent, self.before = keys, context, recent, before
        self.source, self.condition = source, condition
        self.position = 0
        self.step: Step | None = None  # a faster way of reading one token, where there is one

    def rows(self, index: Tensor) -> Memory:
        condition = None if self.condition is None else self.condition.index_select(0, index)
        source = None if self.source is None else self.source.rows(index)
        recent, before = self.recent.index_select(0, index), self.before.index_select(1, index)
        other = Memory(self.keys.index_select(2, index), self.context, recent, before, source, condition)
        other.position, other.step = self.position, self.step
        return other

    def reserve(self, length: int) -> None:
        """Makes room for so many more tokens."""
        need, room = min(self.position + length, self.context), self.keys.shape[4]
        if need > room:
            *outer, _, size = self.keys.shape
            grown = empty_memory(self.keys, (*outer, min(self.context, max(need, 2 * room)), size), self.keys.dtype)
            grown[..., :room, :] = self.keys
            self.keys = grown

    def bias(self, length: int) -> Tensor | None:
        """Which keys, as `extend` gives them, each of the next tokens sees; None: all of them."""
        if length == 1:
            return None
        if self.position == 0:
            return band(length, self.context, self.keys.device)
        now = torch.arange(self.position, self.position + length, device=self.keys.device)
        room = self.keys.shape[4]
        slots = torch.arange(min(self.position, room), device=self.keys.device)
        past = self.position - 1 - (self.position - 1 - slots) % room  # the newest position that such a slot can hold
        back = now[:, None] - torch.cat([past, now])
        return torch.zeros(back.shape, device=back.device).masked_fill((back < 0) | (back >= self.context), HIDDEN)

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keeps [B, heads, T, D] of the next tokens of a layer; gives all keys and values that they look at."""
        kept, length = self.keys[layer], k.shape[2]
        room = kept.shape[3]
        if length == 1:
            slot, used = self.position % room, min(self.position + 1, room)
            kept[0, :, :, slot], kept[1, :, :, slot] = k[:, :, 0], v[:, :, 0]
            return kept[0, :, :, :used], kept[1, :, :, :used]
        seen = k, v
        if self.position:
            used = min(self.position, room)
            seen = torch.cat([kept[0, :, :, :used], k], 2), torch.cat([kept[1, :, :, :used], v], 2)
        last = min(length, room)
        slots = torch.arange(self.position + length - last, self.position + length, device=k.device) % room
        kept[0, :, :, slots], kept[1, :, :, slots] = k[:, :, -last:], v[:, :, -last:]
        return seen


class Handed:
    """The same where somebody else keeps it: handed in, and handed back as it is after the next tokens.

    keys:   f32[layers, 2, B, heads, P, D] of the tokens before, turned by their positions
    before: as of Memory
    """

    def __init__(self, keys: Tensor, before: Tensor) -> None:
        self.keys, self.before = keys, list(before.unbind(0))
        self._longer: list[Tensor] = []

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        k, v = torch.cat([self.keys[layer, 0], k], 2), torch.cat([self.keys[layer, 1], v], 2)
        self._longer.append(torch.stack([k, v]))
        return k, v

    @property
    def longer(self) -> Tensor:
        """f32[layers, 2, B, heads, P + T, D]."""
        return torch.stack(self._longer)


# -- layers ----------------------------------------------------------------------------------------------------


def linear(inputs: int, outputs: int, gain: float = 1.0) -> nn.Linear:
    """Without bias; weights N(0, gain^2 / inputs)."""
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs)) if gain else nn.init.zeros_(layer.weight)
    return layer


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) with one random byte a number, a fifth of the cost of torch's on a CPU.

    So the probability is a multiple of 1/256. Draws from torch's global generator, as nn.Dropout does.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.kept = 256 - round(256 * p)  # of 256

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.kept == 256:
            return x
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) < self.kept
        return x * kept.to(x.dtype).mul_(256 / self.kept)


class SelfAttention(nn.Module):
    """Of the tokens of a text to each other, f32[B, T, width].

    shift: so many of the numbers it reads of a token are those of the token before (token shift, Peng et al. 2023,
           RWKV), so that a key can stand for two tokens and one layer finds what followed the like of this one
    """

    def __init__(self, width: int, heads: int, shift: int = 0) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        self.qkv, self.out = linear(width, 3 * width), linear(width, width, gain=0)

    def forward(
        self, x: Tensor, turn: Tensor, bias: Tensor | None, layer: int = 0, memory: Memory | Handed | None = None
    ) -> Tensor:
        b, t, w = x.shape
        if self.shift:
            x = self._shifted(x, layer, memory)
        qkv = self.qkv(x).view(b, t, 3, self.heads, -1)
        if memory is None and bias is not None and x.device.type == "cpu" and torch.is_grad_enabled():
            return self.out(_SelfAttend.apply(qkv, turn, _flat(bias, qkv.transpose(1, 3))))
        qkv = qkv.permute(2, 0, 3, 1, 4)  # [3, B, heads, T, D]
        q, k = rotate(qkv[:2], turn).to(qkv.dtype).unbind(0)
        v = qkv[2]
        if memory is not None:
            k, v = memory.extend(layer, k, v)
            q = q.to(k.dtype)
        return self.out(attend(q, k, v, bias).transpose(1, 2).reshape(b, t, w))

    def _shifted(self, x: Tensor, layer: int, memory: Memory | Handed | None) -> Tensor:
        now, kept = x.split([self.shift, x.shape[-1] - self.shift], -1)
        if memory is None:
            return torch.cat([F.pad(now[:, :-1], (0, 0, 1, 0)), kept], -1)
        before = torch.cat([memory.before[layer], now], 1)
        memory.before[layer] = before[:, -1:]
        return torch.cat([before[:, :-1], kept], -1)


class CrossAttention(nn.Module):
    """Of the tokens of a text to those of its source."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.out = linear(width, width), linear(width, 2 * width), linear(width, width, gain=0)

    def keys(self, encoded: Tensor) -> Tensor:
        """Keys and values of a source f32[B, S, width]: [2, B, heads, S, D]."""
        b, s, _ = encoded.shape
        return self.kv(encoded).view(b, s, 2, self.heads, -1).permute(2, 0, 3, 1, 4).contiguous()

    def query(self, x: Tensor) -> Tensor:
        return self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2).contiguous()

    def forward(self, x: Tensor, kv: Tensor, bias: Tensor) -> Tensor:
        return self.out(attend(self.query(x), kv[0], kv[1], bias).transpose(1, 2).reshape(x.shape))

    def weights(self, x: Tensor, kv: Tensor, bias: Tensor) -> Tensor:
        """What each token attends to, the mean over heads, f32[B, T, S]; rows sum to 1."""
        found = scores(self.query(x), kv[0], bias).float().softmax(-1)
        return found.unflatten(0, (len(x), self.heads)).mean(1)
