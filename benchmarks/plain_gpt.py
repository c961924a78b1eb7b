"""A plain character model of tinyshakespeare, as a well-known small GPT trains on a CPU: what ours stands beside.

    MAQUETTE_DATA=... python benchmarks/plain_gpt.py

4 layers of 4 heads, 128 wide, windows of 64 characters, 12 of them a step, 2,000 steps of AdamW in float32, learned
positions, GELU, no dropout: the settings of nanoGPT's recipe for a CPU, in code of our own. Prints the wall time, and
the loss over the whole validation split in windows that do not overlap.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYERS, HEADS, WIDTH, CONTEXT, BATCH, STEPS = 4, 4, 128, 64, 12, 2000


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


class PlainGPT(nn.Module):
    def __init__(self, vocab: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(vocab, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.head = nn.LayerNorm(WIDTH, bias=False), nn.Linear(WIDTH, vocab, bias=False)
        self.head.weight = self.token.weight
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                nn.init.normal_(weight, std=0.02 / (math.sqrt(2 * LAYERS) if name.endswith(("out", "down")) else 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """i64[B, T] -> logits f32[B, T, vocab]."""
        x = self.token(tokens) + self.place.weight[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def rate(step: int) -> float:
    """1e-3 after 100 steps of warm-up, then a cosine down to 1e-4."""
    if step < 100:
        return 1e-3 * (step + 1) / 101
    return 1e-4 + 0.5 * (1 + math.cos(math.pi * (step - 100) / (STEPS - 100))) * 9e-4


def main() -> None:
    text = (Path(os.environ["MAQUETTE_DATA"]) / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    number = {character: i for i, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([number[character] for character in text])
    train, held_out = tokens[: int(0.9 * len(tokens))], tokens[int(0.9 * len(tokens)) :]
    torch.manual_seed(0)
    model = PlainGPT(len(number))
    groups = [
        {"params": [p for p in model.parameters() if p.ndim == 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
    began = time.perf_counter()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        starts = torch.randint(len(train) - CONTEXT, (BATCH,))
        window = train[starts[:, None] + torch.arange(CONTEXT + 1)]
        loss = F.cross_entropy(model(window[:, :-1]).flatten(0, 1), window[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    seconds = time.perf_counter() - began
    with torch.no_grad():
        whole = (len(held_out) - 1) // CONTEXT * CONTEXT
        x, y = held_out[:whole].view(-1, CONTEXT), held_out[1 : whole + 1].view(-1, CONTEXT)
        parts = zip(x.split(256), y.split(256), strict=True)
        total = sum(F.cross_entropy(model(a).flatten(0, 1), b.flatten(), reduction="sum").item() for a, b in parts)
    print(f"plain GPT: {seconds:.1f} s, {STEPS * BATCH * CONTEXT / seconds:,.0f} characters/s")
    print(f"validation loss, {whole:,} characters: {total / whole:.3f} nats/character")


if __name__ == "__main__":
    main()
