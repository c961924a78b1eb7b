"""maquette translate: lines in, lines out, by beam search."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click


@click.command("translate")
@click.argument("run", type=click.Path())
@click.option("--input", "source", type=click.Path(), help="File of one text a line, .gz too. [default: stdin]")
@click.option("-o", "--out", type=click.Path(), help="File to write, one line each. [default: stdout]")
@click.option("--beam", type=click.IntRange(min=1), default=4, show_default=True, help="Hypotheses; 1 is greedy.")
@click.option("--length-penalty", type=float, default=1.0, show_default=True, help="Higher: longer (Wu et al. 2016).")
def command(run: str, source: str | None, out: str | None, beam: int, length_penalty: float) -> None:
    """Translate each line with the model of RUN, which was trained on pairs."""
    rewrite_lines(run, source, out, beam, length_penalty)


def rewrite_lines(
    run: str, source: str | None, out: str | None, beam: int, length_penalty: float, escaped: bool = False
) -> None:
    """Lines of a file or of stdin -> as many lines, in the same order.

    escaped: a backslash and an n stand for a line break within the text
    """
    from maquette import api
    from maquette.core.errors import UserError
    from maquette.core.files import write_text
    from maquette.data import read_lines

    if out is not None and Path(out).is_dir():
        raise UserError(f"'{out}' is a folder.", "Name a file with -o.")
    loaded = api.load(run)
    lines: Iterable[str]
    if source is not None:
        lines = read_lines(Path(source))
    elif sys.stdin.isatty():
        click.echo("One text a line; Ctrl-D ends.", err=True)
        lines = (line.rstrip("\r\n") for line in sys.stdin)
    else:
        lines = [line.rstrip("\r\n") for line in sys.stdin]
    if escaped:
        lines = (line.replace("\\n", "\n") for line in lines)
    made = loaded.translate(lines, beam=beam, length_penalty=length_penalty)
    # One line in is one line out, whatever a model writes.
    flat = (" ".join(text.split()) for text in made)
    if out is None:
        for text in flat:
            click.echo(text)
    else:
        write_text(Path(out), "".join(f"{text}\n" for text in flat))
        click.echo(out, err=True)
