"""maquette report: one self-contained HTML file."""

from __future__ import annotations

import click


@click.command("report")
@click.argument("run", type=click.Path())
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def command(run: str, show: bool) -> None:
    """Write RUN/report.html: samples, curves, metrics in plain words."""
    from maquette import api

    path = api.load(run).report()
    click.echo(str(path))
    if show:
        click.launch(str(path))
