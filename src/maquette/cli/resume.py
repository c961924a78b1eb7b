"""maquette resume: go on from the newest whole checkpoint."""

from __future__ import annotations

import click

from maquette.cli.train import ended, leads


@click.command("resume")
@click.argument("run", type=click.Path())
@click.option("--processes", type=click.IntRange(min=1), default=1, help="Train in several processes of this machine.")
@click.option("--data", help="Where the run's data lies now. [default: where it was]")
@click.option("--device", help="auto (a GPU where there is one), cpu, cuda, cuda:1 or mps. [default: the recipe's]")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def command(run: str, processes: int, data: str | None, device: str | None, quiet: bool) -> None:
    """Go on training RUN exactly where it stopped."""
    from maquette import api

    api.load(run).resume(quiet=quiet, processes=processes, data=data, device=device)
    if not quiet and processes == 1 and leads():  # several: the first of them has said so
        click.echo(ended(run))
