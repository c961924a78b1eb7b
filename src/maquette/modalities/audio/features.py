"""What sounds are compared by: the network that distances are measured in, and their spectrograms."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from maquette.evaluation.features import Build
from maquette.modalities.audio.own_features import own_features
from maquette.nets.spectrogram import power

SIZE = 256  # samples of a frame, whatever the rate: this compares, and measures nothing
BANDS, FRAMES = 16, 32


def comparable(items: Tensor) -> Tensor:
    """f32[B, C, N] -> f32[B, D]: how loud each frequency is over time, in Bel from -6 up, coarsely, scaled so that
    |a - b| is the root mean square: a copy that is a little later, or noisy, is near."""
    bel = (power(items.mean(1), SIZE, SIZE // 2) / (SIZE / 4) ** 2 + 1e-6).log10()
    coarse = F.adaptive_avg_pool2d(bel, (BANDS, min(FRAMES, bel.shape[-1])))
    return coarse.flatten(1) / math.sqrt(coarse[0].numel())


FEATURES: Mapping[str, Build] = {"own": own_features}
