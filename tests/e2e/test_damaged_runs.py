"""Runs whose small files are damaged, or were written by somebody who means no good."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import fails_clearly, maquette

from maquette.core.run import RunFolder
from trained import Trained


def test_a_run_with_a_damaged_log_is_watched_resumed_and_listed(trained: Trained, tmp_path: Path) -> None:
    run = trained.copy(trained("image/gan-mlp"), tmp_path / "run")
    log = run / "log.jsonl"
    log.write_bytes(b"5\n\xff\n" + log.read_bytes())
    done = maquette("watch", run, "--once")
    assert done.returncode == 0 and "step" in done.stdout and "2 lines of the log" in done.stderr
    assert maquette("runs", run).returncode == 0
    assert maquette("resume", run, "--steps", "22", "-q").returncode == 0
    steps = [entry["step"] for entry in RunFolder(run).log(tell=pytest.fail) if "items" in entry]
    assert steps == sorted(steps) and steps[-1] == 22


def test_rows_that_say_nothing_are_refused(trained: Trained, tmp_path: Path) -> None:
    run = trained.copy(trained("image/gan-mlp"), tmp_path / "run")
    facts = json.loads((run / "data.json").read_text("utf-8"))
    for rows in ({"train": "?", "test": "?"}, {"train": "AAAA"}, {"test": "eJwDAAAAAAE="}):
        RunFolder(run).write_data({**facts, "rows": rows})
        fails_clearly("evaluate", run, says="data.json")


@pytest.mark.parametrize("verb", ["compare", "evaluate"])
def test_a_home_of_nobody_is_a_name_like_any_other(verb: str, trained: Trained, tmp_path: Path) -> None:
    run = trained.copy(trained("image/gan-mlp"), tmp_path / "run")
    recipe = (run / "recipe.yaml").read_text("utf-8").replace("source: digits", "source: ~nobody-here/x")
    (run / "recipe.yaml").write_text(recipe, "utf-8")
    if verb == "compare":
        assert maquette("compare", run, trained("image/gan-mlp")).returncode == 0
    else:
        fails_clearly("evaluate", run, says="nobody-here")
