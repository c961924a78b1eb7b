"""Posterior sampling with a flow that never saw a corrupted picture: pure functions along its velocity field.

x_t = (1 - t) e + t x (losses/flow_matching.py), so the velocity v(x_t, t) also says what the picture is expected to be,
E[x | x_t] = x_t + (1 - t) v. Samplers here take that estimate, correct it by what is known, and go on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from maquette.sampling.degrade import Observation
from maquette.sampling.ode import Field, over

Correct = Callable[[Tensor, Tensor], Tensor]  # (E[x | x_t], t) -> what it should be


def expected(field: Field, x: Tensor, t: Tensor) -> Tensor:
    """E[x | x_t] of x_t f32[B, C, H, W] at times f32[B]."""
    return x + over(1 - t, x) * field(x, t)


def corrected(
    field: Field, x: Tensor, times: Tensor, correct: Correct, noise: Callable[[], Tensor], repeats: int = 1
) -> Tensor:  # fmt: skip
    """x_s = s correct(E[x | x_t], t) + (1 - s) e with new noise e: DDNM for a flow (Wang et al. 2023, alg. 1, but that
    all of the noise is drawn anew).

    repeats: times that each step is made, from x_s back to x_t in between (RePaint: Lugmayr et al. 2022, alg. 1), by
             x_t = (t / s) x_s + noise of the variance that is missing. So what is filled in comes to fit what is seen
    times:   f32[S + 1], rising to 1      noise: draws N(0, I) f32[B, C, H, W]
    """
    for t, s in pairwise(times):
        missing = ((1 - t) ** 2 - (t / s * (1 - s)) ** 2).clamp(min=0).sqrt()
        for left in reversed(range(repeats)):
            clean = correct(expected(field, x, t.expand(len(x))), t)
            x = s * clean + (1 - s) * noise()
            if left:
                x = t / s * x + missing * noise()
    return x


def agreeing(observation: Observation, y: Tensor, level: float = 0.0, std: float = 0.5) -> Correct:
    """Moves an estimate to the nearest picture of which y is seen; with noise of this level in y, only part of the way
    (DDNM+; Wang et al. 2023, section 3.3).

    std: of the data. The variance of x given x_t is taken as that of Gaussian data: std^2 (1 - t)^2 / Var x_t.
    """

    def correct(clean: Tensor, t: Tensor) -> Tensor:
        left = std**2 * (1 - t) ** 2 / ((t * std) ** 2 + (1 - t) ** 2)
        return observation.project(clean, y, level**2 / float(left.clamp(min=1e-6)))

    return correct


def carry_on(field: Field, x: Tensor, start: Tensor, steps: int, noise: Callable[[], Tensor]) -> Tensor:
    """Items f32[B, C, H, W] at times f32[B] of their own -> data, a sample of p(x | x_t) for each.

    By `steps` draws from p(x_s | x_t, x) with E[x | x_t] for x: ancestral sampling (Ho et al. 2020, eq. 7).
    `ode.stochastic` has the same distribution at each t, but not given where it began.
    """
    h = (1 - start) / steps
    for step in range(steps):
        t, s = start + step * h, start + (step + 1) * h
        clean = expected(field, x, t)
        left = t * (1 - s) ** 2 / (s * (1 - t) ** 2)  # of the noise in x_t
        fresh = (1 - s) * (1 - (t * (1 - s) / (s * (1 - t))) ** 2).clamp(min=0).sqrt()
        x = over(s, x) * clean + over(left, x) * (x - over(t, x) * clean) + over(fresh, x) * noise()
    return x


def time_of(level: Tensor) -> Tensor:
    """Where a flow has as much noise as a picture x + level e: t (x + level e) = x_t at t = 1 / (1 + level)."""
    return 1 / (1 + level)


def noise_level(y: Tensor) -> Tensor:
    """Standard deviations f32[B] of the noise in pictures f32[B, C, H, W] in [-1, 1]: the median of the finest diagonal
    Haar coefficients over that of a normal (Donoho & Johnstone 1994, section 4.2).

    Noise beyond black or white is cut off in a file. Of four values max(0, e), the median is 0.394 instead of 0.674;
    half of such pixels are at the limit, so twice their share says how much of the picture is so.
    """
    rows, columns = (size // 2 * 2 for size in y.shape[2:])
    even, odd = y[:, :, :rows:2, :columns], y[:, :, 1:rows:2, :columns]
    detail = (even[..., ::2] - even[..., 1::2] - odd[..., ::2] + odd[..., 1::2]) / 2
    cut = (2 * (y.abs() >= 1).flatten(1).float().mean(1)).clamp(max=1)
    return detail.abs().flatten(1).median(1).values / (0.674 - 0.28 * cut)


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """From codes a to codes b f32[B, D] along the great circle, f32[B, D], with shares f32[B] in [0, 1] (Shoemake 1985;
    White 2016, section 2.1): what lies between normal codes is as far from 0 as they are."""
    a_norm, b_norm = (v.norm(dim=1, keepdim=True).clamp(min=1e-12) for v in (a, b))
    angle = ((a / a_norm) * (b / b_norm)).sum(1, keepdim=True).clamp(-1, 1).acos()
    share = share.view(-1, 1)
    near = angle.sin().abs() < 1e-4  # on one line: straight
    sine = torch.where(near, torch.ones_like(angle), angle.sin())
    round_ = ((1 - share) * angle).sin() / sine * a + (share * angle).sin() / sine * b
    return torch.where(near, torch.lerp(a, b, share), round_)
