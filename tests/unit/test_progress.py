"""Progress of long work: what is told of it, and what people see of it on a terminal, in a pipe and in a notebook."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maquette import console
from maquette.console import Line, Lines, Notebook, shown, shows_progress
from maquette.core.progress import Stage, stage, track, watched, watching


def test_where_nobody_watches_nothing_is_kept() -> None:
    with stage("measuring", 3) as made:
        made.done = 2
    assert list(track("abc", "reading")) == ["a", "b", "c"] and not watched()


def test_stages_stand_one_within_the_other_while_they_last() -> None:
    stages: list[Stage] = []
    with watching(stages):
        for _ in track([1, 2], "outer"):
            with stage("inner"):
                assert [(each.what, each.total) for each in stages] == [("outer", 2), ("inner", None)]
        assert stages == []
        with pytest.raises(ZeroDivisionError), stage("fails"):
            1 / 0  # noqa: B018
        assert stages == []


def test_a_generator_that_is_left_early_ends_its_stage() -> None:
    stages: list[Stage] = []
    with watching(stages):
        for _ in track(iter("abc"), "reading", total=3):
            break
        assert stages == []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is, in seconds: the first of the list."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("total", "first", "done", "seconds", "says"),
    [
        (500, 0, 0, 3, "work: 0 of 500"),
        (500, 0, 120, 8, "work: 120 of 500, ~0:25 left"),
        (2000, 100, 120, 10, "work: 120 of 2,000, ~15:40 left"),  # a resumed one: at the pace of this session
        (None, 0, 0, 3700, "work: 1:01:40"),
        (None, 0, 0, 7, "work: 0:07"),
    ],
)
def test_people_read_how_much_is_left(
    total: int | None, first: int, done: int, seconds: float, says: str, clock: list[float]
) -> None:
    made = Stage("work", total, first)
    made.done, clock[0] = done, clock[0] + seconds
    assert str(made) == says


def test_what_is_left_is_not_guessed_where_one_thing_may_take_longer_than_all_others(clock: list[float]) -> None:
    stages: list[Stage] = []
    with watching(stages):
        for _ in track("ab", "measuring", even=False):
            clock[0] += 5
            said = str(stages[0])
    assert said == "measuring: 1 of 2"


def test_a_pipe_gets_a_line_every_ten_seconds(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    lines, made = Lines(), Stage("measuring", 4)
    for _ in range(25):
        clock[0] += 1
        lines.draw([Stage("outer"), made])
        lines.draw([])
    assert capsys.readouterr().err == "measuring: 0 of 4\n" * 2


def test_hours_in_a_pipe_are_no_flood_of_lines(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for _ in range(3 * 3600):
        clock[0] += 1
        lines.draw([Stage("training")])
    assert 150 < capsys.readouterr().err.count("\n") < 300


def test_short_work_and_quiet_work_show_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "EVERY", 0.0)
    monkeypatch.setattr(console, "REFRESH", 0.01)

    @shows_progress
    def work(seconds: float, quiet: bool = False) -> bool:
        with stage("working"):
            time.sleep(seconds)
            return watched()

    assert work(0.05) and not capsys.readouterr().err
    monkeypatch.setattr(console, "DELAY", 0.0)
    assert not work(0.05, True) and not work(0.05, quiet=True) and not capsys.readouterr().err
    assert work(0.05) and capsys.readouterr().err.startswith("working: 0:00\n")
    with shown(quiet=True):  # ... also where one that would show is called within
        assert not work(0.05, quiet=True)
    with shown():
        assert work(0.05) and not work(0.05, quiet=True)


def test_a_notebook_shows_one_line_with_the_browsers_bar(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    put: list[Line] = []
    monkeypatch.setattr(Notebook, "_put", lambda self, line: put.append(line))
    book, made = Notebook(), Stage("measuring <b>", 4)
    book.draw([made])
    book.draw([made])
    made.done, clock[0] = 1, clock[0] + 2
    book.draw([Stage("outer"), made])
    book.close()
    assert [repr(line) for line in put] == ["measuring <b>: 0 of 4", "measuring <b>: 1 of 4, ~0:06 left", ""]
    shown = [line._repr_html_() for line in put]
    assert '<progress value="1" max="4">' in shown[1] and "<b>" not in shown[1] and shown[2] == ""


WORK = """
import sys, time
from maquette.console import shown
from maquette.core.progress import track
with shown():
    for i in track(range(9), "measuring [/b] :smile:"):
        time.sleep(0.25)
        if i == 6:
            print("a note", file=sys.stderr)
            print("a result")
"""


def test_a_terminal_shows_a_bar_and_is_left_as_it_was() -> None:
    parent, child = pty.openpty()
    done = subprocess.run([sys.executable, "-c", WORK], stderr=child, stdout=subprocess.PIPE, text=True, timeout=60)
    os.close(child)
    seen = b""
    while chunk := _read(parent):
        seen += chunk
    said = seen.decode()
    assert done.returncode == 0 and done.stdout == "a result\n"  # which goes elsewhere, and stays there
    assert "measuring [/b] :smile:" in said and "━" in said and "a note" in said
    assert said.rfind("\x1b[?25h") > said.rfind("\x1b[?25l")  # the cursor is there again
    assert "measuring" not in said[said.rfind("\x1b[2K") :]


def _read(file: int) -> bytes:
    try:
        return os.read(file, 65536)
    except OSError:  # Linux says so where nobody writes any more
        return b""


def test_no_control_characters_reach_a_pipe(tmp_path: Path) -> None:
    forced = {**os.environ, "FORCE_COLOR": "1"}
    code = f"from maquette import console; console.EVERY = 0.5{WORK}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=forced)
    lines = done.stderr.splitlines()
    assert "a note" in lines and any(line.startswith("measuring") for line in lines)
    assert done.stderr.replace("\n", "").isprintable()
