"""maquette roots: the lowest pitch of each of some new chords."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


@click.command("roots")
@click.argument("run", type=click.Path())
@click.option("-n", "n", type=click.IntRange(min=1), default=4, show_default=True, help="How many.")
@click.pass_obj
def roots(load: Callable[[str, str], Any], run: str, n: int) -> None:
    """Print the lowest pitch of N chords of RUN."""
    import chord

    for item in load(run, "cpu").sample(n).only:
        click.echo(min(chord.pitches(item), default="-"))


VERBS = (roots,)
