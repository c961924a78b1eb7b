"""Lines of log.jsonl, whoever wrote them: what comes out has a step, and numbers where numbers are meant."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, BinaryIO

from maquette.core.counts import counted
from maquette.core.errors import UserError
from maquette.core.parse import parse_json

LONGEST = 65536  # bytes of a line; ours have some hundreds
ALARMS = 1000  # that are looked at of a log of which a share is read
_WHOLE, _TIMES = ("step", "total", "items"), ("seconds", "time")
_YEAR_10000 = 253_402_300_800  # in seconds: what comes later is no date


def read_lines(
    file: BinaryIO, share: float = 1.0, tell: Callable[[str], None] = lambda words: None
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """The whole lines from where the file is; a last one that is cut short, by a crash or as it is being written, is
    left out.

    share: of the lines that are read, drawn evenly, and of the alarms among them the first ones always
    tell: told once, at the end, how many lines were damaged and passed over
    """
    draw, alarms, damaged = Random(0), 0, 0
    while raw := file.readline(LONGEST):
        ends = raw.endswith(b"\n")
        if not ends and len(raw) == LONGEST:
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(LONGEST)
            damaged += 1
            continue
        if share < 1:
            alarm = b'"alarm"' in raw and alarms < ALARMS
            alarms += alarm
            if not alarm and draw.random() > share:
                continue
        line = _checked(raw)
        if line is not None:
            yield line
        elif ends and not raw.isspace():
            damaged += 1
    if damaged:
        some = counted(damaged, "line of the log is damaged and was", "lines of the log are damaged and were")
        tell(f"{some} passed over.")


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
