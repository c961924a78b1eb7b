"""The leaky ReLU (Maas et al. 2013), whose slopes do not change with what it sees.

So its second derivative is nothing, where that of torch's own is a tensor of zeros: through a critic's gradient penalty
they went on into a gradient of every layer below, a third of that step's work.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

SLOPE = 0.2  # below 0


class _Slopes(torch.autograd.Function):
    """x times the slopes at `at`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, at: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(at)
        ctx.slope = slope
        made: Tensor = torch.ops.aten.leaky_relu_backward(x, at, slope, False)
        return made

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Slopes.apply(grad, *ctx.saved_tensors, ctx.slope), None, None


def leaky_relu(x: Tensor, slope: float = SLOPE) -> Tensor:
    """x where it is above 0, else slope x; of any shape."""
    made: Tensor = _Slopes.apply(x, x.detach(), slope)
    return made


class LeakyReLU(nn.LeakyReLU):
    """The same as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x, self.negative_slope)
