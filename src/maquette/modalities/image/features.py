"""What pictures are compared by: networks that distances are measured in, and their pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.core.table import Dataset
from maquette.evaluation.features import Build, FeatureNetwork, Notify
from maquette.modalities.image.inception import inception_features
from maquette.modalities.image.own_features import own_features

SIDE = 32  # pictures are averaged down to this, so that large ones stay affordable: copies survive shrinking


def comparable(items: Tensor) -> Tensor:
    """f32[B, C, H, W] -> f32[B, D], at most SIDE x SIDE pixels, scaled so that |a - b| is the root mean square."""
    h, w = items.shape[-2:]
    if h > SIDE or w > SIDE:
        items = F.adaptive_avg_pool2d(items, (min(h, SIDE), min(w, SIDE)))
    flat = items.flatten(1).contiguous()
    return flat / math.sqrt(flat.shape[1])


def _inception(
    dataset: Dataset, column: str, label: str | None, device: torch.device, cache: Path | None, notify: Notify
) -> FeatureNetwork:
    return inception_features(cache, device)


FEATURES: Mapping[str, Build] = {"own": own_features, "inception": _inception}
