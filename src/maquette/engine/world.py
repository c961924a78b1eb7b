"""The processes that train together, through accelerate. Alone, it costs nothing, not even the import."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch

from maquette.core.hardware import best_device


class World:
    """rank and size of the process group, our device, and the few things done together."""

    rank = 0
    size = 1

    def __init__(self, device: str = "auto") -> None:
        self.device = torch.device(best_device() if device == "auto" else device)

    def mean_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replaces each gradient by its mean over the processes."""

    def any(self, flag: bool) -> bool:
        """True on every process when it is true on one."""
        return flag

    def barrier(self) -> None:
        """Waits for every process."""

    def leave(self) -> None:
        """Ends the group, all processes together; the last thing they do in it."""

    @property
    def leads(self) -> bool:
        return self.rank == 0


class AcceleratedWorld(World):
    """Several processes, as started by `accelerate launch`."""

    def __init__(self, device: str = "auto") -> None:
        from accelerate import Accelerator

        self._accelerator = Accelerator(cpu=device == "cpu" or (device == "auto" and not torch.cuda.is_available()))
        self.rank = self._accelerator.process_index
        self.size = self._accelerator.num_processes
        self.device = self._accelerator.device

    def mean_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        grads = [p.grad for p in parameters if p.grad is not None]
        # One message instead of one for each tensor: small models have many small gradients.
        flat: Any = self._accelerator.reduce(torch.cat([g.flatten() for g in grads]), reduction="mean")
        for grad, mean in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            grad.copy_(mean.view_as(grad))

    def any(self, flag: bool) -> bool:
        total: Any = self._accelerator.reduce(torch.tensor(float(flag), device=self.device), reduction="sum")
        return bool(total > 0)

    def barrier(self) -> None:
        self._accelerator.wait_for_everyone()

    def leave(self) -> None:
        self.barrier()
        torch.distributed.destroy_process_group()


def join_world(device: str = "auto") -> World:
    """The process group that the environment describes: one process, or those of `accelerate launch`."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return AcceleratedWorld(device)
    return World(device)
