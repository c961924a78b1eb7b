"""Muon: momentum whose update is orthogonalised (Jordan et al. 2024), for hidden weight matrices.

Scaled as in Liu et al. 2025 ("Muon is scalable", eq. 4), so that an update has the size that Adam's
would have and one learning rate serves both. torch.optim.Muon takes 2-D weights only; ours flattens
convolution kernels to matrices, and orthogonalises all kernels of one shape in one batched product. It can do so
block by block of some rows (Boreiko et al. 2025, Khaled et al. 2025): of rows so few that it costs next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from maquette.core.hardware import multiplies_bf16

# Coefficients of the quintic that pulls singular values towards 1 fastest (Jordan et al. 2024).
_A, _B, _C = 3.4445, -4.7750, 2.0315


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, then orthogonalisation. Every parameter has two dimensions or more.

    block: rows that are orthogonalised together, where they divide those of the matrix; 0: all
    """

    def __init__(self, params: Iterable[torch.nn.Parameter], lr: float, momentum: float = 0.95,
                 weight_decay: float = 0.0, block: int = 0) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "block": block})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[torch.nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(tuple(parameter.shape), []).append(parameter)
            for parameters in by_shape.values():
                self._step_together(parameters, group)

    def _step_together(self, parameters: list[torch.nn.Parameter], group: dict[str, Any]) -> None:
        grads = [p.grad for p in parameters if p.grad is not None]
        moments = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in parameters]
        torch._foreach_lerp_(moments, grads, 1 - group["momentum"])
        nesterov = torch._foreach_lerp(grads, moments, group["momentum"])
        rows, block = len(parameters[0]), group["block"]
        rows = block if block and rows % block == 0 else rows
        stacked = torch.stack([n.reshape(-1, rows, n[0].numel()) for n in nesterov])  # (K, blocks, rows, columns)
        update = orthogonalise(stacked.flatten(0, 1)).reshape(stacked.shape)
        size = 0.2 * math.sqrt(max(update.shape[-2:])) * group["lr"]
        for parameter, matrix in zip(parameters, update, strict=True):
            if group["weight_decay"]:
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(matrix.reshape(parameter.shape), alpha=-size)


def orthogonalise(x: Tensor, iterations: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrices to x[K, m, n], roughly: singular values end within about 0.7 to 1.2.

    Newton-Schulz in bf16, which this iteration tolerates, where the machine multiplies it: emulated, it would take
    more time than all the rest of a step.
    """
    dtype = torch.bfloat16 if multiplies_bf16(x.device) else torch.float32
    tall = x.shape[-2] > x.shape[-1]
    y = x.mT if tall else x
    y = (y / (y.norm(dim=(-2, -1), keepdim=True) + 1e-7)).to(dtype).contiguous()  # strided operands take twice as long
    if dtype == torch.float32 and y.shape[-1] >= 2 * y.shape[-2]:
        y = _by_rows(y, iterations) @ y
    else:
        for _ in range(iterations):
            a = y @ y.mT
            y = torch.baddbmm(y, torch.baddbmm(a, a, a, beta=_B, alpha=_C), y, beta=_A)
    return (y.mT if tall else y).to(x.dtype)


def _by_rows(y: Tensor, iterations: int) -> Tensor:
    """The matrices [K, m, m] that the same iteration multiplies y[K, m, n] by, from its rows' products alone.

    All are polynomials in them, and so commute: m x m products, but for the first and the last, take half the time or
    less from n = 2 m on. The rounding of bf16 would grow in them.
    """
    a, identity = y @ y.mT, torch.eye(y.shape[-2], dtype=y.dtype, device=y.device)
    whole = identity.expand_as(a)
    for _ in range(iterations):
        once = torch.baddbmm(_A * identity + _B * a, a, a, alpha=_C)
        whole, a = once @ whole, once @ a @ once
    return whole
