"""What was trained and what is kept: listed, and removed without harm to anything else."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import maquette
from maquette.cli.main import cli
from maquette.core.cache import KINDS, kept, limit, trim, use
from maquette.core.errors import UserError
from maquette.core.files import ready, temporary_folder, write_json, write_text
from maquette.core.lock import is_owned, sole_owner
from maquette.core.run import RunFolder, open_run

SOURCES = Path(maquette.__file__).parent
FIXTURE = Path(__file__).parents[1] / "fixtures" / "run-format-1" / "grid"


def asked(*args: str | Path, answer: str | None = None) -> Result:
    return CliRunner().invoke(cli, [str(arg) for arg in args], input=answer)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A finished run, one that was stopped, one that never began, and what is none."""
    for name in ("runs/done", "runs/more/stopped", "runs/new"):
        shutil.copytree(FIXTURE, tmp_path / name)
    new = RunFolder(tmp_path / "runs/new")
    for name, steps in (("runs/done", 6), ("runs/more/stopped", 1000)):
        file = RunFolder(tmp_path / name).recipe_file
        write_text(file, re.sub(r"(?m)^  steps: \d+$", f"  steps: {steps}", file.read_text()))
    for path in (new.weights_file, new.log_file):
        path.unlink()
    (tmp_path / "runs/other").mkdir()
    (tmp_path / ".hidden").mkdir()
    shutil.copytree(FIXTURE, tmp_path / ".hidden/run")
    return tmp_path


# -- runs ----------------------------------------------------------------------------------------------


def test_runs_are_listed_with_their_state(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {run.path.name: run for run in maquette.runs(shelf)}
    assert {name: run.state_text for name, run in found.items()} == {
        "done": "finished", "stopped": "stopped at 6 of 1,000", "new": "not begun"}  # fmt: skip
    assert found["done"].size > 1000 and found["done"].data and found["done"].recipe
    monkeypatch.chdir(shelf)
    told = json.loads(asked("runs", "--json").output)
    assert [run["path"] for run in told] == ["runs/done", "runs/more/stopped", "runs/new"]
    assert json.loads(asked("runs", "runs/more", "--json").output) == [told[1]]
    assert "stopped" in asked("runs").output and "No runs in 'runs/other'" in asked("runs", "runs/other").output
    assert isinstance(asked("runs", "nowhere").exception, UserError)
    assert isinstance(asked("runs", "~nobody-of-this-name").exception, UserError)


def test_a_run_that_trains_is_seen_and_cannot_be_removed(shelf: Path) -> None:
    folder = RunFolder(shelf / "runs/more/stopped")
    with sole_owner(folder.lock_file):
        assert is_owned(folder.lock_file) and [run.state for run in maquette.runs(folder.path)] == ["running"]
        error = asked("runs", "rm", folder.path, "--yes").exception
        assert isinstance(error, UserError) and "is being trained" in error.problem and folder.recipe_file.is_file()
    folder.lock_file.with_name(".owner").write_text("process 1 on a machine that lost its power")
    assert not is_owned(folder.lock_file)


@pytest.mark.parametrize("recipe", ["[", "- 1", "about: 3\nfamily: [x]\ntrain: 4\n", ""])
def test_a_damaged_run_is_listed_too(shelf: Path, recipe: str) -> None:
    (shelf / "runs/done/recipe.yaml").write_text(recipe)
    (shelf / "runs/done/metrics.json").write_text("{")
    (shelf / "runs/done/log.jsonl").write_text('{"step": 2}\n3\nnot JSON\n{"ste')
    assert len(maquette.runs(shelf)) == 3


def test_removing_a_run_asks_and_leaves_what_is_not_its_own(shelf: Path) -> None:
    run = shelf / "runs/done"
    (run / "notes.txt").write_text("mine")
    assert asked("runs", "rm", run, answer="n\n").exit_code == 0 and (run / "recipe.yaml").exists()
    done = asked("runs", "rm", run, answer="y\n")
    assert "notes.txt" in done.output and [path.name for path in run.iterdir()] == ["notes.txt"]
    assert asked("runs", "rm", shelf / "runs/new", "-y").exit_code == 0 and not (shelf / "runs/new").exists()


def test_what_is_no_run_is_not_removed(shelf: Path) -> None:
    (shelf / "link").symlink_to(shelf / "runs/done")
    (shelf / "book").mkdir()
    for name in ("recipe.yaml", "README.md"):
        (shelf / "book" / name).write_text("of a cake")
    for wrong in ("runs/other", "runs", "nowhere", "link", "book"):
        assert isinstance(asked("runs", "rm", shelf / "runs/new", shelf / wrong, "-y").exception, UserError), wrong
        if wrong not in ("link", "book"):
            assert (shelf / "runs/new/recipe.yaml").exists(), "nothing is removed where one name is wrong"
        else:
            shutil.copytree(FIXTURE, shelf / "runs/new")
    assert (shelf / "book/README.md").exists() and (shelf / "runs/done/recipe.yaml").exists()


@pytest.mark.parametrize("verb", ["sample", "report", "evaluate", "resume", "watch", "compare"])
def test_a_folder_of_runs_names_them(shelf: Path, verb: str) -> None:
    error = asked(verb, shelf / "runs").exception
    assert isinstance(error, UserError) and error.exit_code == 2
    assert str(shelf / "runs/done") in error.remedy and str(shelf / "runs/more/stopped") in error.remedy
    with pytest.raises(UserError, match="Name the folder"):
        open_run(shelf / "runs/other")


# -- the cache -----------------------------------------------------------------------------------------


def test_each_folder_of_the_cache_is_of_a_kind() -> None:
    folders = {folder for _, own in KINDS.values() for folder in own}
    for path in SOURCES.rglob("*.py"):
        assert set(re.findall(r'cache_folder\("(\w+)"', path.read_text(encoding="utf-8"))) <= folders, path
    assert set(re.findall(r'self\.root / "(\w+)"', (SOURCES / "data/cache.py").read_text())) <= folders


def test_the_cache_is_shown_and_cleared_by_kind_and_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path))
    for name in ("prepared/a/items.bin", "prepared/b/items.bin", "locations/x.json", "speeds/y.json", "theirs/z"):
        write_text(ready(tmp_path / name), "0123456789")
    for path in ("prepared/a/items.bin", "prepared/a"):
        os.utime(tmp_path / path, (0, 0))
    assert {(one.kind, one.path.name): one.size for one in kept()} == {
        ("data", "a"): 10, ("data", "b"): 10, ("locations", "x.json"): 10, ("speeds", "y.json"): 10}  # fmt: skip
    shown = asked("cache").output
    assert "prepared data" in shown and "40 bytes" in shown and str(tmp_path) in shown.replace("\n", "")
    assert "1 entry," in asked("cache", "clear", "--older", "30d", "-y").output
    assert not (tmp_path / "prepared/a").exists() and (tmp_path / "prepared/b").exists()
    assert asked("cache", "clear", answer="n\n").exit_code == 0 and (tmp_path / "prepared/b").exists()
    asked("cache", "clear", "-y")
    assert {one.kind for one in kept()} == {"locations"} and (tmp_path / "theirs/z").exists()
    asked("cache", "clear", "locations", "-y")
    assert kept() == [] and (tmp_path / "theirs/z").exists()
    for wrong in (("--older", "30"), ("nothing",)):
        assert asked("cache", "clear", *wrong).exit_code == 2


def test_the_cache_keeps_its_limit_without_what_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path))
    for age, name in enumerate(("prepared/b/x", "prepared/a/x", "evaluation/net", "locations/x.json", "theirs/z")):
        write_text(ready(tmp_path / name), "0123456789")
        for path in {tmp_path / name, (tmp_path / name).parent} - {tmp_path / "evaluation"}:
            os.utime(path, (1e9 - age, 1e9 - age))
    assert "none" in asked("cache", "limit").output and trim() == []
    use(tmp_path / "evaluation/net")
    os.utime(tmp_path / "evaluation/net", (0, 0))
    assert "1 entry" in asked("cache", "limit", "35").output and "35 bytes" in asked("cache").output.replace("\n", "")
    assert not (tmp_path / "prepared/a").exists(), "what was used longest ago goes first, if nobody uses it"
    assert (tmp_path / "prepared/b").exists()
    monkeypatch.setenv("MAQUETTE_CACHE_LIMIT", "0")
    assert [one.path.name for one in trim()] == ["b"]
    assert {one.kind for one in kept()} == {"networks", "locations"} and (tmp_path / "theirs/z").exists()
    assert "In use, and still there: 1 entry" in asked("cache", "clear", "-y").output
    monkeypatch.setenv("MAQUETTE_CACHE_LIMIT", "none")
    assert limit() is None
    monkeypatch.delenv("MAQUETTE_CACHE_LIMIT")
    assert limit() == 35
    assert asked("cache", "limit", "none").exit_code == 0 and limit() is None
    for wrong in ("20 pounds", "-1", "1e9", "i", "iB", "٣GB"):
        assert isinstance(asked("cache", "limit", "--", wrong).exception, UserError), wrong


def test_leftovers_of_the_cache_are_shown_and_cleared_unless_somebody_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path))
    written = ("prepared/.maquette-01234567-folder/0.bin", "prepared/.part-abcdefgh/0.bin", "downloads/set/a.bin",
               "downloads/set/tmpabcdefgh", "downloads/parquet/x/0.incomplete/y",
               "keys/.maquette-89abcdef-k.json")  # fmt: skip
    for name in written:
        write_text(ready(tmp_path / name), "0123456789")
    for old in ("prepared/.part-abcdefgh", "downloads/set/tmpabcdefgh"):
        os.utime(tmp_path / old, (0, 0))
    found = {one.path.name: one.kind for one in kept()}
    assert (found.pop("set"), found.pop("parquet")) == ("downloads", "downloads")
    assert {*found.values()} == {"leftovers"} and {*found} == {
        ".maquette-01234567-folder", ".part-abcdefgh", "tmpabcdefgh", "0.incomplete",
        ".maquette-89abcdef-k.json"}  # fmt: skip
    assert sum(one.size for one in kept()) == 60 and "leftovers" in asked("cache").output
    with temporary_folder(tmp_path / "prepared") as living:
        assert not (tmp_path / "prepared/.maquette-01234567-folder").exists(), "the next one to write there clears away"
        assert "In use, and still there: 2 entries" in asked("cache", "clear", "leftovers", "-y").output
        assert living.is_dir() and {one.path.name for one in kept() if one.kind == "leftovers"} == {
            living.name, "0.incomplete"}  # fmt: skip
    assert (tmp_path / "downloads/set/a.bin").exists()


def test_a_run_without_measures_has_none_and_one_with_them_shows_the_first(shelf: Path) -> None:
    metric = {"name": "frechet", "title": "Fréchet distance, own features", "value": 12.34}
    settings = {"samples": 1, "seed": 0, "source": "x", "fingerprint": "", "n_train": 1, "n_test": 1,
                "conditional": False, "resamples": 1}  # fmt: skip
    write_json(shelf / "runs/done/metrics.json", {"metrics": [metric], "settings": settings})
    found = {run.path.name: (run.number, run.value) for run in maquette.runs(shelf / "runs")}
    assert found["done"] == ("Fréchet distance 12.3", 12.34) and found["new"] == ("", None)
