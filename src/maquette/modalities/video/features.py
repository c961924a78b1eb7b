"""What clips are compared by: the network that distances are measured in, and their frames."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from maquette.evaluation.features import Build
from maquette.modalities.video.own_features import own_features

FRAMES, SIDE = 8, 16  # clips are averaged down to this: copies survive it


def comparable(items: Tensor) -> Tensor:
    """f32[B, C, T, H, W] -> f32[B, D], scaled so that |a - b| is the root mean square."""
    frames, height, width = items.shape[2:]
    small = F.adaptive_avg_pool3d(items, (min(frames, FRAMES), min(height, SIDE), min(width, SIDE)))
    flat = small.flatten(1).contiguous()
    return flat / math.sqrt(flat.shape[1])


FEATURES: Mapping[str, Build] = {"own": own_features}
