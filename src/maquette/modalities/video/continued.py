"""Held-out clips continued from their first frames, beside what came, for measures and for the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.model import Continues
from maquette.core.progress import track
from maquette.core.rng import ItemRng
from maquette.core.spec import ColumnSpec
from maquette.evaluation.bootstrap import Array
from maquette.evaluation.similarity import psnr, ssim

AT_ONCE = 32  # clips
DRAWS = 5  # of a model that answers differently each time
SMALLEST = 11  # cells of a side, that a similarity of structure needs
PLAIN: Mapping[
    str, Callable[[Tensor], Tensor]
] = {  # what any continuation is held against: f32[B, C, T, H, W] -> a frame
    "the last frame repeated": lambda first: first[:, :, -1:],
    "black": lambda first: torch.full_like(first[:, :, :1], -1.0),
    "the mean of those given": lambda first: first.mean(2, keepdim=True),
}


@dataclass(frozen=True)
class Errors:
    """Of n clips, over t frames that were to come.

    squared: f64[n, t], sums over all values of a frame from 0 to 1: Moving MNIST's convention
    psnr, ssim: f64[n, t]; of frames that are too small, no ssim
    """

    squared: Array
    psnr: Array
    ssim: Array | None


@dataclass(frozen=True)
class Continued:
    """given: frames that were seen      made: of each draw      plain: by the name of what it is held against"""

    given: int
    made: list[Errors]
    plain: dict[str, Errors]

    @property
    def best(self) -> Array:
        """f64[n]: the squared error a frame of the best of all draws."""
        return np.min([errors.squared.mean(1) for errors in self.made], axis=0)


def given_frames(model: Continues, spec: ColumnSpec) -> int | None:
    """How many frames a held-out clip is continued from: half of them, or as many as the model looks at; None where no
    frame would be left."""
    first = max(model.seen, spec.shape[1] // 2)
    return first if first < spec.shape[1] else None


def extended(model: Continues, clips: Tensor, first: int, given: Mapping[str, Tensor], rows: Any, seed: int) -> Tensor:
    """f32[B, C, T, H, W] -> f32[B, C, T - first, H, W]: what the model makes of their first frames."""
    rng = ItemRng(seed, [int(row) for row in rows], clips.device)
    with torch.no_grad():
        return model.extend(clips[:, :, :first], clips.shape[2] - first, dict(given), rng).clamp(-1, 1)


def continued(
    model: Continues, batches: Callable[[np.ndarray], Batch], rows: np.ndarray, column: str, first: int, seed: int
) -> Continued:
    """All of these rows. batches: rows -> their clips, on the model's device"""
    made: list[list[Errors]] = [[]]
    plain: dict[str, list[Errors]] = {name: [] for name in PLAIN}
    for some in track(np.array_split(rows, -(-len(rows) // AT_ONCE)), "continuing"):
        batch = batches(some)
        clips = batch.target[column]
        real = clips[:, :, first:]
        for draw in range(DRAWS):
            if draw >= len(made):
                break
            found = extended(model, clips, first, batch.given, some, seed + draw)
            made[draw].append(errors(found, real))
            if draw == 0 and len(made) == 1 and len(made[0]) == 1:  # does it answer differently each time?
                other = extended(
                    model, clips[:1], first, {k: v[:1] for k, v in batch.given.items()}, some[:1], seed + 1
                )
                if not torch.allclose(other, found[:1], atol=1e-3):
                    made += [[] for _ in range(DRAWS - 1)]
        for name, guess in PLAIN.items():
            plain[name].append(errors(guess(clips[:, :, :first]).expand_as(real), real))
    return Continued(first, [_joined(part) for part in made], {name: _joined(part) for name, part in plain.items()})


def errors(made: Tensor, real: Tensor) -> Errors:
    """Of f32[B, C, t, H, W] in [-1, 1]."""
    n, frames = len(real), real.shape[2]
    a, b = (x.transpose(1, 2).flatten(0, 1).float() for x in (made, real))
    squared = ((a - b) / 2).square().flatten(1).sum(1)
    alike = ssim(a, b) if min(real.shape[-2:]) >= SMALLEST else None

    def table(values: Tensor) -> Array:
        found: Array = values.double().cpu().numpy().reshape(n, frames)
        return found

    return Errors(table(squared), table(psnr(a, b)), None if alike is None else table(alike))


def _joined(parts: list[Errors]) -> Errors:
    alike = [part.ssim for part in parts if part.ssim is not None]
    return Errors(
        np.concatenate([part.squared for part in parts]), np.concatenate([part.psnr for part in parts]),
        np.concatenate(alike) if alike else None,
    )  # fmt: skip
