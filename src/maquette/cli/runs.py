"""maquette runs: what was trained, and what of it is to go."""

from __future__ import annotations

import dataclasses
from typing import Any

import click


class Listed(click.Group):
    """A group that does what its command `list` does where none is named: `maquette runs FOLDER`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing and (not args or args[0] not in (*self.commands, *ctx.help_option_names)):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("runs", cls=Listed)
def command() -> None:
    """List runs: recipe, data, state, first measure, size.

    \b
    maquette runs                     those in this folder and below it
    maquette runs FOLDER --json       those in another one, for programs
    maquette runs check runs/a        tells whether its files are as they were written
    maquette runs rm runs/a runs/b    removes runs
    """


@command.command("list")
@click.argument("folder", default=".", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def list_runs(folder: str, as_json: bool) -> None:
    """List the runs in FOLDER; what `maquette runs FOLDER` does too."""
    from maquette.cli.tables import age_text, print_table
    from maquette.overview import runs

    found = runs(folder)
    if as_json:
        import json

        rows = [{**dataclasses.asdict(run), "path": str(run.path)} for run in found]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif not found:
        click.echo(f"No runs in '{folder}'. `maquette train` makes them; `maquette runs FOLDER` looks elsewhere.")
    else:
        from rich.filesize import decimal

        print_table(
            ("run", "recipe", "data", "state", "measure", "size", "age"),
            [(str(run.path), run.recipe, run.data, run.state_text, run.number, decimal(run.size), age_text(run.changed))
             for run in found],
        )  # fmt: skip


@command.command("check")
@click.argument("run", type=click.Path())
def check(run: str) -> None:
    """Check RUN, e.g. one that was received: each file against its digest. Exits with 2 where one is not as it was
    written."""
    from maquette.checks import check_run
    from maquette.cli.tables import print_table
    from maquette.core.errors import UserError
    from maquette.core.run import open_run

    found = check_run(open_run(run))
    print_table(("file", "state"), [(one.name, f"{one.state}: {one.why}" if one.why else one.state) for one in found])
    if wrong := [one.name for one in found if one.state not in ("whole", "unknown")]:
        raise UserError(
            f"'{run}' is not as it was written: {', '.join(wrong)}.", "Use another copy; a changed recipe.yaml is used."
        )
    click.echo("Every file that things are made from is as it was written.")


@command.command("rm")
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def remove(runs: tuple[str, ...], yes: bool) -> None:
    """Remove RUNS: what training, evaluation and report wrote there, and nothing else."""
    from rich.filesize import decimal

    from maquette.core.run import open_run, remove_run
    from maquette.overview import runs as listed

    folders = [open_run(run) for run in runs]  # all of them, before the first is gone
    for folder in folders:
        found: Any = listed(folder.path)[0]
        about = f"{found.path} ({found.recipe}, {found.state_text}, {decimal(found.size)})"
        if yes or click.confirm(f"Remove {about} for good?"):
            left = remove_run(folder)
            click.echo(f"Removed: {about}")
            if left:
                click.echo(f"Left there, as no part of the run: {', '.join(path.name for path in left)}")
