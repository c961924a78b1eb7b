"""maquette translate, maquette summarise: lines in, lines out, by beam search.

The context's object is what loads a run: (path, device) -> Run.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from maquette.console import give, shown

Load = Callable[[str, str], Any]


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What both verbs take."""
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
        click.option(
            "--given", multiple=True, metavar="COLUMN=VALUE", help="Another given column: one value for all lines."
        ),
        click.option("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda or mps."),
        click.pass_obj,
    )):  # fmt: skip
        command = option(command)
    return command


@click.command("translate")
@options
def translate(load: Load, run: str, **asked: Any) -> None:
    """Translate each line with the model of RUN, which was trained on pairs."""
    rewrite_lines(load, run, **asked)


@click.command("summarise")
@options
def summarise(load: Load, run: str, **asked: Any) -> None:
    """Summarise each line with the model of RUN; \\n in a line stands for a line break of the text."""
    rewrite_lines(load, run, **asked, escaped=True)


def rewrite_lines(
    load: Load, run: str, source: str | None, out: str | None, beam: int, length_penalty: float, label: str | None,
    given: tuple[str, ...], device: str, escaped: bool = False,
) -> None:  # fmt: skip
    """Lines of a file or of stdin -> as many lines, in the same order.

    escaped: a backslash and an n stand for a line break within the text
    """
    from maquette.core.errors import UserError
    from maquette.core.option import given_of
    from maquette.core.spec import ClassSpec
    from maquette.data import read_lines
    from maquette.modalities.text import save
    from maquette.modalities.text.stdin import blocks

    if out is not None and (Path(out).is_dir() or Path(out).suffix.lower() == ".json"):
        what = "is a folder" if Path(out).is_dir() else "is the name of what will say where the lines come from"
        raise UserError(f"'{out}' {what}.", "Name a file, such as out.txt, with -o.")
    loaded = load(run, device)
    if source is None and sys.stdin.isatty():
        click.echo("One text a line; Ctrl-D ends.", err=True)
    notify = functools.partial(click.echo, err=True)
    arriving: Iterable[list[str]]
    arriving = blocks(sys.stdin.buffer, notify) if source is None else [read_lines(Path(source), notify)]
    if escaped:
        arriving = ([line.replace("\\n", "\n") for line in block] for block in arriving)
    asked = {} if label is None else {next(iter(loaded.spec.givens(ClassSpec)), "label"): label}
    asked |= given_of(given)
    made = loaded.translate(arriving, beam=beam, length_penalty=length_penalty, given=asked)
    # One line in is one line out, whatever a model writes.
    flat = (" ".join(text.split()) for text in made)
    if out is None:
        with shown(quiet=sys.stdout.isatty()):  # the lines tell how far it is
            for text in flat:
                give(text)
    else:
        with shown():
            lines = list(flat)
        about = loaded.about.of(items=str(len(lines)), beam=str(beam)).with_more(asked)
        save("".join(f"{text}\n" for text in lines), Path(out), about)
        click.echo(out, err=True)


VERBS = (translate, summarise)
EXAMPLES = (
    "maquette train text/lm --data shakespeare.txt -o runs/lm --budget 15m",
    'maquette sample runs/lm --prompt "ROMEO:" --temperature 0.8 --stream',
    "maquette train text/transformer --data pairs/ --given en --target de -o runs/de",
    "maquette translate runs/de --input test.en -o test.de",
    "maquette summarise runs/titles --input poems.txt           as translate: one text a line",
)
