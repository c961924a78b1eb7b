"""Data that was moved, or lies elsewhere on another machine, is found by --data, and from then on without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import fails_clearly, maquette
from PIL import Image

from trained import QUICK

pytestmark = pytest.mark.e2e


def succeeds(*words: str | Path) -> str:
    done = maquette(*words, "-q")
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_moved_data_is_found_by_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    data, run, rng = tmp_path / "data", tmp_path / "run", np.random.default_rng(0)
    data.mkdir()
    for i in range(60):
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(data / f"{i}.png")
    succeeds("train", "image/vae-mlp", "--data", data, "-o", run, "--steps", "2", "train.batch_size=8", *QUICK)

    data = data.rename(tmp_path / "moved")
    for words in (("evaluate", run), ("resume", run, "--steps", "4")):
        fails_clearly(*words, says="--data PATH")
    succeeds("evaluate", run, "--data", data)
    succeeds("evaluate", run)
    succeeds("resume", run, "--steps", "4")

    data = data.rename(tmp_path / "moved again")
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "that of another machine"))
    run = run.rename(tmp_path / "run there")
    for words in (("evaluate", run), ("resume", run, "--steps", "6")):
        fails_clearly(*words, says="--data PATH")
    succeeds("resume", run, "--steps", "6", "--data", data)
    succeeds("resume", run, "--steps", "8")
    succeeds("evaluate", run)
