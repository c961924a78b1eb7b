"""Convolutions on narrow grids, whose gradient of the weights is twice as fast on a CPU that multiplies bf16 tiles.

That gradient is a sum over cells, and the kernels that compute it take a row of cells at a time: a row of 7 fills 7 of
the 32 places of a tile (0.22 tera-multiplications per second on one core here, where the forward pass makes 0.8). So
items are laid side by side in sheets, a column of zeros between them, in which rows are about 32 cells long. What is
computed is the same sum.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.nets.dims import Conv, Conv2d, Convolution

_PLACES = 32  # bf16 numbers in a row of a tile


class NarrowConv(Conv2d):
    """A convolution of odd size; its forward pass and its numbers are those of `Conv2d`."""

    def forward(self, x: Tensor) -> Tensor:
        margin = self.kernel_size[1] // 2
        beside = _PLACES // (x.shape[-1] + margin)
        tiled = x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
        if not tiled or beside < 3 or len(x) % beside:
            return super().forward(x)
        kind = torch.get_autocast_dtype("cpu")
        assert self.bias is not None
        weight, bias = self.weight.to(kind), self.bias.to(kind)
        made: Tensor = _Sheets.apply(x.to(kind), weight, bias, self.padding, beside)
        return made


class _Sheets(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: tuple[int, int], beside: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.beside = padding, beside
        return F.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, _ = ctx.needs_input_grad[:3]

        def backward(x: Tensor, grad: Tensor, mask: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
            options = ([len(weight)], [1, 1], ctx.padding, [1, 1], False, [0, 0], 1, mask)
            return torch.ops.aten.convolution_backward(grad, x, weight, *options)

        grad = grad.contiguous(memory_format=torch.channels_last)
        to_x = backward(x, grad, [True, False, False])[0] if for_x else None
        to_weight = to_bias = None
        if for_weight:
            margin = ctx.padding[1]
            x, grad = sheet(x, ctx.beside, margin), sheet(grad, ctx.beside, margin)
            _, to_weight, to_bias = backward(x, grad, [False, True, True])
        return to_x, to_weight, to_bias, None, None


# By the dimensions of the grid: it is rows of two-dimensional ones that are short.
Narrow: dict[int, type[Convolution]] = {**Conv, 2: NarrowConv}


def sheet(x: Tensor, beside: int, margin: int) -> Tensor:
    """[B, C, H, W] -> [B / beside, C, H, beside (W + margin)]: items side by side with zeros after each."""
    b, c, rows, columns = x.shape
    out = x.new_empty(b // beside, rows, beside, columns + margin, c)
    out[:, :, :, columns:] = 0
    out[:, :, :, :columns] = x.permute(0, 2, 3, 1).view(b // beside, beside, rows, columns, c).transpose(1, 2)
    return out.view(b // beside, rows, beside * (columns + margin), c).permute(0, 3, 1, 2)
