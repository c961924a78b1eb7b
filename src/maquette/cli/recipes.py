"""maquette recipes: what can be trained."""

from __future__ import annotations

import click

from maquette.cli.options import recipe_argument


@click.group("recipes", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List what can be trained; `recipes show NAME` prints one."""
    if ctx.invoked_subcommand is None:
        from maquette.core.find import recipe_names, recipe_text
        from maquette.core.recipe import about_of

        names = recipe_names()
        width = max(map(len, names))
        for name in names:
            click.echo(f"{name:<{width}}  {about_of(recipe_text(name))}")


@command.command("show")
@recipe_argument("name")
def show(name: str) -> None:
    """Print a recipe: its command, hardware, time and measured score, then every setting."""
    from maquette.core.find import recipe_text

    click.echo(recipe_text(name).rstrip())
