"""Class-conditional flow matching (Lipman et al. 2023) with a small UNet of residual blocks, as libraries of flow
matching train on MNIST in their examples.

32 channels at 28x28, 64 at 14x14 and 7x7, a residual block a level and one more on the way up, attention at 7x7,
embeddings of time and class of 128; straight paths without coupling, Adam at 1e-3, batches of 128. Euler's method, ten
steps. (The published example attends at 28x28 as well, which on a CPU costs it most of its time.)
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, MULTIPLES, EMBEDDING, CLASSES, STEPS = 32, (1, 2, 2), 128, 10, 10


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.before = nn.Sequential(norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.told = nn.Sequential(nn.SiLU(), nn.Linear(EMBEDDING, outputs))
        self.after = nn.Sequential(norm(outputs), nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.after[-1].weight)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        return self.skip(x) + self.after(self.before(x) + self.told(told)[..., None, None])


class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = norm(channels), nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        cells = self.norm(x).flatten(2).transpose(1, 2)
        y = self.out(F.scaled_dot_product_attention(*self.qkv(cells).chunk(3, -1)))
        return x + y.transpose(1, 2).view_as(x)


class UNet(nn.Module):
    """f32[B, 1, 28, 28], times f32[B] in [0, 1] and labels i64[B] -> a velocity f32[B, 1, 28, 28]."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(WIDTH, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING))
        self.label = nn.Embedding(CLASSES, EMBEDDING)
        self.first = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.down, self.up, kept, channels = nn.ModuleList(), nn.ModuleList(), [WIDTH], WIDTH
        for level, multiple in enumerate(MULTIPLES):
            self.down.append(Block(channels, channels := WIDTH * multiple))
            kept.append(channels)
            if level < len(MULTIPLES) - 1:
                self.down.append(nn.Conv2d(channels, channels, 3, stride=2, padding=1))
                kept.append(channels)
        self.middle = nn.ModuleList([Block(channels, channels), Attention(channels), Block(channels, channels)])
        for level, multiple in reversed([*enumerate(MULTIPLES)]):
            for _ in range(2):
                self.up.append(Block(channels + kept.pop(), WIDTH * multiple))
                channels = WIDTH * multiple
            if level:
                self.up.append(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(channels, channels, 3, padding=1)))
        self.last = nn.Sequential(norm(channels), nn.SiLU(), nn.Conv2d(channels, 1, 3, padding=1))
        nn.init.zeros_(self.last[-1].weight)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        waves = t[:, None] * 1000 * torch.exp(-math.log(10_000) * torch.arange(WIDTH // 2) / (WIDTH // 2))
        told = self.time(torch.cat([waves.cos(), waves.sin()], 1)) + self.label(labels)
        kept = [x := self.first(x)]
        for part in self.down:
            kept.append(x := part(x, told) if isinstance(part, Block) else part(x))
        for part in self.middle:
            x = part(x, told) if isinstance(part, Block) else part(x)
        for part in self.up:
            x = part(torch.cat([x, kept.pop()], 1), told) if isinstance(part, Block) else part(x)
        return self.last(x)


class Peer:
    name, batch = "UNet flow", 128

    def __init__(self) -> None:
        self.net = UNet()
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3)

    def step(self, x: Tensor, labels: Tensor, done: float) -> None:
        """Of pictures f32[B, 1, 28, 28] in [-1, 1] and labels i64[B]; done: share of the time, unused."""
        noise, t = torch.randn(x.shape), torch.rand(len(x))
        self.optimizer.zero_grad()
        velocity = self.net(torch.lerp(noise, x, t[:, None, None, None]), t, labels)
        F.mse_loss(velocity, x - noise).backward()
        self.optimizer.step()

    def sample(self, n: int) -> Tensor:
        """f32[n, 1, 28, 28] in [-1, 1], of classes drawn evenly"""
        x, labels = torch.randn(n, 1, 28, 28), torch.randint(CLASSES, (n,))
        for step in range(STEPS):
            x = x + self.net(x, torch.full((n,), step / STEPS), labels) / STEPS
        return x.clamp(-1, 1)
