"""Every command beside a number in the documents runs: its smoke goes through the same code to the line it prints."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from maquette.core.errors import UserError

ROOT = Path(__file__).parents[2]
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
ABOVE = ("as above", "同上")
REPLACED = ("--budget", "--seconds", "--data", "--restore", "--flow")  # by what a smoke has itself


def cells(page: Path) -> Iterator[str]:
    """The last cell of each row of the tables whose last column is the command."""
    within = False
    for line in page.read_text(encoding="utf-8").splitlines():
        row = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        if not row:
            within = False
        elif not within:
            within = row[-1].strip("| ") in ("command", "命令")
        elif not re.fullmatch(r"[|\- ]+", line):
            yield row[-1].strip("| ")


def commands() -> list[str]:
    """Of the tables of both READMEs, and of the blocks of the other pages, each once."""
    found = [
        "python benchmarks/judge.py train",  # made before, and beside no number
        "python benchmarks/vocoder.py --sheet voices.png",
        "python benchmarks/tunes.py", "python benchmarks/video.py --run runs/s --motion",
        "python benchmarks/needs.py", "python benchmarks/scales.py run image/flow --data mnist --scale M --shown 9000",
    ]  # fmt: skip
    for page in READMES:
        for cell in cells(page):
            before = ""
            for command in re.findall(r"`([^`]+)`", cell):
                # `--run RUN --steps 4` goes on with the script before it.
                before = f"{' '.join(before.split()[:2])} {command}" if command.startswith("--") else command
                found.append(before)
    for page in (ROOT / "docs").glob("*.md"):
        found += re.findall(r"^(?:[A-Z_]+=\S+ )*(python benchmarks/[^#\n]+?)(?: +#.*)?$", page.read_text("utf-8"), re.M)
    kinds = {}
    for command in found:
        words = shlex.split(command)
        left_out = {i + 1 for i, word in enumerate(words) if word in REPLACED}
        kinds.setdefault(tuple(word for i, word in enumerate(words) if i not in left_out), command)
    return [*kinds.values()]


def test_each_number_has_a_command() -> None:
    for page in READMES:
        found = [*cells(page)]
        assert len(found) > 30 and found[0] not in ABOVE
        for cell in found:
            assert cell in ABOVE or re.fullmatch(r"`[^`]+`([;\uff1b] ?`[^`]+`)*", cell), f"{page.name}: {cell}"


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[None]:
    """The folder can be imported from, and the variables that a smoke sets are put back in the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        for name in ("MAQUETTE_DATA", "MAQUETTE_CACHE"):
            patch.setenv(name, os.environ.get(name, ""))
        yield


@pytest.mark.usefixtures("benchmarks", "real_data")
@pytest.mark.parametrize("command", commands())
def test_command_runs(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(command)
    if program == "maquette":  # of other verbs, test_docs.py says whether they parse
        assert words[0] != "train" or importlib.import_module("_smoke").made(command)
        return
    assert program == "python" and words[0].startswith("benchmarks/"), command
    monkeypatch.setattr(sys, "argv", [*words, "--smoke"])
    importlib.import_module(Path(words[0]).stem).main()
    assert any(letter.isdigit() for letter in capsys.readouterr().out), "it prints no number"


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize("script", sorted(path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py")))
def test_help_trains_nothing(script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    with pytest.raises(SystemExit) as left:
        importlib.import_module(script).main()
    assert left.value.code == 0 and "--smoke" in capsys.readouterr().out


@pytest.mark.usefixtures("benchmarks")
def test_without_data_or_run_it_is_said_how_to_come_by_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import _run

    monkeypatch.setenv("MAQUETTE_DATA", "")
    with pytest.raises(UserError, match="mnist") as missing:
        _run.data("mnist", "train-images-idx3-ubyte.gz")
    assert "MAQUETTE_DATA" in missing.value.remedy
    with pytest.raises(UserError) as untrained:
        _run.opened(tmp_path / "lm", "maquette train text/lm -o runs/lm", smoke=False)
    assert "maquette train text/lm" in untrained.value.remedy
    with pytest.raises(SystemExit) as left:
        _run.command(lambda: _run.data("tang") and None)
    assert left.value.code == 2


@pytest.mark.usefixtures("benchmarks")
def test_the_curves_that_ship_are_those_of_the_measured_runs() -> None:
    measured = importlib.import_module("scales")
    fitted = measured.fit([json.loads(line) for line in measured.POINTS.read_text().splitlines()])
    shipped = yaml.safe_load(measured.CURVES.read_text("utf-8"))
    assert [*fitted] == [*shipped]
    for recipe, entry in fitted.items():
        for row, known in zip(entry["curves"], shipped[recipe]["curves"], strict=True):
            made, told = measured.Curve(**row), measured.Curve(**known)
            for key in ("scale", "data", "extent", "channels", "items", "least", "most", "work"):
                assert getattr(made, key) == getattr(told, key)
            for shown in (1000, made.least, made.most):
                assert made.score(shown) == pytest.approx(told.score(shown), rel=0.01)


@pytest.mark.usefixtures("benchmarks")
def test_a_scale_of_one_run_is_as_far_from_its_floor_as_another_is_by_then() -> None:
    fit = importlib.import_module("scales").fit
    common = {"recipe": "text/lm", "data": "a", "extent": 9, "channels": 1, "items": 9, "measure": "nats_per_character"}
    runs = [("S", 1000, 2.0), ("S", 2000, 1.5), ("S", 4000, 1.25), ("M", 4000, 1.2)]  # S: 1 + 1000 / shown
    lines = [{**common, "scale": name, "shown": n, "score": score, "cpu_seconds": 9} for name, n, score in runs]
    small, large = fit(lines)["text/lm"]["curves"]
    for part in ("floor", "a"):
        assert large[part] == pytest.approx(small[part] * 1.2 / 1.25, rel=0.05) and small["floor"] > 0.8
