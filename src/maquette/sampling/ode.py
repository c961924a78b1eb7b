"""Solvers that carry items from one time to another along a velocity field: pure functions.

A field is `field(x, t) -> dx/dt` with x f32[B, ...] and t f32[B]. Nothing couples the items of a batch: each has its
own error and its own steps where steps adapt, so what becomes of one does not depend on the others. `times`
f32[S + 1] are the ends of S steps, rising or falling.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]
MeanVelocity = Callable[[Tensor, Tensor, Tensor], Tensor]  # u(x, t, h): the mean velocity from t to t + h


def _at(t: Tensor, x: Tensor) -> Tensor:
    """A time for each item, f32[B]."""
    return t.to(x).expand(len(x))


def over(v: Tensor, x: Tensor) -> Tensor:
    """Numbers f32[B] beside items f32[B, ...]."""
    return v.view(-1, *[1] * (x.ndim - 1))


def times(steps: int, shift: float = 1.0) -> Tensor:
    """Ends of steps from noise (0) to data (1), f32[steps + 1]: even, or shifted towards the data, where steps are
    then `shift` times smaller than even ones (Esser et al. 2024, eq. 23, the other way)."""
    u = torch.linspace(0, 1, steps + 1)
    return shift * u / (1 + (shift - 1) * u)


def euler(field: Field, x: Tensor, times: Tensor) -> Tensor:
    """x <- x + h v(x, t): order 1, one evaluation per step (Euler 1768)."""
    for t, s in pairwise(times):
        x = x + (s - t) * field(x, _at(t, x))
    return x


def jump(flow_map: MeanVelocity, x: Tensor, times: Tensor) -> Tensor:
    """x <- x + h u(x, t, h), u the mean velocity over the step: exact for any step where u is (Frans et al. 2024,
    alg. 2; Geng et al. 2025, eq. 12)."""
    for t, s in pairwise(times):
        x = x + (s - t) * flow_map(x, _at(t, x), _at(s - t, x))
    return x


def midpoint(field: Field, x: Tensor, times: Tensor) -> Tensor:
    """A step with the velocity half-way: order 2, two evaluations (Runge 1895)."""
    for t, s in pairwise(times):
        h = s - t
        half = x + h / 2 * field(x, _at(t, x))
        x = x + h * field(half, _at(t + h / 2, x))
    return x


def heun(field: Field, x: Tensor, times: Tensor) -> Tensor:
    """A step with the mean of the velocities at both ends: order 2, two evaluations (Heun 1900; alg. 1 of Karras et
    al. 2022)."""
    for t, s in pairwise(times):
        h = s - t
        first = field(x, _at(t, x))
        second = field(x + h * first, _at(s, x))
        x = x + h / 2 * (first + second)
    return x


def stochastic(
    field: Field, x: Tensor, times: Tensor, noise: Callable[[], Tensor], churn: float = 1.0
) -> Tensor:  # fmt: skip
    """Euler-Maruyama for the flow from noise (t = 0) to data (t = 1) with noise added on the way and taken out again:

        dx = (v + w (t v - x)) dt + sqrt(2 w (1 - t)) dW

    whose distribution at each t is that of the ODE (Song et al. 2021, eq. 13; Ma et al. 2024, eq. 4), since the score
    of x = t data + (1 - t) noise is (t v - x) / (1 - t). It forgets the errors made before.

    noise: draws N(0, I) f32[B, ...], once per step      churn: w; 0 is Euler's method
    """
    for t, s in pairwise(times):
        h, v = s - t, field(x, _at(t, x))
        x = x + h * (v + churn * (t * v - x)) + (2 * churn * (1 - t) * h).sqrt() * noise()
    return x


# Nodes, weights of the stages, of the result (the last row of stages), and of the error estimate.
_NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def dopri5(
    field: Field, x: Tensor, start: float, end: float, rtol: float = 1e-3, atol: float = 1e-3, most: int = 1000
) -> Tensor:
    """Dormand-Prince 5(4) with a step of its own for each item (Dormand & Prince 1980; Hairer et al. 1993, II.4).

    A step is taken where the root mean square over the item of error / (atol + rtol |x|) is at most 1. Items that
    have arrived wait for the others. most: rounds before giving up.
    """
    total, sign = abs(end - start), 1.0 if end >= start else -1.0
    done = torch.zeros(len(x), dtype=torch.float64, device=x.device)  # how far each item has come
    step = torch.full_like(done, 0.05 * total)
    slope = field(x, _at(torch.tensor(start), x))
    for _ in range(most):
        left = total - done
        if not bool((left > 0).any()):
            return x
        h = torch.minimum(step, left)  # 0 for items that have arrived: they stay
        signed, slopes = over((sign * h).to(x), x), [slope]
        for node, weights in zip(_NODES, _STAGES, strict=True):
            reached = x + signed * _sum(weights, slopes)
            slopes.append(field(reached, (start + sign * (done + node * h)).to(x)))
        scale = atol + rtol * torch.maximum(x.abs(), reached.abs())
        norm = (signed * _sum(_ERROR, slopes) / scale).flatten(1).square().mean(1).sqrt().double()
        good = norm <= 1
        x, slope = torch.where(over(good, x), reached, x), torch.where(over(good, x), slopes[-1], slope)
        done = torch.where(good, torch.where(h >= left, total, done + h), done)
        step = torch.where(left > 0, h * (0.9 * norm.clamp(min=1e-10) ** -0.2).clamp(0.2, 5.0), step)
    raise ArithmeticError(f"no end of the trajectory within {most} steps: the field is too rough for its tolerance")


def _sum(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    terms = [w * s for w, s in zip(weights, slopes, strict=False) if w]
    return torch.stack(terms).sum(0)


def with_divergence(field: Field, probe: Tensor) -> Field:
    """The field of states (x, l) f32[B, D + 1] with dl/dt = -div v(x, t): how log p changes along the way of x, the
    instantaneous change of variables (Chen et al. 2018, theorem 1).

    The divergence is estimated as e . (dv/dx) e (Hutchinson 1990; Grathwohl et al. 2019, eq. 6), with one probe e
    f32[B, ...] of mean 0 and covariance I for the whole way, so that this is a field like any other.
    """

    def both(state: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            x = state[:, :-1].reshape(probe.shape).detach().requires_grad_()
            v = field(x, t)
            (product,) = torch.autograd.grad((v * probe).sum(), x)
        divergence = (product * probe).flatten(1).sum(1, keepdim=True)
        return torch.cat([v.detach().flatten(1), -divergence], 1)

    return both


def log_normal(x: Tensor) -> Tensor:
    """log N(x; 0, I) of items f32[B, ...], f32[B], nats."""
    flat = x.flatten(1)
    return -0.5 * (flat.square() + math.log(2 * math.pi)).sum(1)
