"""What the machine can do."""

from __future__ import annotations

import torch


def multiplies_bf16(device: torch.device) -> bool:
    """Whether bf16 matrix products run in hardware on a device; emulated ones are slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # private, so absent in some releases
    return device.type == "cpu" and any(bool(getattr(torch.cpu, check, bool)()) for check in checks)
