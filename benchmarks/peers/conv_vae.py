"""A convolutional VAE (Kingma & Welling 2014) as a well-known library of VAEs has it for MNIST by default.

Strided convolutions of 128, 256, 512 and 1,024 channels with batch norm, 16 latents, transposed ones back; the sum of
squared errors of a picture and the KL divergence, Adam at 1e-4, batches of 64. Pictures are in [0, 1] within.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LATENT = 16


def down(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]


class Peer:
    name, batch = "conv VAE", 64

    def __init__(self) -> None:
        self.encoder = nn.Sequential(
            *down(1, 128), *down(128, 256), *down(256, 512), *down(512, 1024), nn.Flatten(), nn.Linear(1024, 2 * LATENT)
        )
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, 1024 * 4 * 4), nn.Unflatten(1, (1024, 4, 4)),
            nn.ConvTranspose2d(1024, 512, 3, stride=2, padding=1), nn.BatchNorm2d(512), nn.ReLU(),
            nn.ConvTranspose2d(512, 256, 3, stride=2, padding=1, output_padding=1), nn.BatchNorm2d(256), nn.ReLU(),
            nn.ConvTranspose2d(256, 1, 3, stride=2, padding=1, output_padding=1), nn.Sigmoid(),
        )  # fmt: skip
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=1e-4)

    def step(self, x: Tensor, labels: Tensor, done: float) -> None:
        """Of pictures f32[B, 1, 28, 28] in [-1, 1]; knows neither labels nor how much of the time is done."""
        x = (x + 1) / 2
        self.optimizer.zero_grad()
        mean, log_variance = self.encoder(x).chunk(2, 1)
        back = self.decoder(mean + torch.randn(mean.shape) * (log_variance / 2).exp())
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum() / 2
        ((F.mse_loss(back, x, reduction="sum") + divergence) / len(x)).backward()
        self.optimizer.step()

    def sample(self, n: int) -> Tensor:
        """f32[n, 1, 28, 28] in [-1, 1], means given draws of the prior"""
        return 2 * self.decoder.eval()(torch.randn(n, LATENT)) - 1
