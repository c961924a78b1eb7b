"""A DCGAN (Radford et al. 2015) of the sizes and settings that small example scripts in PyTorch share.

Pictures of 32x32 (28x28 and a margin), 100 latents, upsampling and convolutions of 128 and 64 channels against strided
ones of 16 to 128 with dropout, batch norm in both; binary cross-entropy, Adam at 2e-4 with beta1 = 0.5, batches of 64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LATENT, MARGIN = 100, 2


def critic_block(inputs: int, outputs: int, norm: bool = True) -> list[nn.Module]:
    block = [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.LeakyReLU(0.2), nn.Dropout2d(0.25)]
    return [*block, nn.BatchNorm2d(outputs)] if norm else block


def generator_block(inputs: int, outputs: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    return [nn.Upsample(scale_factor=2), convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]


class Peer:
    name, batch = "DCGAN", 64

    def __init__(self) -> None:
        self.generator = nn.Sequential(
            nn.Linear(LATENT, 128 * 8 * 8), nn.Unflatten(1, (128, 8, 8)), nn.BatchNorm2d(128),
            *generator_block(128, 128), *generator_block(128, 64), nn.Conv2d(64, 1, 3, padding=1), nn.Tanh(),
        )  # fmt: skip
        self.critic = nn.Sequential(
            *critic_block(1, 16, norm=False), *critic_block(16, 32), *critic_block(32, 64), *critic_block(64, 128),
            nn.Flatten(), nn.Linear(128 * 2 * 2, 1),
        )  # fmt: skip
        for net in (self.generator, self.critic):
            for part in net:
                if isinstance(part, nn.Conv2d):
                    nn.init.normal_(part.weight, std=0.02)
        self.optimizers = [
            torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (self.generator, self.critic)
        ]

    def step(self, x: Tensor, labels: Tensor, done: float) -> None:
        """Of pictures f32[B, 1, 28, 28] in [-1, 1]; knows neither labels nor how much of the time is done."""
        ours, theirs = self.optimizers
        real, ones, zeros = F.pad(x, (MARGIN,) * 4, value=-1.0), torch.ones(len(x), 1), torch.zeros(len(x), 1)
        fake = self.generator(torch.randn(len(x), LATENT))
        ours.zero_grad()
        F.binary_cross_entropy_with_logits(self.critic(fake), ones).backward()
        ours.step()
        theirs.zero_grad()
        told = [(self.critic(real), ones), (self.critic(fake.detach()), zeros)]
        (sum(F.binary_cross_entropy_with_logits(*pair) for pair in told) / 2).backward()
        theirs.step()

    def sample(self, n: int) -> Tensor:
        """f32[n, 1, 28, 28] in [-1, 1]"""
        made = self.generator.eval()(torch.randn(n, LATENT))
        return made[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
