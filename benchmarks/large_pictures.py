"""Large pictures in two stages (a codec, then a flow on its codes) beside one stage of the same time in all.

    npm pack @lobehub/fluent-emoji-3d && tar xzf lobehub-fluent-emoji-3d-*.tgz
    python benchmarks/large_pictures.py --data package/assets --budget 10m --out runs/large data.image.channels=rgb

3,391 pictures of 256x256, drawn in three dimensions (MIT licence), on white. Any other folder of pictures will do.
Codec and flow of codes get the budget each; image/flow on pixels, with --one-stage, what that says.

What the codec keeps of held-out pictures: PSNR and SSIM, and the Frechet distance between them and themselves decoded.
Distances are in the features of a network that was trained on the training pictures (docs/evaluation.md); the floor is
what training pictures score, and few pictures make all of them large.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import maquette
from maquette.core.batch import Batch
from maquette.core.modality import write_preview
from maquette.evaluation.features import batches
from maquette.evaluation.measures.frechet import frechet
from maquette.evaluation.similarity import psnr, ssim
from maquette.modalities.image.own_features import own_features

GRID = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--budget", default="10m", help="of each stage")
    parser.add_argument("--out", type=Path, default=Path("runs/large"), help="runs are kept here; those there are used")
    parser.add_argument("--one-stage", help="budget of image/flow on the pixels, such as 20m")
    parser.add_argument("settings", nargs="*", help="further settings of every recipe, such as data.image.channels=rgb")
    args = parser.parse_args()

    def trained(name: str, recipe: str, budget: str, *settings: str) -> maquette.Run:
        folder = args.out / name
        if not (folder / "weights.safetensors").exists():
            own = [*settings, *args.settings]
            maquette.train(recipe, args.data, out=folder, budget=budget, size=args.size, settings=own)
        run = maquette.load(folder)
        last = [line for line in run.folder.log() if "items_per_s" in line][-1]
        print(f"\n{recipe}: {last['seconds']:.0f} s, {last['items']:,} pictures, "
              f"{last['items'] / last['seconds']:,.0f} pictures/s")  # fmt: skip
        return run

    codec = trained("codec", "image/codec", args.budget)
    _codec(codec)
    runs = {"two-stage": trained("latent", "image/latent", args.budget, f"model.codec={args.out / 'codec'}")}
    _samples(runs["two-stage"], args.out / "two-stage")
    if args.one_stage:
        runs["one-stage"] = trained("flow", "image/flow", args.one_stage)
        _samples(runs["one-stage"], args.out / "one-stage")


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
    print(f"{GRID / (time.monotonic() - began):.1f} samples/s; {grid}.png")
    write_preview(samples.only, run.spec.only(), grid, [])
    found = run.evaluate()
    for name in ("frechet", "kernel", "precision", "recall", "copies", "psnr"):
        if name in found:
            print(f"{found[name].title}: {found[name].value_text}, real pictures {found[name].floor_text}")


if __name__ == "__main__":
    main()
