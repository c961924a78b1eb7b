"""maquette demo: the whole way, on data that ships with the install."""

from __future__ import annotations

from pathlib import Path

import click

from maquette.cli.options import device
from maquette.recipes import DEFAULT


@click.command("demo")
@click.option("-o", "--out", type=click.Path(), default="maquette-demo", show_default=True, help="A new folder.")
@click.option("--budget", default="75s", show_default=True, help="Time for the training.")
@device
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def command(out: str, budget: str, device: str | None, quiet: bool) -> None:
    """Train, judge and report a generator of handwritten digits.

    1,797 real digits ship inside scikit-learn: nothing is downloaded.
    """
    from maquette import api
    from maquette.cli.tables import print_evaluation
    from maquette.core.run import free_folder

    folder = free_folder(Path(out))
    say = (lambda note: None) if quiet else click.echo
    say(f"Training {DEFAULT} on 1,797 handwritten digits for {budget}, into {folder} ...")
    run = api.train(DEFAULT, "digits", out=folder, budget=budget, device=device, quiet=quiet)
    say("Measuring it against digits it has never seen ...")
    result = run.evaluate(quiet=True)
    if not quiet:
        print_evaluation(result)
    grid = folder / "samples" / "grid.png"
    run.sample(64, seed=1).write_preview(grid)
    report = run.report()
    say("\nWhat you have now:")
    for what, path in (
        ("the run", folder),
        ("64 new digits", grid),
        ("how they came to be", folder / "samples" / "training.gif"),
        ("the report, for your browser", report),
    ):
        say(f"  {what:<28} {path}")
    say(f"\nMore sevens:     maquette sample {folder} -n 64 --label 7 --seed 2 --grid -o sevens.png")
    say(f"Your own data:   maquette train {DEFAULT} --data FOLDER -o runs/mine --budget 10m")
