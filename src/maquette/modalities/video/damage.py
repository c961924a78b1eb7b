"""Known damage to clips, for measures to be tried on: frames shuffled, frozen, with specks, blurred.

None of them is among those that the own network learns to tell from sound clips (flaws.py). Backwards is none: of many
clips nobody could tell it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from maquette.core.measure import Damage
from maquette.core.spec import ColumnSpec
from maquette.sampling.degrade import blur

SHUFFLED = (0.5, 1.0)  # share of the frames that change places, mild and strong
FROZEN = (0.5, 0.8)  # share of the clip that stands still at its end
SPECKS = (0.02, 0.1)  # share of the pixels, in each frame others, that are black or white


def _shuffled(items: Tensor, spec: ColumnSpec, strength: int, rng: np.random.Generator) -> Tensor:
    made, count = items.clone(), items.shape[2]
    for clip in made:
        some = np.sort(rng.permutation(count)[: max(int(SHUFFLED[strength - 1] * count), 2)])
        clip[:, some] = clip[:, np.roll(rng.permutation(some), 1)]
    return made


def _frozen(items: Tensor, spec: ColumnSpec, strength: int, rng: np.random.Generator) -> Tensor:
    last = int(items.shape[2] * (1 - FROZEN[strength - 1]))
    return items[:, :, torch.arange(items.shape[2]).clamp(max=last)]


def _specked(items: Tensor, spec: ColumnSpec, strength: int, rng: np.random.Generator) -> Tensor:
    hit = torch.from_numpy(rng.random((len(items), 1, *items.shape[2:]), dtype=np.float32) < SPECKS[strength - 1])
    return torch.where(hit, torch.from_numpy(rng.choice([-1.0, 1.0], hit.shape)).float(), items)


def _blurred(items: Tensor, spec: ColumnSpec, strength: int, rng: np.random.Generator) -> Tensor:
    sigma = strength * max(0.6, 0.025 * max(items.shape[-2:]))
    frames = items.transpose(1, 2).flatten(0, 1)
    return blur(frames, torch.full((len(frames),), sigma)).unflatten(0, (len(items), -1)).transpose(1, 2)


DAMAGES = (
    Damage("with its frames shuffled", "item", _shuffled),
    Damage("frozen", "item", _frozen),
    Damage("with specks", "item", _specked),
    Damage("blurred", "item", _blurred),
)
