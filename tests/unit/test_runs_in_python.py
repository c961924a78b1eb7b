"""Runs as Python holds them: watched, asked to stop, reported on beside other data."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import maquette
from maquette import api
from maquette.core.errors import UserError, hand_on
from maquette.core.run import RunFolder
from maquette.engine import Progress
from maquette.training import launch
from trained import QUICK, Trained


def test_a_stopped_run_is_saved_says_so_and_can_be_gone_on_with(tmp_path: Path) -> None:
    seen: list[Progress] = []
    asked = iter(range(100))
    run = maquette.train(
        "image/vae-mlp", "digits", out=tmp_path / "run", steps=12, quiet=True, settings=QUICK,
        progress=seen.append, stop=lambda: next(asked) == 4,
    )  # fmt: skip
    assert seen[0].step == 0 and seen[-1].total == 12 and next(asked) == 5
    card = (tmp_path / "run/README.md").read_text()
    assert "stopped at step 5 of 12" in card and "`maquette resume .` goes on" in card
    assert len(run.sample(2)) == 2
    seen.clear()
    run.resume(quiet=True, progress=seen.append)
    assert seen[0].step == 5 and seen[-1].step == 12
    assert "stopped" not in (tmp_path / "run/README.md").read_text()


def test_other_processes_cannot_be_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="several processes"):
        maquette.train("image/vae-mlp", "digits", out=tmp_path / "run", processes=2, stop=lambda: True)
    assert not (tmp_path / "run").exists()


def test_other_data_of_the_same_name_is_not_taken_for_the_run_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    draw = np.random.default_rng(0)
    for folder in ("mine", "theirs"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "set.npy", draw.integers(0, 256, (60, 8, 8)).astype(np.uint8))
    run = maquette.train(
        "image/vae-mlp", tmp_path / "mine/set.npy", out=tmp_path / "run", steps=2, given="none", quiet=True,
        settings=QUICK,
    )  # fmt: skip
    monkeypatch.setattr("maquette.training.recall", lambda key: None)  # as on another machine
    for folder, known in (("mine", True), ("theirs", False)):
        monkeypatch.chdir(tmp_path / folder)
        page = maquette.load(run.folder.path).report().read_text(encoding="utf-8")
        assert ("the nearest training" in page) == known and ("not at hand" in page) != known


def test_a_recipe_without_a_target_can_be_gone_on_with_and_says_how_data_was_prepared(tmp_path: Path) -> None:
    rows = [f"{i * 1.37},the {i} line is of {i * 7 % 13} things" for i in range(80)]
    (tmp_path / "table.csv").write_text("\n".join(["age,words", *rows]) + "\n")
    run = maquette.train(
        "text/lm", tmp_path / "table.csv", out=tmp_path / "run", steps=2, quiet=True,
        settings=[*QUICK, "target=[]", "train.batch_size=4"],
    )  # fmt: skip
    assert run.recipe.target == ("words",) and run.resume(quiet=True).recipe.train.steps == 2
    run = maquette.train("image/vae-mlp", "digits", out=tmp_path / "other", steps=1, quiet=True, settings=QUICK)
    assert "  image:\n    size: null\n" in (tmp_path / "other/recipe.yaml").read_text()


def test_python_can_ask_for_all_that_the_command_line_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = maquette.train(
        "image/vae-mlp", "digits", steps=6, seed=7, strict=True, device="cpu", quiet=True, settings=QUICK
    )
    assert run.folder.path == Path("runs/vae-mlp") and [found.path for found in maquette.runs()] == [run.folder.path]
    assert (run.recipe.train.seed, run.recipe.data.strict, run.recipe.train.device) == (7, True, "cpu")
    assert api.resolve_recipe("image/vae-mlp", "digits", settings="data.fit=pad").data.of("image").fit == "pad"

    table = run.history()
    assert list(table["step"])[-1] == 6 and len(table["seconds"]) == len(table["step"]) and "elbo/loss" in table
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pandas", None)
        plain = run.history()
    assert isinstance(plain, dict) and list(plain) == list(table) and plain["step"] == list(table["step"])
    assert all(len(values) == len(plain["step"]) for values in plain.values())

    figure = run.plot()
    figure.savefig(tmp_path / "losses.png")
    assert figure._repr_png_().startswith(b"\x89PNG"), "as a notebook shows it"
    titles = [axes.get_title() for axes in figure.axes]
    assert "elbo/loss" in titles and not any(title.startswith(("preview", "items")) for title in titles)
    run.folder.log_file.write_text("")
    with pytest.raises(UserError, match="logged nothing"):
        run.plot()
    run.remove()
    assert maquette.runs() == [] and not Path("runs/vae-mlp").exists()


def test_data_is_looked_at_from_python_as_on_the_command_line(tmp_path: Path) -> None:
    table = tmp_path / "stories.csv"
    rows = [f"tale {k},{'long ago and far away ' * 9}{k},{'glad' if k % 2 else 'sad'}" for k in range(60)]
    table.write_text("\n".join(["title,story,mood", *rows]))
    from click.testing import CliRunner

    from maquette.cli.main import cli

    said = CliRunner().invoke(cli, ["data", "inspect", str(table), "--json"], catch_exceptions=False).stdout
    data = maquette.inspect(table, quiet=True)
    assert data.fingerprint == json.loads(said)["fingerprint"] and set(data.train.columns) == {"story", "mood"}


def test_data_is_looked_at_from_python(tmp_path: Path) -> None:
    data = maquette.inspect("digits", size=4, quiet=True)
    assert data.summary["used"] == 1797 and data.train.columns["image"].spec.shape == (1, 4, 4)
    with pytest.raises(UserError, match="takes no pace"):
        maquette.inspect("digits", pace=3)


@pytest.mark.parametrize("codes", [{0: 2, 1: -15}, {1: -15}])
def test_what_the_first_process_says_is_told_and_not_that_the_others_were_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Trained, codes: dict[int, int]
) -> None:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
    from torch.distributed.launcher import api as launcher

    def ends(*_: object) -> None:
        assert hand_on("The run was moved.\nGo on there.", 2)
        raise ChildFailedError("maquette", {n: ProcessFailure(n, 1, code, "none") for n, code in codes.items()})

    monkeypatch.setattr(launcher, "elastic_launch", lambda *_: ends)
    with pytest.raises(UserError, match="The run was moved"):
        launch(RunFolder(trained("image/vae-mlp")), 2, quiet=True)
