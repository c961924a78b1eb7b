"""What generators do to clips, as functions of a batch: the own network learns to name it (own_features.py).

Unlike the known damage that measures are tried on (damage.py): what a network learned to see here, it is examined on
there. f32[B, C, T, H, W] in [-1, 1] -> the same, from torch's global generator.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def rearranged(x: Tensor) -> Tensor:
    """Its halves, thirds, ... in another order, each of them sound."""
    parts = x.tensor_split(int(torch.randint(2, 5, ())), 2)
    return torch.cat([parts[i] for i in torch.randperm(len(parts)).roll(1)], 2)


def hasty(x: Tensor) -> Tensor:
    """Twice as fast, and back again."""
    fast = x[:, :, ::2]
    return torch.cat([fast, fast.flip(2)], 2)[:, :, : x.shape[2]]


def stuttering(x: Tensor) -> Tensor:
    """Each frame is shown several times."""
    every = int(torch.randint(2, 4, ()))
    return x[:, :, torch.arange(x.shape[2]) // every * every]


def shaking(x: Tensor) -> Tensor:
    """Each frame is a little elsewhere."""
    most = max(x.shape[-1] // 12, 1)
    frames = [frame.roll(tuple(torch.randint(-most, most + 1, (2,)).tolist()), (-2, -1)) for frame in x.unbind(2)]
    return torch.stack(frames, 2)


def ghostly(x: Tensor) -> Tensor:
    """Two at once."""
    return (x + x.roll(1, 0)) / 2


def trailing(x: Tensor) -> Tensor:
    """Each frame with what is left of those before."""
    made = [x[:, :, 0]]
    for frame in x.unbind(2)[1:]:
        made.append(0.5 * made[-1] + 0.5 * frame)
    return torch.stack(made, 2)


def coarse(x: Tensor) -> Tensor:
    """In large squares."""
    frames = x.transpose(1, 2).flatten(0, 1)
    small = F.avg_pool2d(frames, 2, ceil_mode=True, count_include_pad=False)
    large = F.interpolate(small, scale_factor=2)[..., : x.shape[-2], : x.shape[-1]]
    return large.unflatten(0, (len(x), -1)).transpose(1, 2)


def noisy(x: Tensor) -> Tensor:
    """With noise, in each frame another."""
    return (x + torch.randn_like(x) * float(torch.empty(()).uniform_(0.05, 0.5))).clamp(-1, 1)


FLAWS = (rearranged, hasty, stuttering, shaking, ghostly, trailing, coarse, noisy)


def flawed(x: Tensor) -> tuple[Tensor, Tensor]:
    """A batch in which each flaw has its share, and which flaw it is i64[B]: 1, 2, ... (0 would be none)."""
    parts = x.tensor_split(len(FLAWS))
    made = torch.cat([flaw(part) for flaw, part in zip(FLAWS, parts, strict=True) if len(part)])
    return made, torch.cat([torch.full((len(part),), i + 1) for i, part in enumerate(parts)]).to(x.device)
