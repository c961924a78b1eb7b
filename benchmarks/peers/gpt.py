"""A small GPT over characters, with the settings of a well-known recipe for training one on a CPU.

4 layers of 4 heads, 128 wide, windows of 64 characters, 12 of them a step; AdamW at 1e-3 after 100 steps of warm-up,
then a cosine to a tenth over the time there is; learned positions, GELU, no dropout, gradients clipped at 1.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYERS, HEADS, WIDTH, CONTEXT, WARM_UP = 4, 4, 128, 64, 100


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = (part.view(b, t, HEADS, -1).transpose(1, 2) for part in self.qkv(self.before(x)).split(WIDTH, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, WIDTH))
        return x + self.down(F.gelu(self.up(self.between(x))))


class GPT(nn.Module):
    def __init__(self, vocab: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(vocab, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.head = nn.LayerNorm(WIDTH, bias=False), nn.Linear(WIDTH, vocab, bias=False)
        self.head.weight = self.token.weight
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                last = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / (math.sqrt(2 * LAYERS) if last else 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """i64[B, T] -> logits f32[B, T, vocab]"""
        x = self.token(tokens) + self.place.weight[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def halves(file: Path) -> tuple[Tensor, Tensor, int]:
    """The characters of a text as numbers, i64 each: the first nine tenths, the last tenth; and how many there are."""
    text = file.read_text(encoding="utf-8")
    number = {character: i for i, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([number[character] for character in text])
    at = int(0.9 * len(tokens))
    return tokens[:at], tokens[at:], len(number)


class Peer:
    name, batch = "small GPT", 12

    def __init__(self, vocab: int) -> None:
        self.net, self.steps = GPT(vocab), 0
        groups = [
            {"params": [p for p in self.net.parameters() if p.ndim == 2], "weight_decay": 0.1},
            {"params": [p for p in self.net.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)

    def step(self, tokens: Tensor, done: float) -> None:
        """Of windows drawn from i64[N]; done: the share of the time that is over."""
        starts = torch.randint(len(tokens) - CONTEXT, (self.batch, 1))
        windows = tokens[starts + torch.arange(CONTEXT + 1)]
        self.steps += 1
        warmth, cosine = min(1.0, self.steps / WARM_UP), (1 + math.cos(math.pi * done)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = 1e-3 * warmth * (0.1 + 0.9 * cosine)
        self.optimizer.zero_grad()
        F.cross_entropy(self.net(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten()).backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()

    @torch.no_grad()
    def nats(self, tokens: Tensor) -> float:
        """Mean nats a token of i64[N], in windows that do not overlap."""
        whole = (len(tokens) - 1) // CONTEXT * CONTEXT
        x, y = tokens[:whole].view(-1, CONTEXT), tokens[1 : whole + 1].view(-1, CONTEXT)
        parts = zip(x.split(256), y.split(256), strict=True)
        losses = (F.cross_entropy(self.net(a).flatten(0, 1), b.flatten(), reduction="sum") for a, b in parts)
        return float(sum(losses)) / whole
