"""The processes that train together, through accelerate. Alone, it costs nothing, not even the import."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from maquette.core.hardware import best_device


@dataclass(frozen=True)
class Share:
    """Our part of a global batch.

    size, offset: of our items, and of the first of them in the global batch      total: items over all processes
    weight:       what our mean over our items counts for in the mean that processes take: 1 where shares are equal
    gaps:         whether a process has no items at all
    """

    size: int
    offset: int
    total: int
    weight: float = 1.0
    gaps: bool = False


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
        return self.each(flag)[0]

    def each(self, *flags: bool) -> tuple[bool, ...]:
        """`any` of several flags, in one message."""
        return flags

    def of_leader(self, number: int) -> int:
        """The leader's number, on every process."""
        return number

    def share(self, size: int) -> Share:
        """The part of the global batch that our `size` items are; they follow those of the processes before us."""
        return Share(size, 0, size)

    def even_share(self, total: int) -> Share:
        """Our part of a global batch that all processes share evenly."""
        size = total // self.size
        return Share(size, self.rank * size, total)

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

    def each(self, *flags: bool) -> tuple[bool, ...]:
        counts: Any = self._accelerator.reduce(torch.tensor(flags, dtype=torch.float32, device=self.device), "sum")
        return tuple(count > 0 for count in counts.tolist())

    def of_leader(self, number: int) -> int:
        gathered: Any = self._accelerator.gather(torch.tensor([number], device=self.device))
        return int(gathered[0])

    def share(self, size: int) -> Share:
        gathered: Any = self._accelerator.gather(torch.tensor([size], device=self.device))
        sizes: list[int] = gathered.tolist()
        total = sum(sizes)
        return Share(size, sum(sizes[: self.rank]), total, self.size * size / max(total, 1), 0 in sizes)

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
