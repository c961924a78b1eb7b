"""maquette demo: the whole way, on data that ships with the install, or on a known set."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maquette.cli.options import device, start
from maquette.core.errors import UserError
from maquette.core.find import find_modality, modalities_with
from maquette.core.modality import noun, part
from maquette.recipes import DEFAULT

if TYPE_CHECKING:
    from maquette.api import Run

# Of each set: how long, and what of the recipe is set. The digits must be legible after a minute of one slow core that
# others use too: with these settings a step takes 26 ms of such a core (AVX2, fp32), where the recipe's own takes 135.
SMALL = {"model.width": 16, "model.deep": 48, "model.blocks": 1, "model.features": 64, "train.batch_size": 32}
SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "digits": ("60s", SMALL),
    "mnist": ("5m", {}),
    "fashion-mnist": ("5m", {}),
}
EACH = 10  # items of each class in the grid


def _of_each_kind(command: Callable[..., None]) -> Callable[..., None]:
    """A flag for each kind that has a demo of its own: `DEMO` in its module `sets`, which is the recipe, the set, the
    time, settings, and how many of each class are shown."""
    for kind in modalities_with("sets"):
        says = f"Generate {noun(kind, 2)} instead."
        command = click.option(f"--{kind}", "kind", flag_value=kind, help=says)(command)
    return command


@click.command("demo")
@click.option("-o", "--out", type=click.Path(), default="maquette-demo", show_default=True, help="A new folder.")
@click.option("--data", type=click.Choice(list(SETS)), help="What to learn from. [default: digits]")
@_of_each_kind
@click.option("--budget", help="Time for the training. [default: 60s of digits, 4m or 5m of the others]")
@device
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def command(
    out: str, data: str | None, kind: str | None, budget: str | None, device: str | None, quiet: bool
) -> None:  # fmt: skip
    """Train, judge and report a generator of handwritten digits.

    1,797 real digits ship inside scikit-learn: nothing is downloaded. The other sets are, once, unless they lie under
    MAQUETTE_DATA: MNIST has 70,000 digits of 28x28, Fashion-MNIST as many pieces of clothing. Kinds with a flag of
    their own make what they learn from.
    """
    start(quiet)
    from maquette import api
    from maquette.cli.tables import print_evaluation
    from maquette.core.run import free_folder

    if kind and data:
        raise UserError(f"--{kind} learns from a set of its own.", "Leave --data out.")
    folder = free_folder(Path(out))
    recipe, each, data = DEFAULT, EACH, data or "digits"
    usual, settings = SETS[data]
    if kind:
        recipe, data, usual, settings, each = part(kind, "DEMO", "sets")
    budget = budget or usual
    say: Callable[[str], object] = (lambda note: None) if quiet else click.echo
    say(f"1/3  Training {recipe} on {data} for {budget}, into {folder}")
    run = api.train(recipe, data, out=folder, budget=budget, settings=settings, device=device, quiet=quiet)
    say("2/3  Measuring it against what it has never seen")
    result = run.evaluate(quiet=quiet)
    if not quiet:
        print_evaluation(result)
    say("3/3  Writing the report")
    own = find_modality(run.spec.only().kind)
    grid = folder / "samples" / f"grid{own.PREVIEW_SUFFIX}"
    began = time.monotonic()
    number = _grid(run, grid, each, quiet)
    took = time.monotonic() - began
    more = part(own.KIND, "demonstrated", "tools")
    report = run.report(quiet=quiet)
    say("\nWhat you have now:")
    for what, path in (
        ("the run", folder),
        *(more(run, folder) if more else ()),
        (f"{number} new ones, made in {took:.1f} s", grid),
        ("how they came to be", folder / "samples" / "training.gif"),
        ("the report, for your browser", report),
    ):
        if path.exists():
            say(f"  {what:<32} {path}")
    say(f"\n{run.undertrained or 'This was a first look: the same for longer makes better ones.'}")
    more = "-o more/" if kind else "--grid -o more.png"
    say(f"More of a kind:  maquette sample {folder} -n 64 --label {_classes(run)[-1]!r} --seed 2 {more}")
    say(f"Your own data:   maquette train {recipe} --data FOLDER -o runs/mine --budget 10m")


def _classes(run: Run) -> tuple[str, ...]:
    from maquette.core.spec import ClassSpec

    return next(iter(run.spec.givens(ClassSpec).values())).classes


def _grid(run: Run, file: Path, each: int, quiet: bool) -> int:
    """Writes new items, as many of each class, one class after the other; says how many they are."""
    from maquette.core.spec import ClassSpec

    n = len(_classes(run)) * each
    given = {
        name: list(itertools.islice(itertools.cycle(column.classes), n))
        for name, column in run.spec.givens(ClassSpec).items()
    }
    run.sample(n, seed=1, given=given, quiet=quiet).write_preview(file)
    return n
