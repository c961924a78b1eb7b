"""maquette translate: lines in, lines out, by beam search."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What `translate` and `summarise` take."""
    for option in reversed((
        click.argument("run", type=click.Path()),
        click.option("--input", "source", type=click.Path(), help="File of one text a line, .gz too. [default: stdin]"),
        click.option("-o", "--out", type=click.Path(), help="File to write, one line each. [default: stdout]"),
        click.option(
            "--beam", type=click.IntRange(min=1), default=4, show_default=True, help="Hypotheses; 1 is greedy."
        ),
        click.option(
            "--length-penalty", type=click.FloatRange(0, 10), default=1.0, show_default=True,
            help="Higher: longer (Wu et al. 2016).",
        ),
        click.option("--label", help="Runs with a label: one class for all lines. [default: drawn by share]"),
    )):  # fmt: skip
        command = option(command)
    return command


@click.command("translate")
@options
def command(run: str, **asked: Any) -> None:
    """Translate each line with the model of RUN, which was trained on pairs."""
    rewrite_lines(run, **asked)


def rewrite_lines(
    run: str, source: str | None, out: str | None, beam: int, length_penalty: float, label: str | None,
    escaped: bool = False,
) -> None:  # fmt: skip
    """Lines of a file or of stdin -> as many lines, in the same order.

    escaped: a backslash and an n stand for a line break within the text
    """
    from maquette import api
    from maquette.cli.stdin import blocks
    from maquette.core.errors import UserError
    from maquette.core.files import write_text
    from maquette.data import read_lines

    if out is not None and Path(out).is_dir():
        raise UserError(f"'{out}' is a folder.", "Name a file with -o.")
    loaded = api.load(run)
    if source is None and sys.stdin.isatty():
        click.echo("One text a line; Ctrl-D ends.", err=True)
    say = functools.partial(click.echo, err=True)
    arriving: Iterable[list[str]] = blocks(sys.stdin.buffer, say) if source is None else [read_lines(Path(source), say)]
    if escaped:
        arriving = ([line.replace("\\n", "\n") for line in block] for block in arriving)
    made = loaded.translate(arriving, beam=beam, length_penalty=length_penalty, label=label)
    # One line in is one line out, whatever a model writes.
    flat = (" ".join(text.split()) for text in made)
    if out is None:
        for text in flat:
            click.echo(text)
    else:
        write_text(Path(out), "".join(f"{text}\n" for text in flat))
        click.echo(out, err=True)
