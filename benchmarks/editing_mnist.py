"""How near restored MNIST pictures are to the originals, by a trained model and by guiding a flow (zero-shot).

    MAQUETTE_DATA=... python benchmarks/editing_mnist.py --restore runs/restore --flow runs/f --items 500

Test pictures are spoilt, rounded to 8 bits as a file is, and restored, without telling the label. PSNR in dB and SSIM
are means over pictures. Frechet distance: judge.py's, of so many pictures against the 10,000 test pictures; few
pictures bias it upwards, so as many real training pictures stand first, as a floor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import _run
import judge
from maquette.evaluation.similarity import psnr, ssim
from maquette.modalities.image.edit import EditOptions, Editor
from maquette.sampling import degrade

SIGMA, QUALITY, FACTOR = 0.5, 10, 4
RESTORE = "maquette train image/restore --data mnist --steps 2400 -o runs/restore"
FLOW = "maquette train image/flow --data mnist --budget 20m -o runs/f"


def main() -> None:
    parser = _run.Parser(__doc__, f"{RESTORE}\n{FLOW}")
    parser.add_argument("--restore", type=Path, help="a run of image/restore")
    parser.add_argument("--flow", type=Path, help="a run of image/flow")
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("tasks", nargs="*", help="inpaint, upscale, denoise, jpeg, style; default: all")
    args = parser.parse_args()
    steps = None
    if args.smoke:
        args.items, steps = 2, 1
    judge.load_judge()
    asked = (("trained", args.restore, RESTORE), ("zero-shot", args.flow, FLOW))
    runs = {name: _run.opened(path, how, args.smoke).edit for name, path, how in asked if path}
    test = judge.mnist("test")[0]
    rows = np.random.default_rng(0).permutation(len(test))[: args.items]
    x = test[torch.from_numpy(rows)]
    print(f"{args.items} test pictures\n\n{'':38}{'PSNR':>8}{'SSIM':>8}{'Frechet':>9}{'s':>7}")
    real = judge.mnist("train")[0][: args.items]
    _line("real training pictures, others", real, x, 0.0)
    tasks = {"inpaint": _inpaint, "upscale": _upscale, "denoise": _denoise, "jpeg": _jpeg, "style": _style}
    for name in args.tasks or tasks:
        tasks[name](x, runs, EditOptions(steps=steps))


def _inpaint(x: Tensor, runs: dict[str, Editor], options: EditOptions) -> None:
    print("\nthe central 14x14 filled")
    hole = torch.zeros(1, 1, 28, 28)
    hole[..., 7:21, 7:21] = 1
    mean, began = judge.mnist("train")[0].mean(0, keepdim=True), time.monotonic()
    seen = (x * (1 - hole)).sum((1, 2, 3), keepdim=True) / (1 - hole).sum()
    _line("mean of the seen pixels", torch.lerp(x, seen.expand_as(x), hole), x, began)
    _line("mean of training pixels there", torch.lerp(x, mean.expand_as(x), hole), x, began)
    for name, edit in runs.items():
        _both(name, options, x, lambda asked, edit=edit: edit.inpaint(_file(x), hole, asked).only)


def _upscale(x: Tensor, runs: dict[str, Editor], options: EditOptions) -> None:
    print(f"\nupscaled from {28 // FACTOR}x{28 // FACTOR}")
    small, began = _file(F.avg_pool2d(x, FACTOR)), time.monotonic()
    _line("nearest", degrade.enlarge(small, FACTOR), x, began)
    _line("bicubic", F.interpolate(small, scale_factor=FACTOR, mode="bicubic").clamp(-1, 1), x, began)
    for name, edit in runs.items():
        _both(name, options, x, lambda asked, edit=edit: edit.upscale(small, FACTOR, asked).only)


def _denoise(x: Tensor, runs: dict[str, Editor], options: EditOptions) -> None:
    print(f"\nnoise of {SIGMA} taken away, of unknown level")
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    noisy, began = _file(x + SIGMA * noise), time.monotonic()
    _line("as it is", noisy, x, began)
    for name, edit in runs.items():
        _both(name, options, x, lambda asked, edit=edit: edit.restore(noisy, asked).only)


def _jpeg(x: Tensor, runs: dict[str, Editor], options: EditOptions) -> None:
    print(f"\nJPEG of quality {QUALITY} (zero-shot is told the quality)")
    spoilt, began = degrade.jpeg(x, torch.full((len(x),), float(QUALITY))), time.monotonic()
    _line("as it is", spoilt, x, began)
    for name, edit in runs.items():
        told = QUALITY if name == "zero-shot" else None
        _both(name, options, x, lambda asked, edit=edit, told=told: edit.restore(spoilt, asked, jpeg=told).only)


def _style(x: Tensor, runs: dict[str, Editor], options: EditOptions) -> None:
    """Ink: the mean share of white. Recognised: by the judge, as what it takes the originals for."""
    print("\n100 digits drawn as a bold one and as a fine one are")
    x, real = x[:100], judge.mnist("test")[0]
    names, ink = judge.load_judge()(x).argmax(1), real.mean((1, 2, 3))
    order = ink.argsort()
    beyond = len(order) // 50  # 98 % of the others
    likes = {"bold": real[order[-beyond]][None], "fine": real[order[beyond]][None]}
    for way, edit in runs.items():
        for what, like in likes.items():
            made = edit.style(x, like, options=options).only
            before, aim, after = (50 * float(p.mean() + 1) for p in (x, like, made))
            kept = 100 * judge.judge_accuracy(made, names)
            print(f"  {way:10}{what:9}ink {before:.1f} % -> {after:.1f} % (style {aim:.1f} %), recognised {kept:.0f} %")


def _file(x: Tensor) -> Tensor:
    """As a file of 8 bits keeps it."""
    return (x.clamp(-1, 1) * 127.5 + 127.5).round() / 127.5 - 1


def _both(name: str, options: EditOptions, x: Tensor, restored: Callable[[EditOptions], Tensor]) -> None:
    for what, asked in (("one sample", options), ("expected", replace(options, expected=True))):
        began = time.monotonic()
        _line(f"{name}, {what}", restored(asked), x, began)


def _line(name: str, made: Tensor, x: Tensor, began: float) -> None:
    seconds = time.monotonic() - began if began else 0.0
    distance = judge.frechet_to_test(made)
    print(f"  {name:36}{psnr(made, x).mean():8.2f}{ssim(made, x).mean():8.3f}{distance:9.2f}{seconds:7.1f}", flush=True)


if __name__ == "__main__":
    _run.command(main)
