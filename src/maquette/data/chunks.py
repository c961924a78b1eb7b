"""Cells a chunk at a time: not too many for a worker, and, of files in archives, not too many bytes for the memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maquette.data.raw import Cell, Cells, File, Payload

BYTES = 2**25  # of files that are held at once, as far as they are not larger themselves


def chunks(cells: Cells, rows: Sequence[int], most: int, files: bool) -> Iterator[tuple[Sequence[int], list[Cell]]]:
    """(rows, their cells) of all these rows, in their order. most: rows at once; files: whether cells are files"""
    if not files:
        for start in range(0, len(rows), most):
            yield rows[start : start + most], cells.take(rows[start : start + most])
        return
    start, taken, size = 0, list[Cell](), 0
    for end, row in enumerate(rows, 1):
        taken += cells.take([row])
        payload = _payload(taken[-1])
        if isinstance(payload, bytes) and (len(taken) == 1 or payload is not _payload(taken[-2])):
            size += len(payload)
        if len(taken) == most or size >= BYTES or end == len(rows):
            yield rows[start:end], taken
            start, taken, size = end, [], 0


def _payload(cell: Cell) -> Payload | None:
    return cell.payload if isinstance(cell, File) else None
