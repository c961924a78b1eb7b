"""The whole way, with the commands of the README."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commands import maquette
from PIL import Image

import maquette as face

pytestmark = pytest.mark.e2e


def succeeds(*args: str | Path, **kwargs: object) -> str:
    done = maquette(*args, **kwargs)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "run"
    out = succeeds("demo", "-o", path, "--budget", "8s")
    assert str(path / "report.html") in out
    assert (face.load(path).undertrained or "This was a first look") in out
    return path


def test_the_demo_leaves_what_it_promises(demo: Path) -> None:
    for name in ("recipe.yaml", "spec.json", "data.json", "weights.safetensors", "log.jsonl", "metrics.json",
                 "report.html", "README.md", "samples/grid.png", "samples/training.gif", "checkpoints"):  # fmt: skip
        assert (demo / name).exists(), name
    metrics = {m["name"]: m for m in json.loads((demo / "metrics.json").read_text())["metrics"]}
    frechet = metrics["frechet"]
    assert frechet["floor"] < frechet["value"] and frechet["low"] <= frechet["value"] <= frechet["high"]
    with Image.open(demo / "samples" / "training.gif") as animation:
        assert animation.n_frames == len(list((demo / "samples").glob("preview-*.png"))) > 1


def test_samples_are_files_that_say_where_they_come_from(demo: Path, tmp_path: Path) -> None:
    succeeds("sample", demo, "-n", "6", "--label", "7", "--seed", "1", "-o", tmp_path / "out")
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) == 6
    with Image.open(files[0]) as picture:
        assert picture.size == (8, 8)
        assert picture.info["seed"] == "1" and picture.info["label"] == "7" and picture.info["Source"] == "AI-generated"


def test_the_same_seed_gives_the_same_bytes_however_many(demo: Path, tmp_path: Path) -> None:
    succeeds("sample", demo, "-n", "9", "--label", "7", "--seed", "1", "-o", tmp_path / "many")
    succeeds("sample", demo, "-n", "3", "--label", "7", "--seed", "1", "-o", tmp_path / "few")
    for file in (tmp_path / "few").iterdir():
        assert file.read_bytes() == (tmp_path / "many" / file.name).read_bytes()


def test_a_run_can_be_zipped_moved_and_loaded_elsewhere(demo: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "run"), "zip", demo)
    shutil.unpack_archive(archive, tmp_path / "elsewhere")
    there, here = face.load(tmp_path / "elsewhere").sample(3, seed=4), face.load(demo).sample(3, seed=4)
    assert torch.equal(there.only, here.only)


def test_compare_and_watch(demo: Path, tmp_path: Path) -> None:
    twin = Path(shutil.copytree(demo, tmp_path / "twin"))
    assert "chet distance" in " ".join(succeeds("compare", demo, twin).replace("│", " ").split())
    assert "step" in succeeds("watch", demo, "--once")


def test_from_python_and_resume(tmp_path: Path) -> None:
    run = face.train(
        "image/vae-mlp", data="digits", out=tmp_path / "run", steps=30, quiet=True, settings={"train.trackers": []}
    )
    samples = run.sample(4, label=3, seed=1)
    assert samples.only.shape == (4, 1, 8, 8) and samples.captions == ["3"] * 4
    assert samples._repr_png_().startswith(b"\x89PNG")
    before = run.folder.weights()
    run.resume(quiet=True)  # nothing is left to do
    after = run.folder.weights()
    assert all(torch.equal(before[k], after[k]) for k in before)
    with pytest.raises(face.UserError):
        run.sample(0)


def test_a_folder_of_pictures_in_classes(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for label in ("circle", "cross"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(40):
            pixels = (torch.rand(16, 16, 3, generator=generator) * 255).byte().numpy()
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{i}.png")
    (tmp_path / "data" / "cross" / "broken.jpg").write_bytes(b"")
    out = succeeds("data", "inspect", tmp_path / "data", "-o", tmp_path / "preview.png")
    assert "broken.jpg" in out and (tmp_path / "preview.png").exists()
    run = tmp_path / "run"
    succeeds("train", "image/gan", "--data", tmp_path / "data", "-o", run, "--steps", "4", "--seed", "3", "-q")
    succeeds("sample", run, "-n", "4", "--label", "cross", "--grid", "-o", tmp_path / "grid.png")
    succeeds("evaluate", run, "-q")
    succeeds("report", run)
    assert "</html>" in (run / "report.html").read_text()


def test_two_processes_equal_one_at_the_same_global_batch(tmp_path: Path) -> None:
    plain = ("train.trackers=[]", "train.precision=fp32")
    shared = ("train", "image/gan-mlp", "--data", "digits", "--steps", "20", *plain)
    succeeds(*shared, "-o", tmp_path / "one")
    succeeds(*shared, "-o", tmp_path / "two", "--processes", "2")
    one, two = face.load(tmp_path / "one").folder.weights(), face.load(tmp_path / "two").folder.weights()
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-5, rtol=0)


def test_help_imports_nothing_that_takes_long() -> None:
    """What makes it quick, on any machine."""
    code = (
        "import sys; from maquette.cli.main import cli; cli.main(['--help'], standalone_mode=False); "
        "print([name for name in ('torch', 'numpy', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "demo" in done.stdout and done.stdout.splitlines()[-1] == "[]"


def test_mnist_by_name(real_data: Path, tmp_path: Path) -> None:
    succeeds("train", "image/gan", "--data", "mnist", "-o", tmp_path / "run", "--steps", "10", "-q")
    facts = json.loads((tmp_path / "run" / "data.json").read_text())
    assert "60,000" in json.dumps(facts) or "60000" in json.dumps(facts)
