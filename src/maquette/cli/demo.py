"""maquette demo: the whole way, on data that ships with the install, or on a known set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maquette.cli.options import device, start
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


@click.command("demo")
@click.option("-o", "--out", type=click.Path(), default="maquette-demo", show_default=True, help="A new folder.")
@click.option("--data", type=click.Choice(list(SETS)), default="digits", show_default=True, help="What to learn from.")
@click.option("--budget", help="Time for the training. [default: 60s of digits, 5m of the others]")
@device
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def command(out: str, data: str, budget: str | None, device: str | None, quiet: bool) -> None:
    """Train, judge and report a generator of handwritten digits.

    1,797 real digits ship inside scikit-learn: nothing is downloaded. The other sets are, once, unless they lie under
    MAQUETTE_DATA: MNIST has 70,000 digits of 28x28, Fashion-MNIST as many pieces of clothing.
    """
    start(quiet)
    from maquette import api
    from maquette.cli.tables import print_evaluation
    from maquette.core.run import free_folder

    folder = free_folder(Path(out))
    usual, settings = SETS[data]
    budget = budget or usual
    say: Callable[[str], object] = (lambda note: None) if quiet else click.echo
    say(f"1/3  Training {DEFAULT} on {data} for {budget}, into {folder}")
    run = api.train(DEFAULT, data, out=folder, budget=budget, settings=settings, device=device, quiet=quiet)
    say("2/3  Measuring it against what it has never seen")
    result = run.evaluate(quiet=quiet)
    if not quiet:
        print_evaluation(result)
    say("3/3  Writing the report")
    grid = folder / "samples" / "grid.png"
    number = _grid(run, grid, quiet)
    report = run.report(quiet=quiet)
    say("\nWhat you have now:")
    for what, path in (
        ("the run", folder),
        (f"{number} new ones, a column each", grid),
        ("how they came to be", folder / "samples" / "training.gif"),
        ("the report, for your browser", report),
    ):
        say(f"  {what:<28} {path}")
    say(f"\n{run.undertrained or 'This was a first look: the same for longer makes better ones.'}")
    say(f"More of a kind:  maquette sample {folder} -n 64 --label {_classes(run)[-1]!r} --seed 2 --grid -o more.png")
    say(f"Your own data:   maquette train {DEFAULT} --data FOLDER -o runs/mine --budget 10m")


def _classes(run: Run) -> tuple[str, ...]:
    from maquette.core.spec import ClassSpec

    (column,) = run.spec.givens(ClassSpec).values()
    return column.classes


def _grid(run: Run, file: Path, quiet: bool) -> int:
    """Writes a square of new items, a column for each class; says how many they are."""
    classes = _classes(run)
    n = len(classes) * EACH
    (label,) = run.spec.given
    run.sample(n, seed=1, given={label: list(classes) * EACH}, quiet=quiet).write_preview(file)
    return n
