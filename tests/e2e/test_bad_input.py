"""Bad input: one clear line with the remedy, the right exit code, no traceback, nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from commands import fails_clearly, maquette, process
from PIL import Image

pytestmark = pytest.mark.e2e
QUICK = ("train.batch_size=8", "train.trackers=[]", "--steps", "2", "-q")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an unconditional model on the digits."""
    path = tmp_path_factory.mktemp("runs") / "plain"
    done = maquette("train", "image/gan-mlp", "--data", "digits", "-o", path, "--given", "none", *QUICK)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["trian"], "Did you mean 'train'?"),
        (["train", "image/gam", "--data", "digits", "-o", "x"], "Did you mean 'image/gan'?"),
        (
            ["train", "image/gan", "--data", "digits", "-o", "x", "train.batchsize=3"],
            "Did you mean 'train.batch_size'?",
        ),
        (
            ["train", "image/gan", "--data", "digits", "-o", "x", "model.latnt_dim=3"],
            "Did you mean 'model.latent_dim'?",
        ),
        (["train", "image/gan", "--data", "digits", "-o", "x", "train.batch_size=many"], "train.batch_size"),
        (["train", "image/gan", "--data", "digits", "-o", "x", "train.batch_size=0"], "train.batch_size"),
        (["train", "image/gan", "--data", "digits", "-o", "x", "--budget", "soon"], "not a budget"),
        (["train", "image/gan", "--data", "digits", "-o", "x", "--steps", "3", "--epochs", "2"], "exclude one another"),
        (["train", "image/gan", "--data", "nowhere/at/all", "-o", "x"], "nowhere/at/all"),
        (["train", "image/gan", "-o", "x"], "--data"),
        (["train", "image/gan", "--data", "digits", "-o", "x", "--processes", "3"], "3 processes"),
        (["train", "image/gan", "--data", "digits", "-o", "x", "train.device=gpu"], "train.device"),
        (["train", "image/gan", "--data", "digits", "-o", "x", "model.lr=.inf"], "model.lr"),
        (
            ["train", "image/gan", "--data", "digits", "-o", "x", "--given", "image"],
            "both the target and what is given",
        ),
        (["train", "image/gan", "--data", "digits", "-o", "x", "--given", "colour"], "no column 'colour'"),
        (["train", "image/gan", "--data", "digits", "-o", "x", "batch_size"], "section.key=value"),
        (["train", "no/such.yaml", "--data", "digits", "-o", "x"], "no recipe file"),
        (
            ["train", "image/gan", "--data", "digits", "-o", "x", "train.trackers=[nothing]"],
            "no tracker 'nothing'",
        ),
        (["sample", "nowhere"], "There is no run at"),
        (["recipes", "show", "image/vea"], "Did you mean 'image/vae'?"),
        (["compare", "nowhere"], "two or more"),
    ],
)
def test_what_does_not_exist(args: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fails_clearly(*args, says=says)
    assert not (tmp_path / "x").exists()  # refused before anything was written


def test_data_that_cannot_be_used(tmp_path: Path) -> None:
    empty, one, broken = tmp_path / "empty", tmp_path / "one", tmp_path / "broken"
    for folder in (empty, one, broken):
        folder.mkdir()
    Image.new("L", (16, 16)).save(one / "a.png")
    (broken / "a.png").write_bytes(b"no picture")
    for folder in (empty, one, broken):
        fails_clearly("train", "image/gan", "--data", folder, "-o", tmp_path / "run", says=str(folder))
        assert not (tmp_path / "run").exists()


def test_asking_a_run_for_what_it_cannot_do(run: Path) -> None:
    fails_clearly("sample", run, "--label", "3", says="has no option --label")
    fails_clearly("sample", run, "-n", "0", says="from 1 to")
    fails_clearly("sample", run, "--seed", "-1", says="seed")
    fails_clearly("sample", run.parent, says="not a run folder")
    fails_clearly("train", "image/gan", "--data", "digits", "-o", run, says="maquette resume")


def test_poisoned_and_damaged_files_are_refused_by_name(copy: Path) -> None:
    weights = copy / "weights.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(b"\x80\x04\x95" + good)  # begins as a pickle does
    fails_clearly("sample", copy, says="weights.safetensors")
    weights.write_bytes(good[: len(good) // 2])
    fails_clearly("sample", copy, says="weights.safetensors")
    weights.write_bytes(good)
    assert maquette("sample", copy, "-n", "2").returncode == 0

    (copy / "spec.json").write_text("{")
    fails_clearly("sample", copy, says="spec.json")


def test_a_recipe_that_would_execute_is_refused(copy: Path) -> None:
    (copy / "recipe.yaml").write_text("about: !!python/object/apply:os.system ['touch poisoned']\n")
    fails_clearly("sample", copy, says="recipe.yaml")
    assert not Path("poisoned").exists() and not (copy / "poisoned").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    fails_clearly("train", "image/gan-mlp", "--data", "digits", "-o", tmp_path / "run", *QUICK, says="cannot be made")


def test_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        fails_clearly("train", "image/gan", "--data", "digits", "-o", disk / "run", *QUICK, says="disk is full")
        assert not (disk / "run").exists(), "nothing was learned, so nothing stands in the way of the next try"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = process("sample", tmp_path / "nowhere", "--debug")
    assert done.returncode == 1 and "Traceback" in done.stderr
