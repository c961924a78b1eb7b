"""Run folders of every format that was ever stored in tests/fixtures are opened, or refused by their number."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

import maquette
from maquette.core.errors import UserError
from maquette.core.files import write_json
from maquette.core.parse import read_json
from maquette.core.run import FORMAT, open_run

FIXTURES = Path(__file__).parents[1] / "fixtures"
RUNS = sorted(path for path in FIXTURES.glob("run-format-*/*") if path.is_dir())


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_fixtures", FIXTURES / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=RUNS, ids=lambda path: f"{path.parent.name}-{path.name}")
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(request.param, tmp_path / request.param.name))


def test_this_format_is_stored_and_small() -> None:
    ours = FIXTURES / f"run-format-{FORMAT}"
    assert {path.name for path in RUNS if path.parent == ours} == {"grid", "tokens"}, "run tests/fixtures/make.py"
    assert sum(path.stat().st_size for path in ours.rglob("*") if path.is_file()) < 100_000


def test_a_stored_run_is_sampled_and_resumed_or_refused_by_its_number(
    folder: Path, make: ModuleType, tmp_path: Path
) -> None:
    number = int(read_json(folder / "spec.json")["format"])
    if number != FORMAT:
        with pytest.raises(UserError, match=f"format {number}"):
            maquette.load(folder, device="cpu").sample(2)
        return
    run = maquette.load(folder, device="cpu")
    first, again = run.sample(3, seed=1).target, run.sample(3, seed=1).target
    for name, column in run.spec.columns.items():
        if name in run.spec.target:
            assert len(first[name]) == 3 and first[name].ndim == len(column.shape) + 1
            assert (first[name] == again[name]).all()
    run.resume(quiet=True, data=make.data(folder.name, tmp_path / "data"))
    assert max(entry.get("step", 0) for entry in open_run(folder).log()) == 2 * make.DONE


def test_a_stored_run_holds_no_training_item_and_no_path(folder: Path, make: ModuleType, tmp_path: Path) -> None:
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    source = make.data(folder.name, tmp_path / "data")
    assert str(source.parent).encode() not in content and b"/tmp/" not in content
    if source.suffix == ".txt":
        assert not any(line.encode() in content for line in source.read_text("utf-8").splitlines())


@pytest.mark.parametrize(("number", "named"), [(FORMAT + 1, f"format {FORMAT + 1}"), (None, "without a number")])
def test_another_format_is_refused_by_its_number(folder: Path, number: int | None, named: str) -> None:
    plain = {name: value for name, value in read_json(folder / "spec.json").items() if name != "format"}
    write_json(folder / "spec.json", plain if number is None else {"format": number, **plain})
    with pytest.raises(UserError, match=named):
        maquette.load(folder, device="cpu").sample(1)
