"""Recurrent networks for sequences of tokens: an encoder, a decoder, and the attention between them.

The decoder reads all of a known target in one call of nn.LSTM or nn.GRU, and attends for all steps at once. Only
input feeding makes it go token by token.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Cell = Literal["lstm", "gru"]
AttentionKind = Literal["none", "additive", "general", "dot"]
Query = Literal["top", "bottom"]


@dataclass
class Encoded:
    """What the decoder sees of the source.

    values: annotations f32[B, S, W]     keys: what scores are made of, f32[B, S, W]
    mask:   bool[B, S], True where there is a token
    """

    values: Tensor
    keys: Tensor
    mask: Tensor

    def rows(self, index: Tensor) -> Encoded:
        return Encoded(self.values[index], self.keys[index], self.mask[index])


@dataclass
class Memory:
    """All that the decoder remembers of the texts it is writing.

    states: of each layer, f32[B, W] (GRU) or f32[B, 2W] (LSTM: hidden, then cell)
    source: None for a language model
    condition: f32[B, E], added to each embedding
    feed:   f32[B, E], the readout of the token before, if it is fed back
    masks:  of dropout, by place, f32[B, 1, ...]; empty outside training. One mask serves all steps of a text.
    """

    states: list[Tensor]
    source: Encoded | None = None
    condition: Tensor | None = None
    feed: Tensor | None = None
    masks: dict[str, Tensor] = field(default_factory=dict)

    def rows(self, index: Tensor) -> Memory:
        """These rows, i64[B']."""
        return Memory(
            [state[index] for state in self.states],
            self.source.rows(index) if self.source else None,
            None if self.condition is None else self.condition[index],
            None if self.feed is None else self.feed[index],
            {place: mask[index] for place, mask in self.masks.items()},
        )


def reverse(x: Tensor, mask: Tensor) -> Tensor:
    """The tokens of each row, x[B, S, ...] or [B, S], in reverse order; padding stays at the end."""
    position = torch.arange(x.shape[1], device=x.device)
    mirrored = mask.sum(1, keepdim=True) - 1 - position
    index = torch.where(mirrored >= 0, mirrored, position)
    return x.gather(1, index.view(*index.shape, *[1] * (x.ndim - 2)).expand_as(x))


class Layer(nn.Module):
    """One recurrent layer. Its state is one tensor a text: f32[B, W] of a GRU, f32[B, 2W] of an LSTM."""

    def __init__(self, cell: Cell, inputs: int, width: int) -> None:
        super().__init__()
        self.lstm = cell == "lstm"
        self.rnn = (nn.LSTM if self.lstm else nn.GRU)(inputs, width, batch_first=True)
        if self.lstm:
            # The forget gate starts open (Jozefowicz et al. 2015, section 2.2).
            nn.init.ones_(self.rnn.get_parameter("bias_ih_l0").data.chunk(4)[1])

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x[B, T, inputs] from this state (or zeros) on -> out[B, T, W], and the state after all of x."""
        start = None
        if state is not None:
            parts = [part.unsqueeze(0).contiguous() for part in state.to(x.dtype).chunk(1 + self.lstm, 1)]
            start = tuple(parts) if self.lstm else parts[0]
        out, after = self.rnn(x, start)
        return out, torch.cat([part[0] for part in after], 1) if self.lstm else after[0]


class Both(nn.Module):
    """A layer that reads forwards beside one that reads backwards, each half as wide.

    The tokens are reversed and the padding stays behind them, so that neither reads padding before a token. Twice
    as fast on a CPU as packed sequences of unequal lengths, for which there is no fused kernel.
    """

    def __init__(self, cell: Cell, inputs: int, width: int) -> None:
        super().__init__()
        self.forwards, self.backwards = Layer(cell, inputs, width // 2), Layer(cell, inputs, width // 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x[B, S, inputs] -> out[B, S, W]."""
        backwards = reverse(self.backwards(reverse(x, mask))[0], mask)
        return torch.cat([self.forwards(x)[0], backwards], -1)


class Attention(nn.Module):
    """Context of each query from the annotations of the source.

    additive: v . tanh(W q + U k)  (Bahdanau et al. 2015, appendix A.1.2)
    general:  q . W k      dot: q . k  (Luong et al. 2015, eq. 8)
    """

    def __init__(self, kind: AttentionKind, width: int) -> None:
        super().__init__()
        self.kind = kind
        self.key = nn.Identity() if kind == "dot" else nn.Linear(width, width, bias=False)
        if kind == "additive":
            self.query = nn.Linear(width, width)
            self.energy = nn.Parameter(torch.randn(width) * width**-0.5)

    def forward(self, query: Tensor, source: Encoded) -> tuple[Tensor, Tensor]:
        """query[B, T, W] -> context[B, T, W], weights f32[B, T, S] that sum to 1 over the tokens of the source."""
        if self.kind == "additive":
            sums = self.query(query).unsqueeze(2) + source.keys.unsqueeze(1)  # (B, T, S, W)
            scores = torch.tanh(sums) @ self.energy.to(sums.dtype)
        else:
            scores = query @ source.keys.to(query.dtype).transpose(1, 2)
        weights = scores.float().masked_fill(~source.mask.unsqueeze(1), float("-inf")).softmax(-1)
        return weights.to(source.values.dtype) @ source.values, weights


class Encoder(nn.Module):
    """Recurrent layers over the embedded source, and bridges from their last outputs to the decoder's first states."""

    def __init__(self, cell: Cell, layers: int, embedding: int, width: int, bidirectional: bool) -> None:
        super().__init__()
        kind = Both if bidirectional else Layer
        self.layers = nn.ModuleList(kind(cell, width if i else embedding, width) for i in range(layers))
        self.bridges = nn.ModuleList(nn.Linear(width, width * (1 + (cell == "lstm"))) for _ in range(layers))
        self.bidirectional = bidirectional

    def forward(self, x: Tensor, mask: Tensor, masks: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        """x[B, S, E] -> annotations[B, S, W], and a state for each layer of the decoder."""
        states, rows, last = [], torch.arange(len(x), device=x.device), mask.sum(1) - 1
        for i, (layer, bridge) in enumerate(zip(self.layers, self.bridges, strict=True)):
            x = dropped(layer(x, mask) if self.bidirectional else layer(x)[0], masks, f"encoder.{i}")
            ends = x[rows, last]
            if self.bidirectional:  # the backward half ends where the text begins
                half = x.shape[-1] // 2
                ends = torch.cat([ends[:, :half], x[:, 0, half:]], 1)
            states.append(torch.tanh(bridge(ends)))
        return x, states


class Decoder(nn.Module):
    """Recurrent layers over the embedded target, attention, and the readout tanh(W [state; context]).

    The query is the top layer's output (Luong et al. 2015) or the bottom one's, whose context the layers above
    then read as well: so they know where the tokens before looked, yet all steps are computed at once.
    """

    def __init__(
        self, cell: Cell, layers: int, embedding: int, width: int, attention: AttentionKind, query: Query,
        input_feeding: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.input_feeding, self.attends_after = input_feeding, 0 if query == "bottom" else layers - 1
        attends = attention != "none"
        inputs = [embedding * (1 + input_feeding)]
        inputs += [width * (1 + (attends and i > self.attends_after)) for i in range(1, layers)]
        self.layers = nn.ModuleList(Layer(cell, size, width) for size in inputs)
        self.attention = Attention(attention, width) if attends else None
        self.readout = nn.Linear(width * (1 + attends), embedding)

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Tensor | None]:
        """x[B, T, E] -> readout[B, T, E], attention f32[B, T, S]; the memory moves on by T tokens."""
        if not self.input_feeding:
            return self._read(x, memory)
        steps = []
        for step in x.split(1, 1):
            assert memory.feed is not None
            steps.append(self._read(torch.cat([step, memory.feed.unsqueeze(1).to(step.dtype)], -1), memory))
            memory.feed = steps[-1][0].squeeze(1)
        weights = torch.cat([w for _, w in steps if w is not None], 1) if self.attention else None
        return torch.cat([out for out, _ in steps], 1), weights

    def _read(self, x: Tensor, memory: Memory) -> tuple[Tensor, Tensor | None]:
        context, weights, states = None, None, []
        for i, (layer, state) in enumerate(zip(self.layers, memory.states, strict=True)):
            if context is not None:
                x = torch.cat([x, context], -1)
            x, after = layer(x, state)
            x = dropped(x, memory.masks, f"decoder.{i}")
            states.append(after)
            if self.attention is not None and i == self.attends_after:
                assert memory.source is not None
                context, weights = self.attention(x, memory.source)
        memory.states = states
        out = torch.tanh(self.readout(x if context is None else torch.cat([x, context], -1)))
        return dropped(out, memory.masks, "readout"), weights


def dropped(x: Tensor, masks: dict[str, Tensor], place: str) -> Tensor:
    """x[B, T, W] times the mask of this place, if there is one."""
    return x * masks[place].to(x.dtype) if place in masks else x


class RecurrentNet(nn.Module):
    """Embeddings, encoder (if there is a source), decoder, and the projection onto the vocabulary.

    vocab:        entries of the target's vocabulary
    source_vocab: of the source's; 0 for a language model
    condition:    the encoder of what else is given, of the embedding's width, added to each token; None: nothing is
    shared:       one embedding for source and target    tied: the projection is the target's embedding
    """

    def __init__(
        self, vocab: int, source_vocab: int, condition: nn.Module | None, *, cell: Cell, layers: int, width: int,
        embedding: int, bidirectional: bool, reverse_source: bool, attention: AttentionKind, query: Query,
        input_feeding: bool, shared: bool, tied: bool, pad: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.reverse_source, self.pad = reverse_source, pad
        self.scale = embedding**0.5  # inputs of variance 1 from the small embeddings that suit an output
        self.embed = _embedding(vocab, embedding)
        self.embed_source = _embedding(source_vocab, embedding) if source_vocab and not shared else None
        self.condition = condition
        self.encoder = Encoder(cell, layers, embedding, width, bidirectional) if source_vocab else None
        attention = attention if source_vocab else "none"
        self.decoder = Decoder(cell, layers, embedding, width, attention, query, input_feeding)
        self.out = None if tied else nn.Linear(embedding, vocab, bias=False)
        self.out_bias = nn.Parameter(torch.zeros(vocab))
        self.state_size = width * (2 if cell == "lstm" else 1)
        places = {"embed": embedding, "readout": embedding} | {f"decoder.{i}": width for i in range(layers)}
        if source_vocab:
            places |= {"embed_source": embedding} | {f"encoder.{i}": width for i in range(layers)}
        self.places = places

    @property
    def noise_size(self) -> int:
        """Uniform numbers that the dropout of one text takes."""
        return sum(self.places.values())

    def masks(self, noise: Tensor, dropout: float) -> dict[str, Tensor]:
        """Dropout masks from noise f32[B, noise_size], the same at each step (Gal & Ghahramani 2016, section 4.1)."""
        kept = (noise >= dropout).float().unsqueeze(1) / (1 - dropout)
        return dict(zip(self.places, kept.split(list(self.places.values()), -1), strict=True))

    def begin(self, n: int, source: Tensor | None, c: Tensor | None, masks: dict[str, Tensor] | None = None) -> Memory:
        """Before the first token of n texts. source: i64[n, S], padded; c: what `condition` made, f32[n, E]."""
        masks, blank = masks or {}, self.embed.weight
        states = [blank.new_zeros(n, self.state_size) for _ in self.decoder.layers]
        encoded = None
        if self.encoder is not None:
            assert source is not None
            mask = source != self.pad
            table = self.embed if self.embed_source is None else self.embed_source
            x = table(reverse(source, mask) if self.reverse_source else source) * self.scale
            x = dropped(x, masks, "embed_source")
            values, states = self.encoder(x, mask, masks)
            if self.reverse_source:
                values = reverse(values, mask)  # alignments count tokens as they were given
            attention = self.decoder.attention
            encoded = Encoded(values, values if attention is None else attention.key(values), mask)
        feed = blank.new_zeros(n, blank.shape[1]) if self.decoder.input_feeding else None
        return Memory(states, encoded, c, feed, masks)

    def read(self, memory: Memory, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """tokens i64[B, T] -> readout[B, T, E] and attention f32[B, T, S] of those that follow."""
        x = self.embed(tokens) * self.scale
        if memory.condition is not None:
            x = x + memory.condition.unsqueeze(1)
        readout, weights = self.decoder(dropped(x, memory.masks, "embed"), memory)
        return readout, weights

    def logits(self, readout: Tensor) -> Tensor:
        """[..., E] -> [..., V]."""
        return F.linear(readout, self.projection, self.out_bias)

    @property
    def projection(self) -> Tensor:
        """Weight of the output, f32[V, E]."""
        return (self.embed if self.out is None else self.out).weight


class _ProjectedNll(torch.autograd.Function):
    """See `projected_nll`; the gradient is found along with the loss, while a piece of the logits is at hand."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, tokens: Tensor, smoothing: float, rows: int
    ) -> tuple[Tensor, Tensor]:
        w = weight.to(x.dtype)
        total, nll = bias.new_zeros(()), bias.new_zeros(())
        dx, dw, db = torch.empty_like(x), torch.zeros_like(weight), torch.zeros_like(bias)
        for part, token, dpart in zip(x.split(rows), tokens.split(rows), dx.split(rows), strict=True):
            z = (part @ w.t()).float().add_(bias)
            log_sum = z.logsumexp(-1, keepdim=True)
            missed = (log_sum - z.gather(1, token.unsqueeze(1))).sum()
            nll += missed
            total += (1 - smoothing) * missed + smoothing * (log_sum.sum() - z.mean(-1).sum())
            dz = z.sub_(log_sum).exp_().sub_(smoothing / len(weight))  # softmax - smoothed target
            dz.scatter_add_(1, token.unsqueeze(1), dz.new_full((len(token), 1), smoothing - 1))
            db += dz.sum(0)
            dz = dz.to(x.dtype)
            torch.mm(dz, w, out=dpart)
            dw += dz.t() @ part
        ctx.save_for_backward(dx, dw, db)
        ctx.mark_non_differentiable(nll)
        return total, nll

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> Any:
        dx, dw, db = ctx.saved_tensors
        return dx * grad.to(dx.dtype), dw * grad, db * grad, None, None, None


def projected_nll(
    x: Tensor, weight: Tensor, bias: Tensor, tokens: Tensor, smoothing: float = 0.0, rows: int = 512
) -> tuple[Tensor, Tensor]:
    """Sums over tokens i64[N] of the label-smoothed loss and of the plain NLL, f32[] each, under logits x W' + b.

    As losses.sequence.smoothed_nll, without ever holding the logits of more than `rows` tokens (Wijmans et al. 2025):
    on a CPU nearly three times as fast, since they then stay in its cache. x: [N, E]; weight: f32[V, E]; bias: f32[V].
    """
    total, nll = _ProjectedNll.apply(x, weight, bias, tokens, smoothing, rows)
    return total, nll


def _embedding(entries: int, width: int) -> nn.Embedding:
    table = nn.Embedding(entries, width)
    nn.init.normal_(table.weight, std=width**-0.5)
    return table
