"""Convolutions with fewer multiplications (nets/winograd.py) against direct sums in fp32, in the same run.

    OMP_NUM_THREADS=1 python benchmarks/fast_convolutions.py [--recipes image/flow image/gan]

1. Single layers, forward and backward: CPU milliseconds of each, and the error of each against float64.
2. Whole steps of recipes on 28 x 28 grey pictures with ten classes, as the recipe has them, in fp32; and items sampled.
They take turns, and the best of each counts: other work on the machine only ever adds.
For a machine without AVX-512: ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 before the command.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from unittest import mock

import torch
import torch.nn.functional as F

import _run
from maquette.core.batch import Batch
from maquette.core.generator import build_model
from maquette.core.recipe import load_recipe
from maquette.core.rng import ItemRng
from maquette.core.ways import in_words, settle
from maquette.engine.loop import Loop
from maquette.engine.memory import keep_freed
from maquette.engine.schedule import Course
from maquette.engine.speed import faster_ways, prepare_model
from maquette.engine.state import State
from maquette.engine.world import World
from maquette.nets import winograd
from maquette.nets.dims import channels_last
from maquette.testing import column_spec, data_spec

LAYERS = [
    *((128, 128, 7, 7), (128, 128, 8, 8), (128, 64, 14, 14), (64, 64, 16, 16), (64, 128, 16, 16), (64, 256, 8, 8)),
    *((128, 48, 14, 14), (128, 32, 14, 14), (128, 128, 64), (32, 64, 256), (16, 32, 8, 16, 16), (16, 64, 8, 8, 8)),
]
DIRECT = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def cpu_ms(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began)


@contextlib.contextmanager
def direct() -> Iterator[None]:
    with mock.patch.object(winograd, "pays", lambda x, weight, when=None: False):
        yield


def layer(batch: int, channels: int, *grid: int) -> None:
    dims = len(grid)
    x = channels_last(torch.randn(batch, channels, *grid)).requires_grad_()
    weight = torch.randn(channels, channels, *[3] * dims) / (3**dims * channels) ** 0.5
    weight = channels_last(weight).requires_grad_()
    bias, gradient = torch.zeros(channels, requires_grad=True), torch.randn_like(x)
    there, back = (*range(2, 2 + dims), 0, 1), (dims, dims + 1, *range(dims))
    first, its_gradient = (t.detach().permute(there).contiguous().permute(back) for t in (x, gradient))
    first.requires_grad_()  # each in the order of memory that it has between layers of its kind
    direct_sum = DIRECT[dims]
    ways = {
        "direct": lambda: direct_sum(x, weight, bias, padding=1),
        "fewer": lambda: winograd.conv(first, weight, bias),
    }
    gradients = {"direct": gradient, "fewer": its_gradient}
    exact = direct_sum(x.detach().double(), weight.detach().double(), padding=1)
    both: dict[str, list[float]] = {name: [] for name in ways}
    forward: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(7):
        for name, way in ways.items():
            forward[name].append(cpu_ms(lambda way=way: way()))
            both[name].append(cpu_ms(lambda way=way, name=name: way().backward(gradients[name])))
    errors = {name: ((way() - exact).pow(2).mean().sqrt() / exact.std()).item() for name, way in ways.items()}
    sizes = " x ".join(map(str, (batch, channels, *grid)))
    print(
        f"{sizes:20} {min(forward['direct']):8.1f} {min(forward['fewer']):8.1f} "
        f"{min(both['direct']):8.1f} {min(both['fewer']):8.1f} {min(both['direct']) / min(both['fewer']):6.2f} "
        f"{errors['direct']:9.0e} {errors['fewer']:9.0e}",
        flush=True,
    )


def steps(name: str, size: int, seconds: float) -> None:
    recipe = load_recipe(name, ["train.precision=fp32"])
    spec = data_spec(column_spec("image", 1, size, size), label=column_spec("label", classes=10))
    batch = recipe.train.batch_size
    world = World("cpu")
    given = {"label": torch.randint(0, 10, (batch,))}
    fed = Batch({"image": torch.rand(batch, 1, size, size) * 2 - 1}, given, batch).to(
        torch.device("cpu"), recipe.train.channels_last
    )

    def loop() -> Loop:
        torch.manual_seed(0)
        model = prepare_model(build_model(recipe, spec), world, recipe.train, False)
        return Loop(State(model, recipe.train.ema_decay), world, 0, Course.of(10**9), batch, "fp32")

    fewer, plain = loop(), loop()
    chosen = faster_ways(fewer.state.model, recipe.train, fed, world)
    for model in (fewer.state.model, fewer.state.ema.model):
        settle(model, chosen)
    print(f"{name}: {in_words(chosen)}")
    times: dict[str, list[float]] = {"direct": [], "fewer": []}
    began = time.monotonic()
    period = max(phase.every for phase in fewer.state.phases)
    while time.monotonic() - began < seconds or len(times["direct"]) < 4:
        with direct():
            times["direct"].append(cpu_ms(lambda: [plain.step(fed) for _ in range(period)]) / period)
        times["fewer"].append(cpu_ms(lambda: [fewer.step(fed) for _ in range(period)]) / period)
    best = {way: min(values[1:]) for way, values in times.items()}
    print(
        f"{name}, {batch} of {size} x {size}: direct {best['direct']:.0f} ms a step, fewer multiplications "
        f"{best['fewer']:.0f} ms: {best['direct'] / best['fewer']:.2f} times as fast",
        flush=True,
    )

    def sampled(n: int = 250) -> float:
        with torch.no_grad():
            ms = cpu_ms(
                lambda: fewer.state.ema.model.eval().sample(n, {"label": torch.arange(n) % 10}, ItemRng(0, range(n)))
            )
        return 1000 * n / ms

    with direct():
        slower = max(sampled() for _ in range(3))
    print(f"{name}: {slower:.0f} items a second sampled, {max(sampled() for _ in range(3)):.0f} with fewer", flush=True)


def main() -> None:
    parser = _run.Parser(__doc__)
    parser.add_argument("--recipes", nargs="*", default=["image/flow", "image/gan", "image/vae"])
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--seconds", type=float, default=40, help="of each recipe")
    args = parser.parse_args()
    keep_freed()  # as training does
    layers = LAYERS
    if args.smoke:
        layers, args.recipes, args.size, args.seconds = [(4, 64, 7), (4, 16, 2, 3, 4)], ["image/gan"], 8, 0.0
    print(f"{_run.machine()}, torch {torch.__version__}")
    print("CPU ms               forward: direct, fewer | and backward: direct, fewer, ratio | error: direct, fewer")
    for sizes in layers:
        layer(*sizes)
    for name in args.recipes:
        steps(name, args.size, args.seconds)


if __name__ == "__main__":
    _run.command(main)
