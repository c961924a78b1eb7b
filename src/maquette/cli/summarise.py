"""maquette summarise: as translate, for runs trained on texts and their summaries."""

from __future__ import annotations

import click

from maquette.cli.translate import rewrite_lines


@click.command("summarise")
@click.argument("run", type=click.Path())
@click.option("--input", "source", type=click.Path(), help="File of one text a line, .gz too. [default: stdin]")
@click.option("-o", "--out", type=click.Path(), help="File to write, one line each. [default: stdout]")
@click.option("--beam", type=click.IntRange(min=1), default=4, show_default=True, help="Hypotheses; 1 is greedy.")
@click.option("--length-penalty", type=float, default=1.0, show_default=True, help="Higher: longer (Wu et al. 2016).")
def command(run: str, source: str | None, out: str | None, beam: int, length_penalty: float) -> None:
    """Summarise each line with the model of RUN; \\n in a line stands for a line break of the text."""
    rewrite_lines(run, source, out, beam, length_penalty, escaped=True)
