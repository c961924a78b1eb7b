"""Pictures in colour of one's own, 32 to 128 pixels a side: ways to learn them beside each other, in the same time.

    npm pack @lobehub/fluent-emoji-3d && tar xzf lobehub-fluent-emoji-3d-*.tgz
    python benchmarks/large_pictures.py --data package/assets --size 64 --budget 30m data.image.channels=rgb
    python benchmarks/large_pictures.py --data cifar10/train.zip --size 32 --recipes image/colour image/gan --budget 30m

3,391 pictures of 256x256, drawn in three dimensions (MIT licence), on white; and 10,000 photographs of ten classes. Any
other folder of pictures will do. image/latent gets half of the budget, and its codec the other half.

Of each: a grid of samples, beside the run, and what `maquette evaluate` says. Distances are in the features of a
network that was trained on the training pictures (docs/evaluation.md); the floor is what training pictures score, and
few pictures make all of them large. Of a codec, what it keeps of held-out pictures: PSNR and SSIM, and the Frechet
distance between them and themselves decoded.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import _run
import _smoke
import maquette
from maquette.core.batch import Batch
from maquette.core.budget import seconds_of
from maquette.evaluation.features import batches
from maquette.evaluation.measures.frechet import frechet
from maquette.evaluation.similarity import psnr, ssim
from maquette.modalities.image.own_features import own_features

GRID = 64
SHOWN = ("frechet", "kernel", "precision", "recall", "class_accuracy", "copies", "psnr")


def main() -> None:
    parser = _run.Parser(__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--budget", default="30m", help="of each way, all of its stages together")
    parser.add_argument("--recipes", nargs="+", default=["image/colour"])
    parser.add_argument("--out", type=Path, default=Path("runs/large"), help="runs are kept here; those there are used")
    parser.add_argument("settings", nargs="*", help="further settings of every recipe, such as data.image.channels=rgb")
    args = parser.parse_args()
    if args.smoke:
        args.data, args.size, args.out = _made_up(_smoke.begin() / "made-up"), 16, _smoke.begin() / "runs"

    def trained(recipe: str, seconds: float, *settings: str) -> maquette.Run:
        folder = args.out / recipe.replace("/", "-")
        if not (folder / "weights.safetensors").exists():
            options: dict[str, Any] = {"budget": seconds, "size": args.size, "settings": [*settings, *args.settings]}
            _run.train(args, recipe, args.data, out=folder, **options)
        run = maquette.load(folder)
        last = _run.ended(run)
        print(f"\n{recipe}: {last['seconds']:.0f} s, {last['items']:,} pictures, "
              f"{last['items'] / last['seconds']:,.0f} pictures/s; {_run.machine()}")  # fmt: skip
        return run

    for recipe in args.recipes:
        seconds, settings = seconds_of(args.budget), []
        if recipe == "image/latent":
            seconds /= 2
            codec = trained("image/codec", seconds)
            _codec(codec)
            settings = [f"model.codec={codec.folder.path}"]
        _samples(trained(recipe, seconds, *settings), args.out / f"{recipe.replace('/', '-')}.png")


@torch.no_grad()
def _codec(run: maquette.Run) -> None:
    model, data = run.generator.model, run.dataset()
    (target,) = run.spec.target
    x = data.test.columns[target].take(np.arange(len(data.test)))
    back = torch.cat([
        model.decode(model.encode(Batch({target: part}, {}, len(part))), {})[target] for part in batches(x, 50)
    ])  # fmt: skip
    print(f"a picture of {x[0].numel():,} numbers as {model.latent_dim:,}, {list(model.code_grid)}")
    print(f"held out, decoded again: PSNR {psnr(x, back).mean():.2f} dB, SSIM {ssim(x, back).mean():.3f}")
    network = own_features(data, target, None, torch.device("cpu"), notify=print)
    seen, again = (network.see(batches(part, 100)).features for part in (x, back))
    print(f"Frechet distance of {len(x)} decoded pictures from themselves: "
          f"{frechet(again, seen, np.random.default_rng(0)).value:.2f}")  # fmt: skip


def _samples(run: maquette.Run, grid: Path) -> None:
    run.sample(8)  # what is loaded lazily is loaded
    began = time.monotonic()
    samples = run.sample(GRID, seed=0)
    print(f"{GRID / (time.monotonic() - began):.1f} samples/s; {samples.write_preview(grid)}")
    found = run.evaluate()
    for name in SHOWN:
        if name in found:
            print(f"{found[name].title}: {found[name].value_text}, real pictures {found[name].floor_text}")


def _made_up(folder: Path) -> Path:
    """Pictures of plain colours, with a little noise, for a smoke."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(64):
        noise = rng.integers(0, 32, (16, 16, 3))
        Image.fromarray((rng.integers(0, 224, 3) + noise).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


if __name__ == "__main__":
    _run.command(main)
