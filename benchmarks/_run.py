"""What the benchmarks of pictures share: a run that is loaded, or trained for a budget and kept or thrown away."""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import maquette


def parser(doc: str | None, recipe: str, budget: str) -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--recipe", default=recipe)
    found.add_argument("--budget", default=budget)
    found.add_argument("--out", type=Path, help="keep the run here")
    found.add_argument("--run", type=Path, help="judge this run; train none")
    found.add_argument("settings", nargs="*", help="further settings of the recipe")
    return found


@contextmanager
def trained(args: argparse.Namespace, data: str | Path, **options: Any) -> Iterator[maquette.Run]:
    """The run of `args`, after what its training took is printed. options: further ones of `maquette.train`."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        if args.run:
            run = maquette.load(args.run)
        else:
            out = args.out or Path(folder) / "run"
            run = maquette.train(
                args.recipe, data, out=out, **{"budget": args.budget, "settings": args.settings, **options}
            )
        wall = time.monotonic() - began
        last = [line for line in run.folder.log() if "items_per_s" in line][-1]
        print(f"{args.run or args.recipe}  wall {wall:.0f} s  training {last['seconds']:.0f} s")
        print(f"pictures {last['items']:,}  pictures/s {last['items'] / last['seconds']:,.0f}")
        print(f"waiting for data {last['waited_seconds']:.2f} s")
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
        yield run
