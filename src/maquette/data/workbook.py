"""Workbooks of Excel: the rows of the first sheet, as they would stand in a CSV."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

from maquette.core import limits
from maquette.core.errors import UserError
from maquette.data.decode import refusal
from maquette.data.names import shown

WORKBOOK = b"PK\x03\x04"  # how one begins: it is a zip file


def records(data: bytes, name: str) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of each row, from 1. Raises UserError for what is no workbook, or where the extra is missing."""
    try:
        import openpyxl
    except ImportError:
        raise UserError(
            f"'{shown(name)}' is a workbook of Excel: reading it needs an extra that is not installed.",
            "pip install 'maquette[excel]', or save the sheet as CSV.",
        ) from None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            limits.check(sum(part.file_size for part in parts.infolist()))
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        for number, row in enumerate(book.worksheets[0].iter_rows(values_only=True), 1):
            yield number, [_written(cell) for cell in row]
    except limits.TooMuch as error:
        raise refusal(name, error) from None
    except Exception as error:  # openpyxl raises whatever its parsers do
        raise UserError(
            f"'{shown(name)}' is no whole workbook of Excel: {str(error)[:80]}.", "Save the sheet as CSV."
        ) from None


def _written(cell: Any) -> str:
    """A cell as a CSV would have it."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
