"""What one training step asks of the machine, what the machine can do, and how far one is from the other.

    python benchmarks/ceilings.py --recipe image/flow
    python benchmarks/ceilings.py --recipe image/vae --batch 64

Operations are those of convolutions and matrix products, counted by PyTorch (a multiplication and an addition are two).
Bytes are what all operators read and write: what memory would have to carry if caches held nothing. Ceilings are
measured in the same process: the fastest of several square matrix products and of a wide convolution, and an addition
over an array that no cache holds. All in bf16 where the machine multiplies it, else in fp32. The fewest seconds of a
processor count: what else the machine does only adds to them.
Pictures are made up, 1x28x28 with ten classes. Losses that differentiate twice (gradient penalties) cannot be counted.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

import _run
from maquette.core.batch import Batch
from maquette.core.generator import build_model
from maquette.core.hardware import multiplies_bf16
from maquette.core.recipe import load_recipe
from maquette.engine.loop import Loop
from maquette.engine.schedule import Course
from maquette.engine.speed import prepare_model
from maquette.engine.state import State
from maquette.engine.world import World
from maquette.testing import column_spec, data_spec

Shape = Sequence[int]

SIDES, FLOATS = (512, 1024, 2048, 4096), 64 * 2**20
VIEWS = {"view", "permute", "t", "transpose", "expand", "slice", "select", "split", "detach", "unsqueeze", "squeeze",
         "as_strided", "_unsafe_view", "alias", "empty_like", "empty", "empty_strided", "narrow"}  # fmt: skip


# Which the counter does not know: what nets/winograd.py makes results with.


@register_flop_formula(torch.ops.aten.baddbmm_)
def operations_of_product(_: Shape, a: Shape, b: Shape, **__: Any) -> int:
    return 2 * math.prod(a) * b[-1]


class Traffic(TorchDispatchMode):
    """Counts the bytes that operators read and write, by operator."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name not in VIEWS:
            tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor)]
            self.bytes[name] += sum(x.numel() * x.element_size() for x in tensors)
        return out


def main() -> None:
    parser = _run.Parser(__doc__)
    parser.add_argument("--recipe", default="image/flow")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=24)
    args = parser.parse_args()
    sides, floats = SIDES, FLOATS
    if args.smoke:
        args.batch, args.steps, sides, floats = 4, 1, SIDES[:1], 2**16
    precision = "bf16" if multiplies_bf16(torch.device("cpu")) else "fp32"
    kind = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    spec = data_spec(column_spec("image", 1, 28, 28), label=column_spec("label", classes=10))
    recipe = load_recipe(args.recipe)
    world = World("cpu")
    model = prepare_model(build_model(recipe, spec), world, recipe.train, False)
    batch = Batch(
        {"image": torch.rand(args.batch, 1, 28, 28) * 2 - 1},
        {"label": torch.randint(0, 10, (args.batch,))},
        args.batch,
    ).to(world.device, channels_last=True)
    loop = Loop(State(model, recipe.train.ema_decay), world, 0, Course.of(10**6), args.batch, precision)
    # Every phase is due in as many steps as the rarest of them asks for.
    turn = max(phase.every for phase in loop.state.phases)

    def step() -> None:
        for _ in range(turn):
            loop.step(batch)

    step()
    operations, traffic = FlopCounterMode(display=False), Traffic()
    with operations:
        step()
    with traffic:
        step()
    flops, moved = operations.get_total_flops() / turn, sum(traffic.bytes.values()) / turn
    seconds = best(step, args.steps // turn) / turn

    squares = [(torch.randn(side, side, dtype=kind), torch.randn(side, side, dtype=kind)) for side in sides]
    peak = max(2 * len(a) ** 3 / best(lambda a=a, b=b: torch.mm(a, b), 15) for a, b in squares)
    peak = max(peak, convolution(kind))
    x, y, out = (torch.ones(floats) for _ in range(3))
    bandwidth = 3 * 4 * floats / best(lambda: torch.add(x, y, out=out), 7)

    print(f"{args.recipe}, batch of {args.batch}; {_run.machine()}")
    print(f"a step: {1e3 * seconds:.0f} ms, {args.batch / seconds:,.0f} pictures/s")
    print(
        f"  {flops / 1e9:.1f} G operations ({flops / args.batch / 1e6:.0f} M a picture), {moved / 2**30:.2f} GiB moved"
    )
    print(f"  {flops / moved:.0f} operations a byte; the machine's balance is {peak / bandwidth:.0f}")
    print(f"ceilings: {peak / 1e12:.2f} T {precision} operations/s, {bandwidth / 1e9:.1f} GB/s")
    print(
        f"  arithmetic alone would take {1e3 * flops / peak:.0f} ms: {100 * flops / peak / seconds:.0f} % of the step"
    )
    print(f"  traffic alone would take {1e3 * moved / bandwidth:.0f} ms: {100 * moved / bandwidth / seconds:.0f} %")
    for name, size in traffic.bytes.most_common(8):
        print(f"  {name:<32} {100 * size / turn / moved:3.0f} % of the bytes")


@torch.no_grad()
def convolution(kind: torch.dtype, channels: int = 256, side: int = 14, items: int = 64) -> float:
    """Operations per second of a 3x3 convolution, channels last."""
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1).to(kind).to(memory_format=torch.channels_last)
    x = torch.randn(items, channels, side, side).to(kind).to(memory_format=torch.channels_last)
    return 2 * 9 * channels**2 * side**2 * items / best(lambda: layer(x), 15)


def best(do: Callable[[], object], times: int) -> float:
    """Seconds of each thread's processor, the fewest of several times, after one for warming up."""
    do()
    taken = []
    for _ in range(max(times, 3)):
        began = time.process_time()
        do()
        taken.append(time.process_time() - began)
    return min(taken) / torch.get_num_threads()


if __name__ == "__main__":
    _run.command(main)
