"""Tables for the terminal. User text never reaches rich as markup."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from maquette.evaluation import Evaluation
    from maquette.report import Comparison

SHOWN = 20  # lines of a list on the screen; --json has them all
EXAMPLE = 160  # characters of an example text


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """Draws a table as wide as the terminal allows."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def print_evaluation(evaluation: Evaluation) -> None:
    from rich.console import Console

    from maquette.evaluation.results import HEADER

    print_table(HEADER, evaluation.rows())
    for text in (*evaluation.notes, *(f"Beware: {warning}" for warning in evaluation.warnings)):
        Console().print(text, markup=False, highlight=False)


def print_comparison(comparison: Comparison) -> None:
    from rich.console import Console

    print_table(comparison.header, comparison.rows())
    for note in comparison.notes:
        Console().print(f"Note: {note}", markup=False, highlight=False)


def print_classes(summary: dict[str, Any]) -> None:
    """A table of each label column: its classes, and how many items of each side they have."""
    for column, counts in summary["classes"].items():
        held_out = summary["test_classes"][column]
        rows = [(name, f"{n:,}", f"{held_out[name]:,}") for name, n in counts.items()]
        rows = rows[:SHOWN] + ([("...", f"{len(rows) - SHOWN:,} more", "")] if len(rows) > SHOWN else [])
        print_table((column, "learn", "held out"), rows)


def print_left_out(summary: dict[str, Any]) -> None:
    """What is left out, by name, with the reason."""
    if summary["left_out"]:
        rows = [(entry["name"], entry["reason"]) for entry in summary["left_out"][:SHOWN]]
        count = summary["left_out_count"]
        rows += [("...", f"{count - SHOWN:,} more")] if count > SHOWN else []
        print_table(("left out", "reason"), rows)


def print_remarks(summary: dict[str, Any]) -> None:
    """What was changed or guessed, and what to beware of."""
    from maquette.data import remarks

    for text in remarks(summary):
        click.echo(f"Note: {text}")


def print_texts(summary: dict[str, Any]) -> None:
    """Facts about a data set of texts (Dataset.summary)."""
    windows = bool(summary.get("context"))
    files = ", ".join(summary["files"][:3]) + (", ..." if summary["file_count"] > 3 else "")
    held = "as the data set says" if summary["own_split"] else "the end" if summary["cut"] else "by content"
    what, end = (" characters", "_characters") if windows else ("", "")
    split = f"{summary[f'train{end}']:,}{what} to learn from, {summary[f'test{end}']:,} held out"
    facts = [
        ("source", f"{summary['source']} ({summary['what']})"),
        ("files", f"{summary['file_count']:,}: {files}"),
        ("encoding", ", ".join(f"{name} ({n:,})" for name, n in summary["encodings"].items()) or "-"),
        ("texts", f"{summary['found']:,} found, {summary['used']:,} usable"),
        ("split", f"{split} ({held})"),
    ]
    if summary["splits"]:
        facts.append(("named splits", ", ".join(f"{name} ({n:,})" for name, n in summary["splits"].items())))
    if windows:
        facts.append(("read in", f"windows of {summary['context']:,} tokens"))
    twins = summary["duplicates"]
    facts.append(("exact copies", f"{twins['exact_copies']:,} in {twins['exact_groups']:,} groups"))
    if summary["seconds"]:
        facts.append(("seconds", ", ".join(f"{name} {value:.2f}" for name, value in summary["seconds"].items())))
    print_table(("what", "found"), facts)
    for name, column in summary["columns"].items():
        unit = "tokens" if "unit" in column else "characters"
        sizes = column["lengths"]
        rows = [
            ("characters", f"{column['characters']:,}, {column['distinct_characters']:,} different to learn from"),
        ]
        if not summary["cut"]:
            often = f"median {sizes['median']:,.0f}, 95 % at most {sizes['p95']:,.0f}, longest {sizes['longest']:,}"
            rows.append((f"length in {unit}", often))
        if "unit" in column:
            rows += [
                ("tokens", f"{column['tokens']:,} {column['unit']}, vocabulary of {column['vocab']:,}"),
                ("characters a token", f"{column['chars_per_token']:.2f}"),
            ]
        rows += [("example", _line(text)) for text in column["examples"]]
        print_table((name, "text"), rows)
    print_classes(summary)
    print_left_out(summary)
    print_remarks(summary)
    if "target" not in summary:
        click.echo(f"Choose what to make, for example: {_choice(list(summary['columns']))}")


def _choice(columns: list[str]) -> str:
    """Options that choose among columns of text: the last one, from the first if there are two."""
    quoted = [shlex.quote(name) for name in columns]
    target = f"--target {quoted[-1]}"
    return f"{target} --given {quoted[0]}, or {target} --given none" if len(quoted) > 1 else target


def _line(text: str) -> str:
    """A text on one line, cut."""
    flat = " ".join(text.split())
    return flat if len(flat) <= EXAMPLE else flat[:EXAMPLE] + "..."
