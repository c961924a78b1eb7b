"""The training step: one pass over the phases of a model. It does not know what kind of model it trains."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.model import Phase, Step
from maquette.core.rng import StepRng, derive
from maquette.engine.schedule import Course, learning_rate
from maquette.engine.state import State
from maquette.engine.update import Gradients, apply, gradients
from maquette.engine.world import Share, World


@dataclass
class Loop:
    """How steps are made.

    batch_size:  items of a usual global batch; batches may be larger, smaller or empty
    micro_batch: items of this process in one forward pass; None: all at once
    on_part:     receives the loss, its parts and the norm of the gradient of each phase as `<phase>/<part>`
    """

    state: State
    world: World
    seed: int
    course: Course
    batch_size: int
    precision: str
    micro_batch: int | None = None
    on_part: Callable[[str, Tensor], None] = lambda key, value: None

    def step(self, batch: Batch) -> None:
        """Does every phase that is due, then moves the EMA. `batch` is our share, on our device."""
        state, share = self.state, self.world.share(batch.size)
        progress = self.course.progress(state.step)
        for phase in state.phases:
            if state.step % phase.every == 0 and progress >= phase.after:
                self.phase(phase, batch, share)
        state.ema.update(state.step)
        state.step += 1
        state.items += share.total

    def phase(self, phase: Phase, batch: Batch, share: Share | None = None) -> None:
        """One optimizer update; none where there are no items. On running out of memory, again with micro-batches of
        half the size.

        share: which part of the global batch `batch` is; None: asks the other processes
        """
        share = share or self.world.share(batch.size)
        if not phase.reads_data:
            batch = batch.without_target()
            if not batch.given:  # of the data, not even the number of items is seen
                share = self.world.even_share(self.batch_size)
                batch = Batch({}, {}, share.size)
        if not share.total:
            return
        step, trainable = self.state.step, self.state.trainable[phase.name]
        with trainable.alone():
            made = self._gradients(phase, batch, share)
            for name, value in made.parts.items():
                self.on_part(f"{phase.name}/{name}", value)
            rate = learning_rate(phase.optim, self.course.progress(step), self.course.total(step))
            norm = apply(phase, made, trainable, self.world, step=step, rate=rate, gaps=share.gaps)
        self.on_part(f"{phase.name}/grad_norm", norm)

    def _gradients(self, phase: Phase, batch: Batch, share: Share) -> Gradients:
        step, device = self.state.step, self.world.device
        noise = derive(self.seed, "noise", step, phase.name)
        total, progress = self.course.total(step), self.course.progress(step)

        def at(start: int) -> Step:
            return Step(step, total, StepRng(noise, share.total, share.offset + start, device), progress)

        while True:
            # Dropout and the like draw from here; everything else from StepRng.
            seed_everything(derive(self.seed, "dropout", step, phase.name, self.world.rank), device)
            try:
                return gradients(
                    phase, batch, at, weight=share.weight, micro_batch=self.micro_batch, autocast=self.autocast
                )
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                micro = self.micro_batch or batch.size
                if not _out_of_memory(error) or micro == 1:
                    raise
                self.micro_batch = -(-micro // 2)
            self.state.trainable[phase.name].clear()
            torch.cuda.empty_cache()

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
