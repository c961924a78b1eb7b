"""maquette cache: what is kept so that it need not be made again."""

from __future__ import annotations

import re

import click

from maquette.core.cache import KINDS


class Age(click.ParamType):
    """30d or 12h -> seconds."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if not (found := re.fullmatch(r"(\d+)([dh])", str(value).strip())):
            self.fail(f"'{value}' is no age: write it like 30d or 12h.", param, ctx)
        return float(found[1]) * {"d": 86400, "h": 3600}[found[2]]


@click.group("cache", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Show what is kept to save time, and how much room it takes.

    All of it can be made again, or fetched again, but for where the data of runs lies: without that, `resume` and
    `evaluate` ask for --data. MAQUETTE_CACHE names the folder.
    """
    if context.invoked_subcommand is not None:
        return
    from rich.filesize import decimal

    from maquette.cli.tables import age_text, print_table
    from maquette.core.cache import cache_folder, kept

    found, rows = kept(), []
    for kind, (words, _) in KINDS.items():
        if own := [one for one in found if one.kind == kind]:
            ages = sorted((one.made for one in own), reverse=True)
            rows.append((kind, words, f"{len(own):,}", decimal(sum(one.size for one in own)), age_text(ages[0]),
                         age_text(ages[-1])))  # fmt: skip
    if rows:
        print_table(("kind", "what", "entries", "size", "newest", "oldest"), rows)
    click.echo(f"{decimal(sum(one.size for one in found))} in {cache_folder()}")


@command.command("clear")
@click.argument("kinds", nargs=-1, type=click.Choice(tuple(KINDS)), metavar="[KIND]...")
@click.option("--older", type=Age(), default=0.0, metavar="30d", help="Only what was made longer ago. [default: all]")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def clear_command(kinds: tuple[str, ...], older: float, yes: bool) -> None:
    """Remove what is kept, or KINDs of it; where data lies only if named.

    KIND: data, downloads, networks, speeds or locations. No training should be running meanwhile.
    """
    from rich.filesize import decimal

    from maquette.core.cache import cache_folder, clear
    from maquette.core.counts import counted

    if yes or click.confirm(f"Remove {', '.join(kinds) or 'what is kept'} from {cache_folder()}?"):
        gone = clear(kinds, older)
        click.echo(f"Removed: {counted(len(gone), 'entry', 'entries')}, {decimal(sum(one.size for one in gone))}")
