"""The training step: one pass over the phases of a model. It does not know what kind of model it trains."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.errors import MaquetteError
from maquette.core.model import Phase, Step
from maquette.core.rng import StepRng, derive
from maquette.engine.schedule import learning_rate
from maquette.engine.state import State
from maquette.engine.world import World


class NonFinite(MaquetteError):
    """A loss or a gradient was not finite; the update was refused."""

    def __init__(self, phase: str, step: int, what: str) -> None:
        self.phase, self.step, self.what = phase, step, what
        super().__init__(
            f"The {what} of phase '{phase}' was not finite at step {step}; the update was refused.",
            "The last good state is kept. Train again with train.precision=fp32, or a lower learning rate.",
        )


@dataclass
class Loop:
    """How steps are made. micro_batch: items of this process in one forward pass; None: all at once."""

    state: State
    world: World
    seed: int
    total: int
    batch_size: int
    precision: str
    micro_batch: int | None = None
    on_part: Callable[[str, Tensor], None] = lambda key, value: None

    def step(self, batch: Batch) -> None:
        """Does every phase that is due, then moves the EMA. `batch` is our share, on our device."""
        step = self.state.step
        for phase in self.state.phases:
            if step % phase.every == 0:
                self.phase(phase, batch)
        self.state.ema.update(step)
        self.state.step = step + 1

    def phase(self, phase: Phase, batch: Batch) -> None:
        """One optimizer update; on running out of memory, again with micro-batches of half the size."""
        while True:
            try:
                return self._update(phase, batch)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                micro = self.micro_batch or batch.size
                if not _out_of_memory(error) or micro == 1:
                    raise
                self._clear(phase)
                self.micro_batch = -(-micro // 2)
                torch.cuda.empty_cache()

    def _update(self, phase: Phase, batch: Batch) -> None:
        state, step = self.state, self.state.step
        state.train_only(phase.nets)
        optimizers, parameters = state.optimizers[phase.nets], state.parameters[phase.nets]
        rate = learning_rate(phase.optim, step, self.total)
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = rate * group.get("scale", 1.0)
        if not phase.reads_data:
            batch = batch.without_target()
        # Dropout and the like draw from here; everything else from StepRng.
        seed_everything(derive(self.seed, "dropout", step, phase.name, self.world.rank), self.world.device)
        noise = derive(self.seed, "noise", step, phase.name)
        size, offset = batch.size, self.world.rank * batch.size
        stride = self.micro_batch or size
        finite = True
        for start in range(0, size, stride):
            stop = min(start + stride, size)
            rng = StepRng(noise, self.batch_size, offset + start, self.world.device)
            with self.autocast():
                loss = phase.loss(batch.rows(start, stop) if stride < size else batch, Step(step, self.total, rng))
            finite = finite and math.isfinite(loss.total.item())
            (loss.total if stride == size else loss.total * ((stop - start) / size)).backward()
            self.on_part(f"{phase.name}/loss", loss.total)
            for name, value in loss.parts.items():
                self.on_part(f"{phase.name}/{name}", value)
        self.world.mean_gradients(parameters)
        norm = torch.stack(torch._foreach_norm([p.grad for p in parameters if p.grad is not None])).norm()
        self.on_part(f"{phase.name}/grad_norm", norm)
        if self.world.any(not finite) or not math.isfinite(norm.item()):
            self._clear(phase)
            raise NonFinite(phase.name, step, "gradient" if finite else "loss")
        if phase.optim.clip:
            torch.nn.utils.clip_grads_with_norm_(parameters, phase.optim.clip, norm)
        for optimizer in optimizers:
            optimizer.step()
        self._clear(phase)

    def _clear(self, phase: Phase) -> None:
        for parameter in self.state.parameters[phase.nets]:
            parameter.grad = None

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.precision == "bf16":
            return torch.autocast(self.world.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def seed_everything(seed: int, device: torch.device) -> None:
    """Seeds the global generators that a step on `device` may draw from.

    Not torch.manual_seed: where there is no GPU it keeps a formatted stack for each kind of device at every
    call, which costs more than a small network's step and is never freed.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
