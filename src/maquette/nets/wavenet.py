"""WaveNet (van den Oord et al. 2016): the next sample from those before it, by dilated causal convolutions.

Layer l with the dilation d turns x into x + W_out z and adds W_skip z to what the head reads, where

    z = tanh(f / 2) / 2 * sigmoid(g),   (f, g)[t] = W_past x[t - d] + W_now x[t] + b

and b is what is given: of the whole item, or of each frame of it. (The halves make both gates one function, since
tanh(f / 2) / 2 = sigmoid(f) - 1/2.) An item is read by itself, time first, [T, channels]: so a dilated convolution is
two matrix products of whole blocks of memory, and nothing is copied, shifted or padded. The products of all layers with
W_skip are one product in the end. Gradients are written by hand, because automatic ones copy every block again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from maquette.nets.condition import Condition
from maquette.nets.sounding import Array, Sizes, Weights


class WaveNet(nn.Module):
    """Numbers about the next sample, from those before it.

    sizes:  as nets/sounding.py says; the table of embeddings of codes has one row more, for "nothing yet"
    frames: what reads a grid of what the item is like over time, if one can be given
    """

    def __init__(self, sizes: Sizes, condition: Condition | None = None, frames: Frames | None = None) -> None:
        super().__init__()
        codes, residual, skip = sizes.codes, sizes.residual, sizes.skip
        self.sizes, self.codes, self.residual, self.condition = sizes, codes, residual, condition
        self.dilations = sizes.dilations
        n = len(self.dilations)
        self.embedding = nn.Linear(2, residual, bias=False)
        if codes:
            self.embedding = nn.Embedding.from_pretrained(_waves(codes, residual), freeze=False)
        self.past, self.now = (
            nn.ModuleList(nn.Linear(residual, 2 * residual, bias=False) for _ in range(n)) for _ in range(2)
        )
        self.out = nn.ModuleList(nn.Linear(residual, residual, bias=False) for _ in range(n))
        self.bias = nn.Parameter(torch.zeros(2 * n * residual))
        self.given = nn.Linear(condition.width, 2 * n * residual, bias=False) if condition else None
        self.frames = frames
        self.framed = nn.Linear(frames.width, 2 * n * residual, bias=False) if frames else None
        self.skip = nn.Linear(n * residual, skip)
        self.inner = nn.Linear(skip, skip)
        self.head = nn.Linear(skip, sizes.outputs)
        std = (2 * residual) ** -0.5
        for past, now, out in zip(self.past, self.now, self.out, strict=True):
            for layer in (past, now):
                halves = layer.weight.data.chunk(2)  # type: ignore[operator]
                nn.init.normal_(halves[0], std=2 * std)  # of f, which is halved
                nn.init.normal_(halves[1], std=std)
            nn.init.normal_(out.weight, std=8 * (n * residual) ** -0.5)  # type: ignore[arg-type]
        nn.init.normal_(self.skip.weight, std=6 * (n * residual) ** -0.5)
        nn.init.normal_(self.inner.weight, std=(2 / skip) ** 0.5)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)  # nothing is likelier than anything else

    @property
    def receptive_field(self) -> int:
        """Samples that the next one depends on, itself counted."""
        return 1 + sum(self.dilations)

    def arrays(self) -> dict[str, Array]:
        """Its parameters by name, on the CPU."""
        return {name: value.detach().float().cpu().numpy() for name, value in self.state_dict().items()}

    def weights(self) -> Weights:
        """As the loop of nets/sounding.py reads them."""
        return Weights.of(self.arrays(), self.sizes)

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return self.frames.hop if self.frames is not None else 1

    def steering(self, y: Tensor | None, grid: Tensor | None = None) -> Tensor:
        """What is given of one item, f32[1, width], and of its frames, f32[bands, F], as the layers read it,
        f32[F, layers x 2 residual]; F = 1 where frames are not given."""
        made = self.bias[None]
        if self.given is not None and y is not None:
            made = made + self.given(y)
        return made if self.frames is None or self.framed is None else made + self.framed(self.frames(grid))

    def inputs(self, before: Tensor, steering: Tensor) -> Iterator[Tensor]:
        """What each layer in turn reads of one item, f32[T, residual]. before: as `forward` takes it, from the start"""
        x, r = self.embedding(before), self.residual
        for i, d in enumerate(self.dilations):
            yield x
            gates = self.now[i](x) + _held(steering[:, 2 * r * i : 2 * r * (i + 1)], self.hop, 0, len(x))
            gates[d:] += self.past[i](x[: max(len(x) - d, 0)])
            f, g = gates.sigmoid().chunk(2, 1)
            x = x + self.out[i]((f - 0.5) * g)

    def forward(
        self, before: Tensor, y: Tensor | None = None, first: int = 0, grid: Tensor | None = None, at: int = 0
    ) -> Tensor:  # fmt: skip
        """The sample before each time of one item, i64[T] or f32[T, 2] -> about the sample of each, f32[T', outputs].

        y:     what is given of the item, f32[1, width]
        first: the first time that is asked for: T' = T - first. Above 0, it has its receptive field before it, or all
               of the item
        grid:  frames of the whole item, f32[bands, F]; at: the time in it that `before` begins with
        """
        x, steering = self.embedding(before), self.steering(y, grid)
        kind = x.device.type
        narrow = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        weights = [layer.weight.to(narrow) for part in (self.past, self.now, self.out) for layer in part]
        with torch.autocast(kind, enabled=False):
            z = _Stack.apply(x.to(narrow), steering.to(narrow), self.dilations, first, (self.hop, at), *weights)
        return self.head(F.relu(self.inner(F.relu(self.skip(z)))))


def _waves(codes: int, width: int) -> Tensor:
    """What codes begin with, so that neighbours are alike: waves over their order; and 0 for "nothing yet"."""
    k = np.arange(width) // 2 + 1
    angles = np.linspace(-1, 1, codes)[:, None] * k * (np.pi / 2) - np.arange(width) % 2 * (np.pi / 2)
    waves = np.cos(angles) * np.sqrt(2 / k / (1 / k).mean())
    return torch.from_numpy(np.pad(waves, ((0, 1), (0, 0))).astype(np.float32))


class _Stack(torch.autograd.Function):
    """x [T, R] -> the z of all layers side by side, from the time `first` on: [T - first, layers * R].

    Each layer makes what those above it read, and no more.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, steering: Tensor, dilations: tuple[int, ...], first: int, frames: tuple[int, int],
        *weights: Tensor,
    ) -> Tensor:  # fmt: skip
        layers, r, before = len(dilations), x.shape[1], x
        past, now, out = (weights[i * layers : (i + 1) * layers] for i in range(3))
        starts, base = _starts(dilations, first), 0  # base: the time that x begins with
        z_all, kept = x.new_empty(len(x) - first, layers * r), [x]
        for i, (d, start) in enumerate(zip(dilations, starts, strict=True)):
            given = _held(steering[:, 2 * r * i : 2 * r * (i + 1)], frames[0], frames[1] + start, len(before) - start)
            gates = torch.addmm(given, x[start - base :], now[i].T)
            rows, behind = _behind(len(gates), base, start, d)
            gates[rows].addmm_(x[behind], past[i].T)
            gates.sigmoid_()
            gates[:, :r] -= 0.5
            z = gates[:, :r] * gates[:, r:]
            z_all[:, r * i : r * (i + 1)] = z[first - start :]
            kept.append(gates)
            if i < layers - 1:
                x, base = torch.addmm(x[start - base :], z, out[i].T), start
                kept.append(x)
        ctx.save_for_backward(*kept, *weights)
        ctx.facts = dilations, first, starts, frames, len(steering)
        return z_all

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_all: Tensor) -> tuple[Tensor | None, ...]:
        dilations, first, starts, (hop, at), count = ctx.facts
        layers = len(dilations)
        kept, weights = ctx.saved_tensors[: 2 * layers], ctx.saved_tensors[2 * layers :]
        xs, gated, r = kept[::2], kept[1::2], kept[0].shape[1]
        past, now, out = (weights[i * layers : (i + 1) * layers] for i in range(3))
        d_past, d_now, d_out = ([torch.zeros_like(w) for w in part] for part in (past, now, out))
        d_steering = d_all.new_empty(count, 2 * r * layers)
        dx = d_all.new_empty(0)
        for i in reversed(range(layers)):
            x, start, base, last = xs[i], starts[i], starts[i - 1] if i else 0, i == layers - 1
            f, g = gated[i][:, :r], gated[i][:, r:]
            dz = d_all[:, r * i : r * (i + 1)]
            if not last:  # its sum with x is read by the next layer
                torch.mm(dx.T, f * g, out=d_out[i])
                of_skip, dz = dz, dx @ out[i]
                dz[first - start :] += of_skip
            da = torch.cat([dz * g * (0.25 - f * f), dz * f * (g - g * g)], 1)
            d_steering[:, 2 * r * i : 2 * r * (i + 1)] = _gathered(da, count, hop, at + start)
            torch.mm(da.T, x[start - base :], out=d_now[i])
            whole = torch.zeros_like(x)
            torch.addmm(whole[start - base :] if last else dx, da, now[i], out=whole[start - base :])
            rows, behind = _behind(len(da), base, start, dilations[i])
            torch.mm(da[rows].T, x[behind], out=d_past[i])
            whole[behind].addmm_(da[rows], past[i])
            dx = whole
        return (dx, d_steering, None, None, None, *d_past, *d_now, *d_out)


def _held(given: Tensor, hop: int, at: int, rows: int) -> Tensor:
    """What is given of each frame, f32[F, O], at so many times from `at` on, f32[rows, O]; f32[O] of a single one,
    which is given of all."""
    if len(given) == 1:
        return given[0]
    first, last = (min(place // hop, len(given) - 1) for place in (at, at + rows - 1))
    some = given[first : last + 1].repeat_interleave(hop, 0)[at - first * hop :][:rows]
    return torch.cat([some, given[-1:].expand(rows - len(some), -1)])  # the last frame holds on


def _gathered(d: Tensor, count: int, hop: int, at: int) -> Tensor:
    """Gradients of `_held`: f32[rows, O] -> f32[F, O]."""
    if count == 1:
        return d.sum(0, keepdim=True)
    whole = F.pad(d, (0, 0, at, count * hop - at - len(d)))
    return whole.view(count, hop, -1).sum(1)


class Frames(nn.Module):
    """A grid f32[bands, F] of how an item is over time -> of each frame, and those around it, f32[F, width].

    hop: samples from one frame to the next. Where no grid is given, one frame stands for all: what was learned of items
    whose grids were hidden.
    """

    def __init__(self, bands: int, hop: int, width: int) -> None:
        super().__init__()
        self.width, self.hop = width, hop
        self.inner, self.outer = nn.Conv1d(bands, width, 5, padding=2), nn.Conv1d(width, width, 3, padding=1)
        self.none = nn.Parameter(torch.zeros(1, width))

    def forward(self, grid: Tensor | None) -> Tensor:
        """As above; f32[1, width] of None."""
        return self.none if grid is None else self.outer(F.relu(self.inner(grid[None])))[0].T


def _starts(dilations: Sequence[int], first: int) -> list[int]:
    """The first time that each layer has to make, so that all there is above it can be made from `first` on."""
    starts = [first]
    for d in reversed(dilations[1:]):
        starts.append(max(0, starts[-1] - d))
    return starts[::-1]


def _behind(rows: int, base: int, start: int, d: int) -> tuple[slice, slice]:
    """Which of the rows from the time `start` on have something d before them, and where that is in what begins with
    the time `base`."""
    left = min(max(d - start, 0), rows)
    begin = start + left - d - base
    return slice(left, rows), slice(begin, begin + rows - left) if left < rows else slice(0, 0)
