"""What of a table's texts is the same however they are read."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from maquette.core.table import Table
from maquette.modalities.text.measures.read import passages


def content(table: Table, column: str) -> Iterator[bytes]:
    """The texts of a column, in UTF-8, in whatever windows they are read."""
    for passage in passages(table, column, sys.maxsize):
        yield passage.text.encode("utf-8")
