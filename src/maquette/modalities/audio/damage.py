"""Known damage to sounds, for measures to be tried on: with crackle, as if through a wall, and sped up or slowed down.

None of them is among those that the own network learns to tell from clean sounds (flaws.py).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from maquette.core.measure import Damage
from maquette.core.spec import ColumnSpec
from maquette.modalities.audio.flaws import spectrum

CRACKLE = (0.0001, 0.001)  # share of the samples, mild and strong: one click and ten in a second of speech, about
STEEP = (2.0, 5.0)  # octaves over which the wall takes 10 dB, from the lowest frequency on: 1 / so much
FASTER = (1.25, 1.7)
RUNAWAY = (0.1, 0.5)


def _crackling(items: Tensor, spec: ColumnSpec, strength: int, rng: np.random.Generator) -> Tensor:
    hit = torch.from_numpy(rng.random(items.shape, dtype=np.float32) < CRACKLE[strength - 1])
    loud = items.abs().amax((1, 2), keepdim=True)
    return torch.where(hit, loud * torch.from_numpy(rng.choice([-1.0, 1.0], items.shape)).float(), items)


def _muffled(items: Tensor, spec: ColumnSpec, strength: int, rng: np.random.Generator) -> Tensor:
    waves, share = spectrum(items)
    return torch.fft.irfft(waves * (1 + 32 * share) ** (-STEEP[strength - 1] / 2), items.shape[-1])


def _faster(items: Tensor, spec: ColumnSpec, strength: int, rng: np.random.Generator) -> Tensor:
    length = int(items.shape[-1] / FASTER[strength - 1])
    made = torch.nn.functional.interpolate(items, length, mode="linear", antialias=False)
    return torch.nn.functional.pad(made, (0, items.shape[-1] - length))


def _running_away(items: Tensor, spec: ColumnSpec, strength: int, rng: np.random.Generator) -> Tensor:
    """A tenth, or half, of the sounds silent or noise without an end."""
    away = torch.from_numpy(rng.random(len(items)) < RUNAWAY[strength - 1])[:, None, None]
    noise = (
        torch.from_numpy(rng.uniform(-0.5, 0.5, items.shape)).float() * (torch.arange(len(items)) % 2)[:, None, None]
    )
    return torch.where(away, noise, items)


DAMAGES = (
    Damage("with crackle", "item", _crackling),
    Damage("muffled", "item", _muffled),
    Damage("faster and higher", "item", _faster),
    Damage("silent, or noise without an end", "runaway", _running_away),
)
