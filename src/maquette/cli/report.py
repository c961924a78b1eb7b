"""maquette report: one self-contained HTML file."""

from __future__ import annotations

import click

from maquette.cli.options import device, start


@click.command("report")
@click.argument("run", type=click.Path())
@click.option("--for-sharing", is_flag=True, help="Leave out what shows items of the data, in previews too.")
@device
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def command(run: str, for_sharing: bool, device: str | None, show: bool, quiet: bool) -> None:
    """Write RUN/report.html: samples, curves, metrics in plain words."""
    start(quiet)
    from maquette import api

    path = api.load(run, device or "auto").report(for_sharing=for_sharing, quiet=quiet)
    click.echo(str(path))
    if show:
        click.launch(str(path))
