"""Logs of runs, whoever wrote them: what is damaged is passed over and counted, and no size is too large."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from maquette.core import run as run_module
from maquette.core.errors import UserError
from maquette.core.run import RunFolder
from maquette.report.log import CURVES, read_log

GOOD = {"step": 7, "total": 20, "seconds": 0.5, "items": 56, "items_per_s": 100.0, "d/loss": 1.5, "time": 1_790_000_000}
ALARM = {"alarm": "loss jumps", "step": 7, "saw": "d/loss = 9", "advice": "a lower rate", "time": 1_790_000_000}
DAMAGED = (
    b"5", b"null", b"[]", b'"x"', b"{}", b"\xff\xfe", b"\0\0", b"{" * 9999, b"[" * 100_000, b'{"items": 7}',
    b'{"step": "7"}', b'{"step": true}', b'{"step": -1}', b'{"step": 1.5}', b'{"step": 1e999}',
    b'{"step": 1, "items": NaN}', b'{"step": 1, "seconds": Infinity}', b'{"step": 1, "time": 1e300}',
    b'{"step": 1, "d/loss": "x"}', b'{"step": 1, "d/loss": [1]}', b'{"alarm": 5, "step": 1, "saw": "", "advice": ""}',
    b'{"alarm": "x", "step": 1}', b'{"step": 1, "' + b"x" * 100_000 + b'": 1}', rb'{"step": 1, "\ud800": 1}',
    b'{"step": 1' + b"0" * 99 + b"}",
)  # fmt: skip


def folder_of(path: Path, *lines: bytes) -> RunFolder:
    (path / "log.jsonl").write_bytes(b"\n".join(lines))
    return RunFolder(path)


def line(**values: object) -> bytes:
    return json.dumps({**GOOD, **values}).encode()


@pytest.mark.parametrize("damaged", DAMAGED, ids=lambda content: content[:30].decode("latin-1"))
def test_what_is_damaged_is_passed_over_and_told_once(damaged: bytes, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, line(step=1), damaged, damaged, line(step=2), b"")
    told = list[str]()
    assert [entry["step"] for entry in folder.log(tell=told.append)] == [1, 2]
    assert told == ["2 lines of the log are damaged and were passed over."]
    assert folder.last_line()["step"] == 2 and read_log(folder).notes[0] == told[0]


def test_what_a_crash_cut_short_is_not_called_damaged(tmp_path: Path) -> None:
    folder, told = folder_of(tmp_path, line(step=1), line(step=2)[:20]), list[str]()
    assert [entry["step"] for entry in folder.log(tell=told.append)] == [1] and not told
    assert folder.last_line("items")["step"] == 1


def test_numbers_that_a_loss_may_become_stay(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, b'{"step": 3, "d/loss": NaN, "g/loss": -Infinity}', b"")
    assert len(list(folder.log())) == 1 and len(read_log(folder).curves) == 2


def test_a_large_log_is_read_in_little_memory_and_keeps_its_alarms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 40_000
    lines = [line(step=step) for step in range(steps)]
    lines.insert(steps // 3, json.dumps(ALARM).encode())
    folder = folder_of(tmp_path, *lines, b"")
    whole = read_log(folder)
    assert whole.notes == () and len(list(folder.log())) == steps + 1
    monkeypatch.setattr(run_module, "READ", 2**20)
    monkeypatch.setattr("maquette.report.log.READ", 2**20)
    tracemalloc.start()
    some = read_log(folder)
    assert tracemalloc.get_traced_memory()[1] < 30 * 2**20
    tracemalloc.stop()
    assert some.steps == steps - 1 and some.alarms == whole.alarms and "some from all over" in some.notes[0]
    drawn, all_drawn = some.curves[0].steps, whole.curves[0].steps
    assert len(drawn) == len(all_drawn) and drawn[0] < steps / 50 and drawn[100] == pytest.approx(steps / 2, rel=0.2)


def test_more_values_than_can_be_drawn_are_counted(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, line(**{f"d/{n}": n for n in range(CURVES + 9)}), b"")
    log = read_log(folder)
    assert len(log.curves) == CURVES and "more values were logged" in log.notes[0]


FACTS = {
    "fingerprint": 5, "source": [], "train": -1, "test": "x", "splits": {"val": None}, "columns": {"image": 5},
    "classes": {"label": {"0": "many"}}, "left_out": [5], "left_out_count": 1e30, "warnings": "abc", "notes": [None],
    "rows": [1], "before": [{}], "found": {},
}  # fmt: skip


@pytest.mark.parametrize("name", FACTS)
def test_facts_about_the_data_are_checked(name: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.data_file.write_text(json.dumps({"fingerprint": "abc", name: FACTS[name]}), encoding="utf-8")
    with pytest.raises(UserError, match=rf"data\.json' is damaged: {name}"):
        folder.data()
    folder.data_file.write_text(json.dumps({"fingerprint": "abc", "of a later version": FACTS[name]}), encoding="utf-8")
    assert folder.data()["fingerprint"] == "abc"
