"""DCGAN (Radford et al. 2015): strided and transposed 4x4 convolutions with batch-norm, for any size of picture.

The paper's 64x64 is four doublings from 4x4. Here the number of doublings follows from the size: as many as
leave a base grid of at least 4 cells a side (28 = 7 * 2^2, 32 = 4 * 2^3, 64 = 4 * 2^4); sizes that do not
divide are rounded up and cropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.nets.condition import Condition
from maquette.nets.leaky import SLOPE, LeakyReLU
from maquette.nets.mlp import with_condition


@dataclass(frozen=True)
class Stages:
    """doublings between the base grid (rows, columns) and the picture, and the channels at each, base first."""

    doublings: int
    base: tuple[int, int]
    channels: tuple[int, ...]

    @classmethod
    def of(cls, shape: Sequence[int], width: int) -> Stages:
        _, height, columns = shape
        doublings = max(1, (min(height, columns) // 4).bit_length() - 1)
        base = (-(-height // 2**doublings), -(-columns // 2**doublings))
        return cls(doublings, base, tuple(width << i for i in reversed(range(doublings))))


class DcganGenerator(nn.Module):
    """z f32[B, latent_dim], c f32[B, width of `condition`] or None -> f32[B, C, H, W] in [-1, 1].

    condition: the encoder of what is given, which makes c; None: nothing is
    """

    def __init__(self, shape: Sequence[int], condition: Condition | None, latent_dim: int, width: int) -> None:
        super().__init__()
        self.shape, self.condition = tuple(shape), condition
        stages = Stages.of(shape, width)
        inputs = latent_dim + (condition.width if condition else 0)
        layers: list[nn.Module] = [nn.ConvTranspose2d(inputs, stages.channels[0], stages.base, bias=False)]
        for i, channels in enumerate(stages.channels):
            last = i == stages.doublings - 1
            outputs = shape[0] if last else stages.channels[i + 1]
            layers += [nn.BatchNorm2d(channels), nn.ReLU()]
            layers += [nn.ConvTranspose2d(channels, outputs, 4, stride=2, padding=1, bias=last)]
        self.layers = nn.Sequential(*layers).apply(init_dcgan)

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        _, height, width = self.shape
        return self.layers(with_condition(z, c)[:, :, None, None])[..., :height, :width].float().tanh()


class DcganCritic(nn.Module):
    """x f32[B, C, H, W] in [-1, 1], c as above -> logits f32[B]. What is given comes as constant channels."""

    def __init__(self, shape: Sequence[int], condition: Condition | None, width: int) -> None:
        super().__init__()
        self.condition = condition
        stages = Stages.of(shape, width)
        _, height, columns = shape
        full = [side << stages.doublings for side in stages.base]
        self.spare = (0, full[1] - columns, 0, full[0] - height)
        inputs = shape[0] + (condition.width if condition else 0)
        layers: list[nn.Module] = []
        for i, channels in enumerate(reversed(stages.channels)):
            # The paper leaves batch-norm out of the first layer of D, which would hide the mean colour.
            layers += [nn.Conv2d(inputs, channels, 4, stride=2, padding=1, bias=i == 0)]
            layers += [nn.BatchNorm2d(channels)] if i else []
            layers += [LeakyReLU(SLOPE)]
            inputs = channels
        layers += [nn.Conv2d(inputs, 1, stages.base, bias=False)]
        self.layers = nn.Sequential(*layers).apply(init_dcgan)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        x = F.pad(x, self.spare, mode="replicate") if any(self.spare) else x
        if c is not None:
            x = torch.cat([x, c.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)
        return self.layers(x).float().flatten()


def init_dcgan(module: nn.Module) -> None:
    """Weights ~ N(0, 0.02), those of batch-norm ~ N(1, 0.02) (Radford et al. 2015, section 4)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
