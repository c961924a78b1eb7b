"""Tables for the terminal. What users wrote never reaches rich as markup."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from maquette.console import painter

if TYPE_CHECKING:
    from maquette.evaluation import Evaluation
    from maquette.report import Comparison

SHOWN = 20  # lines of a list on the screen; --json has them all
EXAMPLE = 160  # characters of an example


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """Draws a table as wide as the terminal allows."""
    from rich.table import Column, Table

    columns = [Column(name, overflow="fold") for name in header]  # a word that is too long goes on, uncut
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    painter().print(table)


def print_evaluation(evaluation: Evaluation) -> None:
    """Prints what the evaluation comes to, and the metrics with their intervals and floors as a table."""
    from maquette.evaluation.results import HEADER

    painter().print(evaluation.verdict.words, style="bold")
    print_table(HEADER, evaluation.rows())
    for note in (*evaluation.notes, *(f"Beware: {remark}" for remark in evaluation.remarks)):
        painter().print(note)


def print_comparison(comparison: Comparison) -> None:
    """Prints the metrics of several runs side by side."""
    print_table(comparison.header, comparison.rows())
    for note in comparison.notes:
        painter().print(f"Note: {note}")


def print_classes(summary: dict[str, Any]) -> None:
    """A table of each label column: its classes, and how many items of each side they have."""
    for column, counts in summary["classes"].items():
        held_out = summary["test_classes"][column]
        rows = [(name, f"{n:,}", f"{held_out[name]:,}") for name, n in counts.items()]
        rows = rows[:SHOWN] + ([("...", f"{len(rows) - SHOWN:,} more", "")] if len(rows) > SHOWN else [])
        print_table((column, "learn", "held out"), rows)


def print_left_out(summary: dict[str, Any]) -> None:
    """What is left out, by reason: how much, and the names of some."""
    names: dict[str, list[str]] = {}
    for entry in summary["left_out"]:
        names.setdefault(entry["reason"], []).append(entry["name"])
    counts = {reason: max(len(found), summary["left_out_reasons"].get(reason, 0)) for reason, found in names.items()}
    rows = [
        (f"{counts[reason]:,}", reason, ", ".join(found[:3]) + (", ..." if counts[reason] > 3 else ""))
        for reason, found in [*names.items()][:SHOWN]
    ]
    if more := summary["left_out_count"] - sum(counts[reason] for _, reason, _ in rows):
        rows.append((f"{more:,}", "...", "..."))
    if rows:
        print_table(("left out", "reason", "which"), rows)


def print_remarks(summary: dict[str, Any]) -> None:
    """What was changed or guessed, and what to beware of."""
    from maquette.data import remarks

    for note in remarks(summary):
        click.echo(f"Note: {note}")


def print_data(summary: dict[str, Any], examples: dict[str, list[str]]) -> None:
    """Facts about a data set (Dataset.summary). examples: items of columns, as they are shown on a terminal."""
    held = "as the data set says" if summary["own_split"] else "the end" if summary.get("cut") else "by content"
    facts = [
        ("source", f"{summary['source']} ({summary['kind']})"),
        ("rows", f"{summary['found']:,} found, {summary['used']:,} usable"),
        ("split", f"{summary['train']:,} to learn from, {summary['test']:,} held out ({held})"),
    ]
    if summary.get("splits"):
        facts.append(("named splits", ", ".join(f"{name} ({n:,})" for name, n in summary["splits"].items())))
    if files := summary.get("files"):
        more = ", ..." if summary["file_count"] > 3 else ""
        facts.append(("files", f"{summary['file_count']:,}: {', '.join(files[:3])}{more}"))
    if encodings := summary.get("encodings"):
        facts.append(("encoding", ", ".join(f"{name} ({n:,})" for name, n in encodings.items())))
    twins = summary["duplicates"]
    for what in ("exact", "near"):
        if f"{what}_copies" in twins:
            facts.append((f"{what} copies", f"{twins[f'{what}_copies']:,} in {twins[f'{what}_groups']:,} groups"))
    if summary["seconds"]:
        facts.append(("seconds", ", ".join(f"{name} {value:.2f}" for name, value in summary["seconds"].items())))
    print_table(("what", "found"), facts)
    columns = summary.get("columns", {})
    for name, column in columns.items():
        rows = [*map(tuple, column.get("rows", ())), *(("example", _line(item)) for item in examples.get(name, ()))]
        if rows:
            print_table((name, column.get("kind", "")), rows)
    print_classes(summary)
    print_left_out(summary)
    if twins.get("examples"):
        print_table(("copies of one another",), [(", ".join(group),) for group in twins["examples"]])
    print_remarks(summary)


def _line(shown: str) -> str:
    """An item on one line, cut."""
    flat = " ".join(shown.split())
    return flat if len(flat) <= EXAMPLE else flat[:EXAMPLE] + "..."


def age_text(then: float) -> str:
    """How long ago that was: 40 s, 12 min, 5 h, 3 d."""
    age = max(time.time() - then, 0.0)
    for size, unit, next_unit in ((1, "s", 60), (60, "min", 3600), (3600, "h", 48 * 3600)):
        if age < next_unit:
            return f"{age / size:.0f} {unit}"
    return f"{age / 86400:.0f} d"
