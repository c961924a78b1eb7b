"""maquette summarise: as translate, for runs trained on texts and their summaries."""

from __future__ import annotations

from typing import Any

import click

from maquette.cli.translate import options, rewrite_lines


@click.command("summarise")
@options
def command(run: str, **asked: Any) -> None:
    """Summarise each line with the model of RUN; \\n in a line stands for a line break of the text."""
    rewrite_lines(run, **asked, escaped=True)
