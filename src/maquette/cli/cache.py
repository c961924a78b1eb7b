"""maquette cache: what is kept so that it need not be made again."""

from __future__ import annotations

import os
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
    `evaluate` ask for --data. MAQUETTE_CACHE names the folder, and MAQUETTE_CACHE_LIMIT how large it may get.
    """
    if context.invoked_subcommand is not None:
        return
    from rich.filesize import decimal

    from maquette.cli.tables import age_text, print_table
    from maquette.core.cache import cache_folder, kept, limit

    found, rows = kept(), []
    for kind, (words, _) in KINDS.items():
        if own := [one for one in found if one.kind == kind]:
            ages = sorted((one.used for one in own), reverse=True)
            rows.append((kind, words, f"{len(own):,}", decimal(sum(one.size for one in own)), age_text(ages[0]),
                         age_text(ages[-1])))  # fmt: skip
    if rows:
        print_table(("kind", "what", "entries", "size", "last used", "longest ago"), rows)
    most = limit()
    of = f" of {decimal(most)} allowed" if most is not None else ""
    click.echo(f"{decimal(sum(one.size for one in found))}{of} in {cache_folder()}")


@command.command("clear")
@click.argument("kinds", nargs=-1, type=click.Choice(tuple(KINDS)), metavar="[KIND]...")
@click.option("--older", type=Age(), default=0.0, metavar="30d", help="Only what was used longer ago. [default: all]")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def clear_command(kinds: tuple[str, ...], older: float, yes: bool) -> None:
    """Remove what is kept, or KINDs of it; where data lies only if named.

    KIND: data, downloads, networks, speeds, locations or leftovers. What another command uses stays.
    """
    from rich.filesize import decimal

    from maquette.core.cache import cache_folder, clear
    from maquette.core.counts import counted

    if yes or click.confirm(f"Remove {', '.join(kinds) or 'what is kept'} from {cache_folder()}?"):
        for said, some in zip(("Removed", "In use, and still there"), clear(kinds, older), strict=True):
            if some or said == "Removed":
                click.echo(f"{said}: {counted(len(some), 'entry', 'entries')}, {decimal(sum(o.size for o in some))}")


@command.command("limit")
@click.argument("size", required=False, metavar="[SIZE]")
def limit_command(size: str | None) -> None:
    """Keep the cache below SIZE from now on, such as 20GB; none: as large as it gets.

    What was used longest ago goes first, and nothing that a command uses. Without SIZE, the limit is shown.
    """
    from rich.filesize import decimal

    from maquette.core.cache import LIMIT, cache_folder, limit, set_limit, trim
    from maquette.core.counts import counted

    if size is not None:
        set_limit(size)
        gone = trim()
        click.echo(f"Removed: {counted(len(gone), 'entry', 'entries')}, {decimal(sum(one.size for one in gone))}")
    most = limit()
    by = f", by {LIMIT}" if os.environ.get(LIMIT) else ""
    click.echo(f"Limit of {cache_folder()}: {'none' if most is None else decimal(most)}{by}")
