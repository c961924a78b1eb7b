"""maquette resume: go on from the newest whole checkpoint, or train longer."""

from __future__ import annotations

from typing import Any

import click

from maquette.cli import started
from maquette.cli.options import fetch, start, trackers
from maquette.cli.train import ended, leads


@click.command("resume")
@click.argument("run", type=click.Path())
@click.option("--budget", help="Train this much longer, from now on: 90s, 10m, 1h30m.")
@click.option("--steps", type=click.IntRange(min=1), help="Another number of steps in all, those done included.")
@click.option(
    "--schedule",
    type=click.Choice(["continue", "restart"]),
    default="continue",
    show_default=True,
    help="Of a run of another length: learning rates and the like stand where they would in one run of that "
    "length, or begin again.",
)
@click.option("--processes", type=click.IntRange(min=1), default=1, help="Train in several processes of this machine.")
@click.option("--data", type=click.Path(), help="Where the run's data lies now. [default: where it was]")
@fetch
@trackers
@click.option("--device", help="auto (a GPU where there is one), cpu, cuda, cuda:1 or mps. [default: the recipe's]")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def command(run: str, processes: int, trackers: tuple[str, ...], quiet: bool, **asked: Any) -> None:
    """Go on training RUN exactly where it stopped; with --budget or --steps, train it longer than it was planned.

    A finished run goes on only with one of these two.
    """
    start(quiet)
    from maquette import api

    known = api.load(run)
    done = known.resume(quiet=quiet, processes=processes, trackers=trackers or None, began=started(), **asked)
    if done is not known and not quiet and processes == 1 and leads():  # several: the first of them has said so
        click.echo(ended(run))
