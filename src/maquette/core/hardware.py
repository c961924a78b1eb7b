"""What the machine can do."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

from maquette.core.errors import UserError

_whole: list[None] = []  # one for each `whole_precision` that is entered


@contextlib.contextmanager
def whole_precision() -> Iterator[None]:
    """Within it nothing is computed in bf16 that the machine could: for what is compared with other programs."""
    _whole.append(None)
    try:
        yield
    finally:
        _whole.pop()


def multiplies_bf16(device: torch.device) -> bool:
    """Whether bf16 matrix products run in hardware on a device; emulated ones are slower than fp32.

    ATEN_CPU_CAPABILITY=avx2, by which torch is kept from using all that a CPU has, is obeyed.
    """
    if _whole:
        return False
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if not torch.backends.cpu.get_cpu_capability().startswith(("AVX512", "AMX")):
        return False
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # private, so absent in some releases
    return device.type == "cpu" and any(bool(getattr(torch.cpu, check, bool)()) for check in checks)


def best_device() -> str:
    """The device that models are trained and sampled on where none is named."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def device_named(device: str | torch.device = "auto", setting: str = "device") -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps` -> the device; UserError where it is not there."""
    chosen = best_device() if device == "auto" else device
    try:
        return torch.empty(1, device=chosen).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{setting} = {str(device)!r} cannot be used: {reason}", "Use auto, cpu or cuda.") from None


def memory() -> int:
    """Bytes of memory that this process may still take: what the machine, the group it runs in or `ulimit` leaves."""
    left = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # of a container; "max" where it has no limit
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        cache = re.search(r"^inactive_file (\d+)$", (group / "memory.stat").read_text(), re.MULTILINE)
        left = min(left, limit - used + int(cache[1] if cache else 0))
    with contextlib.suppress(ImportError):  # of POSIX
        import resource

        if (most := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:
            left = min(left, most - psutil.Process().memory_info().vms)
    return left
