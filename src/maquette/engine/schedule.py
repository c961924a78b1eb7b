"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from maquette.core.model import Optim


def learning_rate(optim: Optim, step: int, total: int) -> float:
    """Linear warm-up, then constant, then `optim.schedule` down to `optim.final * optim.lr`.

    Cosine: Loshchilov & Hutter 2017, eq. 5, without restarts.
    """
    progress = step / max(total, 1)
    if progress < optim.warmup:
        return optim.lr * (step + 1) / (optim.warmup * total + 1)
    start = max(optim.warmup, optim.constant_until)
    if optim.schedule == "constant" or progress < start:
        return optim.lr
    share = min((progress - start) / max(1.0 - start, 1e-12), 1.0)
    fall = 0.5 * (1 + math.cos(math.pi * share)) if optim.schedule == "cosine" else 1.0 - share
    return optim.lr * (optim.final + (1.0 - optim.final) * fall)
