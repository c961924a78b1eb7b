"""Steps per second of the textbook GAN (image/gan-mlp, batch 64) against a Keras-style loop beside it.

    MAQUETTE_DATA=... python benchmarks/textbook_gan.py --keras-python VENV/bin/python

The interpreter needs Keras with a backend (pip install tensorflow-cpu); without one the peer's row is left out.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import _run
from maquette.core.errors import UserError


def ours(args: argparse.Namespace) -> float:
    """Steps per second by the run's own log, its median line. Previews are as rare as in a run of minutes."""
    with tempfile.TemporaryDirectory() as folder:
        settings = ["train.batch_size=64", "train.log_every=100", f"train.preview_every={args.steps}"]
        run = _run.train(
            args, "image/gan-mlp", "mnist", out=Path(folder) / "run", given="none", steps=args.steps, settings=settings
        )
        speeds = [line["items_per_s"] for line in run.folder.log() if "items_per_s" in line]
        return statistics.median(speeds[2:] or speeds) / run.recipe.train.batch_size


def keras(python: str, steps: int) -> float | None:
    if shutil.which(python) is None:
        raise UserError(f"--keras-python: there is no interpreter '{python}'.", "Name one that has Keras.")
    script = Path(__file__).parent / "peers" / "keras_gan.py"
    done = subprocess.run([python, str(script), str(steps)], capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def main() -> None:
    parser = _run.Parser(__doc__)
    parser.add_argument("--keras-python", default=sys.executable)
    parser.add_argument("--steps", type=int, default=4000)
    args = parser.parse_args()
    python, steps = (sys.executable, 2) if args.smoke else (args.keras_python, 200)
    peer = keras(python, steps)
    mine = ours(args)
    again = keras(python, steps)
    print(f"maquette image/gan-mlp   {mine:8.1f} steps/s")
    if peer is None or again is None:
        print("Keras-style loop: left out, this interpreter has no Keras (--keras-python)")
        return
    peer = (peer + again) / 2  # before and after, as other work on the machine comes and goes
    print(f"Keras-style loop         {peer:8.1f} steps/s\nratio                    {mine / peer:8.1f}")


if __name__ == "__main__":
    _run.command(main)
