"""One optimizer update of a phase, in two functions: gradients are made, and then they are applied.

What protects single items (the gradient of each clipped, and noise added to their sum) belongs to the first; the second
is the same for everyone.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.errors import MaquetteError
from maquette.core.model import Phase, Step
from maquette.engine.state import Trainable
from maquette.engine.world import World

Autocast = Callable[[], contextlib.AbstractContextManager[object]]


class NonFinite(MaquetteError):
    """A loss or a gradient was not finite; the update was refused."""

    def __init__(self, phase: str, step: int, what: str) -> None:
        self.phase, self.step, self.what = phase, step, what
        super().__init__(
            f"The {what} of phase '{phase}' was not finite at step {step}; the update was refused.",
            "The last good state is kept. Train again with train.precision=fp32, or a lower learning rate.",
        )


@dataclass(frozen=True)
class Gradients:
    """What making gradients tells; they themselves are in `.grad` of the parameters.

    parts:  `loss` and the named parts of it, means over the items of this process; none where it has no items
    finite: whether every loss was finite
    """

    parts: Mapping[str, Tensor]
    finite: bool


def gradients(
    phase: Phase, batch: Batch, at: Callable[[int], Step], *, weight: float = 1.0, micro_batch: int | None = None,
    autocast: Autocast = contextlib.nullcontext,
) -> Gradients:  # fmt: skip
    """Adds the gradient of `weight` times the mean loss over the items of a batch to `.grad`.

    batch:       this process's share of the global batch, on its device
    at:          the step as the loss sees it from an item of ours on: its noise begins with that of this item
    weight:      what our mean counts for in the mean that processes take: 1 where their shares are equal
    micro_batch: items in one forward pass; None: all at once
    """
    size, stride = batch.size, micro_batch or batch.size
    parts: dict[str, Tensor] = {}
    finite = True
    for start in range(0, size, max(stride, 1)):
        stop = min(start + stride, size)
        with autocast():
            loss = phase.loss(batch.rows(start, stop) if stride < size else batch, at(start))
        finite = finite and math.isfinite(loss.total.item())
        share = (stop - start) / size
        scale = share * weight
        (loss.total if scale == 1 else loss.total * scale).backward()
        for name, value in {"loss": loss.total, **loss.parts}.items():
            part = value.detach() if share == 1 else value.detach().float() * share
            parts[name] = parts[name] + part if name in parts else part
    return Gradients(parts, finite)


def apply(
    phase: Phase, made: Gradients, trainable: Trainable, world: World, *, step: int, rate: float, gaps: bool = False
) -> Tensor:
    """Averages the gradients over the processes, clips them, moves the parameters, and clears the gradients.

    rate: the learning rate      gaps: whether a process had no items, and so has no gradients to average
    Returns the norm of the gradient, before it was clipped. Raises NonFinite, with nothing moved, where a loss or
    this norm is not finite.
    """
    parameters = trainable.parameters
    if gaps:
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
    world.mean_gradients(parameters)
    norm = torch.stack(torch._foreach_norm([p.grad for p in parameters if p.grad is not None])).norm()
    if world.any(not made.finite) or not math.isfinite(norm.item()):
        trainable.clear()
        raise NonFinite(phase.name, step, "gradient" if made.finite else "loss")
    if phase.optim.clip:
        torch.nn.utils.clip_grads_with_norm_(parameters, phase.optim.clip, norm)
    for optimizer in trainable.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        optimizer.step()
    trainable.clear()
    return norm
