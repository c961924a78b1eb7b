"""maquette compare: runs side by side."""

from __future__ import annotations

import click

from maquette.cli.options import start
from maquette.console import shown
from maquette.core.progress import stage


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--out", type=click.Path(), help="Also write the comparison as an HTML file.")
def command(runs: tuple[str, ...], out: str | None) -> None:
    """Compare RUNS: metrics with intervals, settings that differ."""
    from pathlib import Path

    start()
    from maquette import api
    from maquette.cli.tables import print_comparison
    from maquette.core.errors import UserError
    from maquette.core.run import open_run

    if len(runs) < 2:
        if Path(runs[0]).is_dir():
            open_run(runs[0])  # a folder of runs is answered with what is in it
        raise UserError("Only one run was named.", "Name two or more: maquette compare runs/a runs/b")
    comparison = api.compare(*runs)
    print_comparison(comparison)
    if out:
        with shown(), stage("drawing the page"):
            click.echo(str(comparison.save(out)))
