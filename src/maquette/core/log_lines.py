"""Lines of log.jsonl, whoever wrote them: what comes out has a step, and numbers where numbers are meant."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from maquette.core.counts import counted
from maquette.core.errors import UserError
from maquette.core.parse import parse_json

LONGEST = 65536  # bytes of a line; ours have some hundreds
ALARM, ALARMS = b'"alarm"', 1000  # how they are found in a log of which a part is read, and how many are looked at
_WHOLE, _TIMES = ("step", "total", "items"), ("seconds", "time")
_YEAR_10000 = 253_402_300_800  # in seconds: what comes later is no date


def read_lines(
    file: BinaryIO, most: float = math.inf, tell: Callable[[str], None] = lambda words: None
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """The whole lines from where the file is; a last one that is cut short, by a crash or as it is being written, is
    left out.

    most: bytes from which on a part of the lines is read, from all over the file; after them its alarms, the first ones
    tell: told once, at the end, how many lines were damaged and passed over
    """
    size, damaged = os.fstat(file.fileno()).st_size, 0
    for line in _lines(file) if size <= most else _some(file, size, int(most)):
        if line is None:
            damaged += 1
        else:
            yield line
    if damaged:
        some = counted(damaged, "line of the log is damaged and was", "lines of the log are damaged and were")
        tell(f"{some} passed over.")


def _lines(file: BinaryIO, end: float = math.inf) -> Iterator[dict[str, Any] | None]:
    """Each line that begins before the end; None for one that is damaged."""
    while file.tell() < end and (raw := file.readline(LONGEST)):
        ends = raw.endswith(b"\n")
        if not ends and len(raw) == LONGEST:
            _pass(file)
            yield None
        elif (line := _checked(raw)) is not None or (ends and not raw.isspace()):
            yield line


def _pass(file: BinaryIO) -> None:
    """Goes to the beginning of the next line."""
    while (raw := file.readline(LONGEST)) and not raw.endswith(b"\n"):
        pass


def _some(file: BinaryIO, size: int, most: int) -> Iterator[dict[str, Any] | None]:
    """The lines of as many stretches as make up `most` bytes; then the alarms of the whole file."""
    for n in range(most // LONGEST):
        start = n * size // (most // LONGEST)
        file.seek(start)
        if start:
            _pass(file)
        yield from (line for line in _lines(file, start + LONGEST) if line is None or "alarm" not in line)
    yield from itertools.islice(_alarms(file), ALARMS)


def _alarms(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """Found by their word: reading every line of a large log takes too long."""
    file.seek(0)
    rest = b""
    while chunk := file.read(2**20):
        data = rest + chunk
        at = data.find(ALARM)
        while at >= 0 and (end := data.find(b"\n", at)) >= 0:
            line = _checked(data[data.rfind(b"\n", 0, at) + 1 : end])
            if line is not None and "alarm" in line:
                yield line
            at = data.find(ALARM, end)
        rest = data[data.rfind(b"\n") + 1 :][-LONGEST:]


def _checked(raw: bytes) -> dict[str, Any] | None:
    """What a line says; None where it is none of ours."""
    try:
        line = parse_json(raw, "log.jsonl")
    except UserError:
        return None
    if not isinstance(line, dict) or not _is_whole(line.get("step")):
        return None
    if "alarm" in line:
        words = all(isinstance(line.get(name), str) for name in ("alarm", "saw", "advice"))
        return line if words else None
    fine = (
        all(isinstance(value, int | float) and not isinstance(value, bool) for value in line.values())
        and all(_is_whole(line[name]) for name in _WHOLE if name in line)
        and all(math.isfinite(line[name]) and 0 <= line[name] < _YEAR_10000 for name in _TIMES if name in line)
    )
    return line if fine else None


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
