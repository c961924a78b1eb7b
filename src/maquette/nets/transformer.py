"""A transformer over tokens: decoder-only, or encoder and decoder where there is a source (Vaswani et al. 2017).

    x = embedding(tokens);  for each block:  x += attention(norm x);  x += cross(norm x);  x += mlp(norm x)
    logits = embedding' readout norm x

Pre-norm (Xiong et al. 2020), rotary positions, no biases, an MLP with relu^2 (So et al. 2021), and one table for
tokens that come in and go out (Press & Wolf 2017).
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.attention import (
    HIDDEN,
    CrossAttention,
    Dropout,
    Handed,
    Memory,
    SelfAttention,
    Source,
    band,
    empty_memory,
    linear,
    padding_bias,
    relu_squared,
    rotation,
    turns,
)
from maquette.nets.ngrams import Ngrams
from maquette.nets.writing import Step

_ROOM = 64  # tokens for which a fresh memory has room


def norm(width: int) -> nn.LayerNorm:
    """Layer-norm without a bias: unlike RMS-norm it is one fused operation on a CPU, and five times as fast."""
    return nn.LayerNorm(width, bias=False)


class Block(nn.Module):
    """One layer of an encoder, of a decoder, or (cross) of a decoder that looks at a source."""

    def __init__(
        self, width: int, heads: int, hidden: int, dropout: float, cross: bool = False, shift: int = 0
    ) -> None:
        super().__init__()
        self.norm_attention, self.attention = norm(width), SelfAttention(width, heads, shift)
        self.norm_cross = norm(width) if cross else None
        self.cross = CrossAttention(width, heads) if cross else None
        self.norm_mlp = norm(width)
        self.up, self.down = linear(width, hidden), linear(hidden, width, gain=0)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        turn: Tensor,
        bias: Tensor | None,
        source: Source | None,
        layer: int,
        memory: Memory | Handed | None,
    ) -> Tensor:
        x = x + self.dropout(self.attention(self.norm_attention(x), turn, bias, layer, memory))
        if self.cross is not None and self.norm_cross is not None and source is not None:
            x = x + self.dropout(self.cross(self.norm_cross(x), source.layers[layer], source.bias))
        return x + self.dropout(self.down(relu_squared(self.up(self.norm_mlp(x)))))

    def looks(self, x: Tensor, turn: Tensor, bias: Tensor | None, source: Source, layer: int) -> Tensor:
        """Attention of each token over the source, the mean over heads, f32[B, T, S]."""
        assert self.cross is not None and self.norm_cross is not None
        x = x + self.attention(self.norm_attention(x), turn, bias)
        return self.cross.weights(self.norm_cross(x), source.layers[layer], source.bias)


class Encoder(nn.Module):
    """Tokens i64[B, S] padded with `pad` -> f32[B, S, width]; each sees all that are no padding."""

    def __init__(self, width: int, layers: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.head_dim = width // heads
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout) for _ in range(layers))
        self.norm = norm(width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x: embedded tokens f32[B, S, width]; bias: see padding_bias."""
        turn = rotation(self.head_dim, 0, x.shape[1], x.device)
        for i, block in enumerate(self.blocks):
            x = block(x, turn, bias, None, i, None)
        return self.norm(x)


class Transformer(nn.Module):
    """Logits of the next token.

    vocab, source_vocab: numbers of tokens of the target and of the source; source_vocab = 0: no source
    shared:         the source is embedded with the target's table
    layers, encoder_layers: blocks of the decoder, and of the encoder
    heads:          attention heads, width / heads numbers each
    context:        tokens that a token of the target sees, itself included
    hidden:         width of the MLPs
    condition:      the encoder of what else is given, of the same width, added to every token; None: nothing is
    pad:            the token that fills up a text, hidden in a source
    ngrams:         the last 2 .. ngrams tokens have embeddings of their own, in tables of `ngram_rows` times
                    `ngram_dim` numbers; 1: none
    shift:          see SelfAttention; of the decoder
    """

    def __init__(
        self,
        vocab: int,
        width: int,
        layers: int,
        heads: int,
        context: int,
        hidden: int,
        dropout: float = 0.0,
        condition: nn.Module | None = None,
        source_vocab: int = 0,
        encoder_layers: int = 0,
        shared: bool = False,
        pad: int = 0,
        ngrams: int = 1,
        ngram_rows: int = 32768,
        ngram_dim: int = 32,
        ngram_dropout: float = 0.0,
        shift: int = 0,
    ) -> None:
        super().__init__()
        self.width, self.heads, self.context, self.pad = width, heads, context, pad
        self.head_dim = width // heads
        self.embedding = nn.Embedding(vocab, width)
        self.condition = condition
        self.source_embedding = nn.Embedding(source_vocab, width) if source_vocab and not shared else None
        for table in (self.embedding, self.source_embedding):
            if table is not None:
                nn.init.normal_(table.weight, std=width**-0.5)
        self.ngrams = Ngrams(width, ngrams, ngram_rows, ngram_dim, ngram_dropout) if ngrams > 1 else None
        self.encoder = Encoder(width, encoder_layers, heads, hidden, dropout) if source_vocab else None
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, dropout, bool(source_vocab), shift) for _ in range(layers)
        )
        self.shift = shift
        self.norm = norm(width)
        # Zero at first: the table that is tied to the input would otherwise make every token predict itself.
        self.readout = linear(width, width, gain=0)
        self.step: Step | None = None  # as it was last asked for

    # -- the source --------------------------------------------------------------------------------------------

    def encode(self, source: Tensor) -> Source:
        """Tokens i64[B, S], padded -> what each layer of the decoder looks at."""
        assert self.encoder is not None, "this transformer has no source"
        bias = padding_bias(source != self.pad)
        table = self.embedding if self.source_embedding is None else self.source_embedding
        encoded = self.encoder(self.dropout(table(source) * math.sqrt(self.width)), bias)
        return Source(tuple(block.cross.keys(encoded) for block in self.blocks), bias)  # type: ignore[operator,union-attr]

    # -- all at once -------------------------------------------------------------------------------------------

    def forward(self, tokens: Tensor, source: Tensor | None = None, c: Tensor | None = None) -> Tensor:
        """Logits f32[B, T, vocab] of the token after each of i64[B, T], given a source i64[B, S] and what `condition`
        makes of the rest, f32[B, width]."""
        seen = None if source is None else self.encode(source)
        bias = band(tokens.shape[1], self.context, tokens.device)
        return self._logits(self._blocks(self._embed(tokens, c), 0, bias, seen, None))

    @torch.no_grad()
    def alignment(self, tokens: Tensor, source: Tensor, c: Tensor | None = None) -> Tensor:
        """Attention of each token over the source, the mean over layers and heads, f32[B, T, S]; rows sum to 1."""
        seen = self.encode(source)
        x, bias = self._embed(tokens, c), band(tokens.shape[1], self.context, tokens.device)
        turn = rotation(self.head_dim, 0, tokens.shape[1], x.device)
        total = x.new_zeros(*tokens.shape, source.shape[1])
        for i, block in enumerate(self.blocks):
            total += block.looks(x, turn, bias, seen, i)  # type: ignore[operator]
            x = block(x, turn, bias, seen, i, None)
        return total / len(self.blocks)

    def _embed(self, tokens: Tensor, c: Tensor | None, recent: Tensor | None = None) -> Tensor:
        """c: f32[B, width] or None. recent: i64[B, n], the tokens before; None: there are none."""
        x = self.embedding(tokens)
        if self.ngrams is not None:
            n = self.ngrams.before
            x = x + self.ngrams(
                F.pad(tokens, (n, 0), value=self.pad) if recent is None else torch.cat([recent, tokens], 1)
            )
        return self.dropout((x if c is None else x + c[:, None]) * math.sqrt(self.width))

    def _blocks(
        self, x: Tensor, start: int, bias: Tensor | None, source: Source | None, memory: Memory | None
    ) -> Tensor:
        turn = rotation(self.head_dim, start, x.shape[1], x.device)
        for i, block in enumerate(self.blocks):
            x = block(x, turn, bias, source, i, memory)
        return x

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(self.readout(self.norm(x)), self.embedding.weight).float()

    # -- token by token ----------------------------------------------------------------------------------------

    @torch.no_grad()
    def begin(self, n: int, source: Tensor | None = None, c: Tensor | None = None, cache: Path | None = None) -> Memory:
        """The memory of n texts of which nothing is written; the source is encoded here, once. cache: see Step."""
        weight = self.embedding.weight
        room = min(_ROOM, self.context)
        # Under autocast keys and values come in its precision.
        kind = weight.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        keys = empty_memory(weight, (len(self.blocks), 2, n, self.heads, room, self.head_dim), dtype)
        recent = torch.full((n, self.ngrams.before if self.ngrams else 0), self.pad, device=weight.device)
        before = weight.new_zeros(len(self.blocks), n, 1, self.shift)
        seen = None if source is None else self.encode(source)
        memory = Memory(keys, self.context, recent, before, seen, c)
        memory.step = Step.of(self, dtype, cache)
        return memory

    def embed(self, memory: Memory, tokens: Tensor) -> Tensor:
        """The next tokens i64[B, T] as the blocks read them, f32[B, T, width]; the memory of the last ones moves on."""
        x = self._embed(tokens, memory.condition, memory.recent)
        if n := memory.recent.shape[1]:
            memory.recent = torch.cat([memory.recent, tokens], 1)[:, -n:]
        return x

    def advance(self, memory: Memory, tokens: Tensor) -> Tensor:
        """Logits f32[B, T, vocab] of the token after each of i64[B, T], which follow those read before."""
        if memory.step is not None and tokens.shape[1] == 1:
            return memory.step(memory, tokens[:, 0])[:, None]
        with torch.no_grad():
            return torch.cat([self._read(memory, part) for part in tokens.split(self.context, 1)], 1)

    def _read(self, memory: Memory, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        memory.reserve(length)
        x = self._blocks(self.embed(memory, tokens), memory.position, memory.bias(length), memory.source, memory)
        memory.position += length
        return self._logits(x)

    # -- the same for who keeps the memory ---------------------------------------------------------------------

    def read(
        self, tokens: Tensor, position: Tensor, memory: Handed, recent: Tensor, source: Source | None, c: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Logits f32[B, T, vocab] of the token after each of i64[B, T], and the tokens read last, i64[B, n].

        position: i64[], tokens that were read before, of which those that the memory has are the last
        recent:   i64[B, n], the tokens read last; padding where there are none
        """
        past, length = memory.keys.shape[4], tokens.shape[1]
        x = self._embed(tokens, c, recent if self.ngrams is not None else None)
        turn = turns(self.head_dim, position + torch.arange(length, device=tokens.device))
        now = torch.arange(past, past + length, device=tokens.device)[:, None]
        seen = torch.arange(past + length, device=tokens.device)[None]
        hidden = (seen > now) | (seen <= now - self.context)
        bias = torch.zeros(hidden.shape, device=tokens.device).masked_fill(hidden, HIDDEN)
        for i, block in enumerate(self.blocks):
            x = block(x, turn, bias, source, i, memory)
        return self._logits(x), torch.cat([recent, tokens], 1)[:, length:]
