"""Tables for the terminal. User text never reaches rich as markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maquette.evaluation import Evaluation
    from maquette.evaluation.report import Comparison


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
    for warning in evaluation.warnings:
        Console().print(f"Note: {warning}", markup=False, highlight=False)


def print_comparison(comparison: Comparison) -> None:
    from rich.console import Console

    print_table(comparison.header, comparison.rows())
    for note in comparison.notes:
        Console().print(f"Note: {note}", markup=False, highlight=False)
