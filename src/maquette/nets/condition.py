"""What is given of an item, in any number of columns, as one vector f32[B, width] that networks read.

A column that is missing, of a row or of all of them, counts as what was learned for "not given": so each can be dropped
alone in training, and any subset be asked for. What is missing looks so: class -1, number NaN, tokens of padding alone,
a grid that begins with NaN (see `hide`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.attention import padding_bias
from maquette.nets.dims import Conv, Grid, gather, pyramid, scaled_normal_
from maquette.nets.encoder import Residual
from maquette.nets.transformer import Encoder

_NO_CLASS = -1
_WAVES = 6  # frequencies that describe a number: 1/4, 1/2, ... 8 radians over a standard deviation
_TOKEN = 64  # numbers that describe a token
_QUERIES = 4  # by which a sequence is looked through
_CHANNELS = 32  # of a grid that is given


def missing(x: Tensor) -> Tensor:
    """Which rows of a column say nothing, bool[B]."""
    if x.is_floating_point():
        return x.flatten(1)[:, 0].isnan() if x.ndim > 1 else x.isnan()
    return x < 0 if x.ndim == 1 else (x == 0).all(1)


def hide(x: Tensor, rows: Tensor) -> Tensor:
    """A column with the rows bool[B] missing."""
    nothing = torch.nan if x.is_floating_point() else _NO_CLASS if x.ndim == 1 else 0
    return x.masked_fill(rows.view(-1, *[1] * (x.ndim - 1)), nothing)


class Column(nn.Module):
    """One column -> f32[B, width]. std: of the numbers of the vector at first."""

    def __init__(self, width: int, std: float) -> None:
        super().__init__()
        self.width = width
        self.none = nn.Parameter(torch.randn(width) * std)

    def forward(self, x: Tensor | None, n: int) -> Tensor:
        """x: the column of n items; None: of none of them."""
        if x is None:
            return self.none.expand(n, -1)
        return torch.where(missing(x)[:, None], self.none, self.encode(x).float())

    def encode(self, x: Tensor) -> Tensor:
        """Of what is there, f32[B, width]; anything finite where it is missing."""
        raise NotImplementedError


class Classes(nn.Module):
    """i64[B] by a table, whose last row is "not given"."""

    def __init__(self, classes: int, width: int, std: float = 1.0) -> None:
        super().__init__()
        self.width, self.none = width, classes
        self.table = nn.Embedding(classes + 1, width)
        nn.init.normal_(self.table.weight, std=std)

    def forward(self, y: Tensor | None, n: int) -> Tensor:
        if y is None:
            return self.table.weight[-1].expand(n, -1)
        return self.table(torch.where(y < 0, self.none, y))


class OneHot(nn.Module):
    """i64[B] as f32[B, classes + 1], with "not given" a class of its own: nothing is learned."""

    last: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.width = classes + 1
        self.register_buffer("last", torch.tensor(classes), persistent=False)

    def forward(self, y: Tensor | None, n: int) -> Tensor:
        y = self.last.expand(n) if y is None else torch.where(y < 0, self.last, y)
        return F.one_hot(y, self.width).float()


class Number(Column):
    """f32[B] by Fourier features of (x - mean) / spread (Tancik et al. 2020) and a small perceptron."""

    waves: Tensor

    def __init__(self, mean: float, spread: float, width: int, std: float = 1.0) -> None:
        super().__init__(width, std)
        self.mean, self.spread = mean, spread or 1.0
        self.inner, self.outer = nn.Linear(2 * _WAVES + 1, width), nn.Linear(width, width)
        scaled_normal_(self.inner, 1.4)
        scaled_normal_(self.outer, 1.7 * std)
        self.register_buffer("waves", 2.0 ** torch.arange(-2, _WAVES - 2), persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        z = ((x.nan_to_num() - self.mean) / self.spread)[:, None]
        return self.outer(F.silu(self.inner(torch.cat([z, (z * self.waves).cos(), (z * self.waves).sin()], 1))))


class Tokens(Column):
    """i64[B, L], padded with 0, by a small transformer, looked through by a few learned queries (attention pooling)."""

    def __init__(self, vocab: int, width: int, std: float = 1.0, layers: int = 2, heads: int = 2) -> None:
        super().__init__(width, std)
        self.embedding = nn.Embedding(vocab, _TOKEN)
        self.encoder = Encoder(_TOKEN, layers, heads, 2 * _TOKEN, dropout=0.0)
        self.queries = nn.Linear(_TOKEN, _QUERIES, bias=False)
        self.out = nn.Linear(_QUERIES * _TOKEN, width)
        scaled_normal_(self.out, std)

    def encode(self, x: Tensor) -> Tensor:
        bias = padding_bias(x != 0)
        h = self.encoder(self.embedding(x), bias)
        weights = (self.queries(h).float().mT + bias[:, 0]).softmax(-1).to(h.dtype)  # [B, queries, L]
        return self.out((weights @ h).flatten(1))


class GridValues(Column):
    """f32[B, C, *grid] by a small convolutional network."""

    def __init__(self, shape: Sequence[int], width: int, std: float = 1.0) -> None:
        super().__init__(width, std)
        self.grid: Grid = pyramid(shape)
        dims, conv = self.grid.dims, Conv[self.grid.dims]
        self.stem = conv(shape[0] * self.grid.values, _CHANNELS, gain=1.4)
        self.levels = nn.ModuleList(Residual(_CHANNELS, dims) for _ in self.grid.sizes)
        self.falls = nn.ModuleList(conv(2**dims * _CHANNELS, _CHANNELS, 1) for _ in self.grid.sizes[1:])
        self.out = nn.Linear(_CHANNELS * self.grid.coarsest, width)
        scaled_normal_(self.out, std)

    def encode(self, x: Tensor) -> Tensor:
        h = self.stem(self.grid.cut(x.nan_to_num()))
        for i, level in enumerate(self.levels):
            h = level(self.falls[i - 1](gather(F.relu(h))) if i else h)
        return self.out(F.relu(h).flatten(1))


class Condition(nn.Module):
    """All given columns as one vector.

    columns: encoder of each, all of one width; of any widths where they are put side by side
    beside:  side by side, as textbook networks read them; else their sum, and of several what they say together
    """

    def __init__(self, columns: Mapping[str, nn.Module], beside: bool = False) -> None:
        super().__init__()
        self.names = tuple(columns)
        self.columns = nn.ModuleList(columns.values())  # names of columns may be no names of modules
        widths = [int(column.width) for column in columns.values()]  # type: ignore[arg-type]
        self.width = sum(widths) if beside else widths[0]
        self.together: nn.Sequential | None = None
        self.beside = beside
        if len(widths) > 1 and not beside:
            inner, outer = nn.Linear(sum(widths), self.width), nn.Linear(self.width, self.width)
            scaled_normal_(inner, 1.0)
            scaled_normal_(outer, 0.3)
            self.together = nn.Sequential(inner, nn.SiLU(), outer)

    def forward(self, given: Mapping[str, Tensor], n: int) -> Tensor:
        """given: columns of n items; what is left out is missing -> f32[n, width]."""
        found = [column(given.get(name), n) for name, column in zip(self.names, self.columns, strict=True)]
        if self.beside:
            return torch.cat(found, 1)
        total: Tensor = sum(found[1:], found[0])
        return total if self.together is None else total + self.together(torch.cat(found, 1)).float()
