"""What the machine can do."""

from __future__ import annotations

import torch

from maquette.core.errors import UserError


def multiplies_bf16(device: torch.device) -> bool:
    """Whether bf16 matrix products run in hardware on a device; emulated ones are slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
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
