"""Clips go the whole way: inspected, learned by a family that knows none, made, shown, judged and reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import fails_clearly, maquette

from maquette.modalities.video.files import moving, origin

RECIPE = """\
about: Clips, as a small family makes them
family: vae
target: [video]
given: auto
model: {width: 8, latent_dim: 8}
train: {steps: 3, batch_size: 16, preview_items: 3, precision: fp32, trackers: []}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 60 squares that go right or down, one of them a folder of frames, and one file that is broken."""
    folder = tmp_path_factory.mktemp("video")
    draws = np.random.default_rng(0)
    for i in range(60):
        clip = np.full((8, 16, 16, 1), draws.integers(0, 60), np.uint8)
        at = draws.integers(0, 5)
        for t, frame in enumerate(clip):
            down, right = (t, at) if i % 2 else (at, t)
            frame[down : down + 5, right : right + 5] = draws.integers(180, 255)
        place = folder / "clips" / ("down" if i % 2 else "right")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}.gif").write_bytes(moving(clip, 10, ".gif"))
    (folder / "clips" / "down" / "broken.gif").write_bytes(b"GIF89a, or not")
    (folder / "recipe.yaml").write_text(RECIPE)
    done = maquette(
        "train",
        folder / "recipe.yaml",
        "--data",
        folder / "clips",
        "--frames",
        "8",
        "--size",
        "16",
        "-o",
        folder / "run",
    )
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_what_was_trained_on(run: Path) -> None:
    facts, spec = (json.loads((run / name).read_text()) for name in ("data.json", "spec.json"))
    assert spec["columns"]["video"]["shape"] == [1, 8, 16, 16] and spec["columns"]["video"]["fps"] == 10
    assert spec["columns"]["label"]["classes"] == ["down", "right"]
    assert facts["left_out_count"] == 1


def test_files_of_every_format(run: Path, tmp_path: Path) -> None:
    for form in ("gif", "webp", "apng", "frames", "webm", "mkv", "mp4", "h264.mp4"):
        done = maquette("sample", run, "-n", "1", "--label", "down", "--format", form, "-o", f"{tmp_path / form}/")
        assert done.returncode == 0, done.stderr
        (path,) = (tmp_path / form).iterdir()
        assert origin(path)["label"] == "down" and origin(path)["Source"] == "AI-generated"
    maquette("sample", run, "-n", "4", "--grid", "-o", tmp_path / "grid.webp")
    assert (tmp_path / "grid.webp").stat().st_size > 500
    fails_clearly("sample", run, "--format", "wmv", "-o", tmp_path / "x", says="Clips cannot be written as '.wmv'")


def test_clips_are_inspected(run: Path, tmp_path: Path) -> None:
    done = maquette(
        "data", "inspect", run.parent / "clips", "--target", "video", "--frames", "8", "-o", tmp_path / "look.gif"
    )
    assert done.returncode == 0, done.stderr
    assert "1 of 61" in done.stdout or "broken.gif" in done.stdout
    assert (tmp_path / "look.gif").is_file()


def test_it_is_judged_and_reported(run: Path) -> None:
    done = maquette("evaluate", run, "--samples", "40")
    assert done.returncode == 0, done.stderr
    found = {entry["name"] for entry in json.loads((run / "metrics.json").read_text())["metrics"]}
    assert {"frechet", "frechet_frames"} <= found
    assert maquette("report", run).returncode == 0
    assert "data:image/webp" in (run / "report.html").read_text(encoding="utf-8")


def test_edits_that_a_run_cannot(run: Path, tmp_path: Path) -> None:
    clip = next((run.parent / "clips" / "down").glob("1.gif"))
    fails_clearly("edit", run, "slow", clip, "-o", tmp_path / "x.gif", says="knows nothing of what lies between")
    fails_clearly("edit", run, "continue", clip, "-o", tmp_path / "x.gif", says="goes on with no clip")
