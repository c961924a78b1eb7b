"""What benchmarks share: a command line with a smoke, the data and runs that they need, and the machine in words."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import _smoke
import maquette
from maquette.core.errors import MaquetteError, UserError


class Parser(argparse.ArgumentParser):
    """The command line of a benchmark: its docstring is the help, and --smoke is understood.

    runs: the commands that make the runs which are asked for, a line each
    """

    def __init__(self, doc: str | None = None, runs: str = "", **of_a_verb: Any) -> None:
        told = {"description": doc, "epilog": f"What makes the runs:\n{runs}" if runs else None}
        super().__init__(**(of_a_verb or told), formatter_class=argparse.RawDescriptionHelpFormatter)
        self.add_argument(
            "--smoke", action="store_true", help="all of the code in seconds, on little of everything: no number counts"
        )

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found = super().parse_args(args, namespace)
        if found.smoke:
            _smoke.begin()
        return found


def parser(doc: str | None, recipe: str, budget: str) -> Parser:
    """Of a benchmark that judges a run, or first trains it."""
    found = Parser(doc)
    found.add_argument("--recipe", default=recipe)
    found.add_argument("--budget", default=budget)
    found.add_argument("--out", type=Path, help="keep the run here")
    found.add_argument("--run", type=Path, help="judge this run; train none")
    found.add_argument("settings", nargs="*", help="further settings of the recipe")
    return found


def command(main: Callable[[], None]) -> None:
    """Runs a benchmark; what goes wrong ends it as it ends `maquette`: a line, its remedy, and 2 or 1."""
    try:
        main()
    except MaquetteError as error:
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def data(*parts: str) -> Path:
    """A file or folder among the data that MAQUETTE_DATA names; UserError where it is not there."""
    name, root = "/".join(parts), os.environ.get("MAQUETTE_DATA")
    if not root:
        raise UserError(f"This needs '{name}'.", f"Set MAQUETTE_DATA to the folder that holds {parts[0]}/.")
    if not (found := Path(root, *parts)).exists():
        raise UserError(f"There is no '{name}' in '{root}'.", "Set MAQUETTE_DATA to a folder that holds it.")
    return found


def opened(path: Path, runs: str, smoke: bool) -> maquette.Run:
    """The run in `path`, which one of the commands `runs` makes; of a smoke, the one that they make of little."""
    if smoke:
        return maquette.load(_smoke.made(runs, path))
    if not path.exists():
        raise UserError(f"There is no run '{path}'.", f"Make it first, with MAQUETTE_DATA naming the data:\n{runs}")
    return maquette.load(path)


def train(args: argparse.Namespace, recipe: str, source: str | Path, **options: Any) -> maquette.Run:
    """`maquette.train`; a smoke takes two steps."""
    return maquette.train(recipe, source, **(_smoke.short(recipe, options) if args.smoke else options))


@contextmanager
def trained(args: argparse.Namespace, source: str | Path, **options: Any) -> Iterator[maquette.Run]:
    """The run of `args`, after what its training took is printed. options: further ones of `maquette.train`."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        if args.run and not args.smoke:
            run = maquette.load(args.run)
        else:
            out = args.out or Path(folder) / "run"
            options = {"budget": args.budget, "settings": args.settings, **options}
            run = train(args, args.recipe, source, out=out, **options)
        wall = time.monotonic() - began
        last = ended(run)
        print(f"{args.run or args.recipe}  wall {wall:.0f} s  training {last['seconds']:.0f} s")
        print(f"pictures {last['items']:,}  pictures/s {last['items'] / last['seconds']:,.0f}")
        print(f"waiting for data {last['waited_seconds']:.2f} s")
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
        yield run


def ended(run: maquette.Run) -> dict[str, Any]:
    """The last line of the log that says how fast it went."""
    return [line for line in run.folder.log() if "items_per_s" in line][-1]


def machine() -> str:
    """What measures, in words: the processor, the widest vectors that torch uses, its precision and threads."""
    import torch

    from maquette.core.hardware import multiplies_bf16

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "CPU")
    precision = "bf16" if multiplies_bf16(torch.device("cpu")) else "fp32"
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}, {precision}, threads: {torch.get_num_threads()}"
