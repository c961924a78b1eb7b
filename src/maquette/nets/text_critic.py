"""Critics of texts: how much likelier each token is in real text than its writer thinks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Memory:
    """What was read of B texts: a recurrent state f32[B, W], or the last tokens i64[B, N]."""

    state: Tensor

    def rows(self, index: Tensor) -> Memory:
        return Memory(self.state[index])


class RecurrentCritic(nn.Module):
    """Log-ratio log p(x_t | before) / p_writer(x_t | before) of each token, f32[B, T], from a GRU over the text so far.

    Their sum over a continuation is the logit that it is real, by the chain rule. The output starts at zero.

    vocab, width: tokens known, and numbers in the state
    features:     numbers that come with each token: what language models think of it
    """

    def __init__(self, vocab: int, width: int, features: int, embedding: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, embedding)
        self.rnn = nn.GRU(embedding + features, width, batch_first=True)
        self.hidden, self.out = nn.Linear(width + features, width), nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    reads_opinions = True

    def begin(self, n: int) -> Memory:
        return Memory(self.embed.weight.new_zeros(n, self.rnn.hidden_size))

    def advance(self, memory: Memory, tokens: Tensor, features: Tensor | None) -> Tensor:
        """Tokens i64[B, T] and features f32[B, T, F] that follow those read before; the memory moves on, in place."""
        assert features is not None  # it reads opinions
        x = torch.cat([self.embed(tokens), features], -1)
        h, last = self.rnn(x, memory.state.to(x.dtype).unsqueeze(0).contiguous())
        memory.state = last[0]
        ratio: Tensor = self.out(torch.relu(self.hidden(torch.cat([h, features.to(h.dtype)], -1))))
        return ratio.squeeze(-1).float()


class NgramCritic(nn.Module):
    """Log-ratio of each token, f32[B, T]: a sum of one weight for each of the n-grams that end with it.

    Over a text that is linear in its counts of n-grams, so a writer p steered by it is p(x) exp(w . counts(x)) / Z:
    of all texts the nearest to the writer's whose n-grams are as frequent as in real text (Della Pietra et al. 1997,
    eq. 3; as a whole-sentence model Rosenfeld et al. 2001). It cannot see more, and so cannot be led astray by more.

    vocab:  tokens known
    order:  the longest n-gram
    rows:   weights for each length; where there are more n-grams than that, they share
    """

    reads_opinions = False

    def __init__(self, vocab: int, order: int = 4, rows: int = 1 << 16) -> None:
        super().__init__()
        self.vocab, self.order = vocab, order
        self.rows = [min(rows, vocab**n) for n in range(1, order + 1)]
        self.weights = nn.ModuleList(nn.Embedding(n, 1) for n in self.rows)
        for weight in self.weights.parameters():
            nn.init.zeros_(weight)

    def begin(self, n: int) -> Memory:
        device = next(self.parameters()).device
        return Memory(torch.zeros(n, self.order - 1, dtype=torch.int64, device=device))

    def advance(self, memory: Memory, tokens: Tensor, features: Tensor | None = None) -> Tensor:
        """Tokens i64[B, T] that follow those read before; the memory moves on, in place."""
        read = torch.cat([memory.state, tokens], 1)
        memory.state = read[:, read.shape[1] - self.order + 1 :]
        length = tokens.shape[1]
        code = torch.zeros_like(tokens)
        total = torch.zeros(tokens.shape, device=tokens.device)
        for back, (table, rows) in enumerate(zip(self.weights, self.rows, strict=True)):
            first = self.order - 1 - back
            code = code * self.vocab + read[:, first : first + length]
            full = self.vocab ** (back + 1) > rows
            total = total + table((code * 0x9E3779B1 >> 12) % rows if full else code).squeeze(-1)
        return total.float()
