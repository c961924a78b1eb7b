"""A recurrent critic of texts: how much likelier each token is in real text than its writer thinks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Memory:
    """The recurrent state of B texts, f32[B, W]."""

    state: Tensor

    def rows(self, index: Tensor) -> Memory:
        return Memory(self.state[index])


class TextCritic(nn.Module):
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

    def begin(self, n: int) -> Memory:
        return Memory(self.embed.weight.new_zeros(n, self.rnn.hidden_size))

    def advance(self, memory: Memory, tokens: Tensor, features: Tensor) -> Tensor:
        """Tokens i64[B, T] and features f32[B, T, F] that follow those read before; the memory moves on, in place."""
        x = torch.cat([self.embed(tokens), features], -1)
        h, last = self.rnn(x, memory.state.to(x.dtype).unsqueeze(0).contiguous())
        memory.state = last[0]
        ratio: Tensor = self.out(torch.relu(self.hidden(torch.cat([h, features.to(h.dtype)], -1))))
        return ratio.squeeze(-1).float()
