"""Sounds go the whole way: inspected by names of files, learned by a family that knows none, made, shown and judged."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import fails_clearly, maquette

RECIPE = """\
about: Sounds, as a small family makes them
family: vae
target: [audio]
model: {width: 16}
train: {steps: 3, batch_size: 16, preview_items: 3, trackers: []}
"""
SAID = ("--label-pattern", "{label}_{who}_{take}_{number}", "--test-where", "take=0..1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 80 tones, some of them at another rate or as FLAC, and one broken."""
    folder = tmp_path_factory.mktemp("audio")
    sounds, draws = folder / "sounds", np.random.default_rng(0)
    sounds.mkdir()
    for i in range(80):
        rate, end = (16_000, "flac") if i % 8 == 0 else (8000, "wav")
        name = f"{'low' if i % 2 else 'high'}_{'abcd'[i % 4]}_{i // 8}_{i}.{end}"
        n = int(draws.uniform(0.1, 0.2) * rate)
        wave = 0.5 * np.sin(np.arange(n) * (0.1 if i % 2 else 0.3) * 8000 / rate) * np.hanning(n)
        soundfile.write(sounds / name, wave, rate)
    (sounds / "low_z_9_80.wav").write_bytes(b"no sound")
    (folder / "recipe.yaml").write_text(RECIPE)
    done = maquette("train", folder / "recipe.yaml", "--data", sounds, *SAID, "-o", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_what_was_trained_on(run: Path) -> None:
    facts = json.loads((run / "data.json").read_text())
    spec = json.loads((run / "spec.json").read_text())
    assert spec["columns"]["audio"]["rate_hz"] == 8000 and spec["columns"]["label"]["classes"] == ["high", "low"]
    assert facts["left_out_reasons"] == {"not a sound": 1} and "take" not in spec["columns"]


def test_files_of_every_format(run: Path, tmp_path: Path) -> None:
    for suffix in ("wav", "flac", "ogg", "opus", "mp3"):
        maquette("sample", run, "-n", "2", "--label", "low", "--format", suffix, "-o", tmp_path / suffix)
        for path in sorted((tmp_path / suffix).iterdir()):
            with soundfile.SoundFile(path) as file:
                assert file.samplerate == 8000 and json.loads(file.comment)["label"] == "low"
    maquette("sample", run, "-n", "3", "-o", tmp_path / "all.flac")
    assert soundfile.info(tmp_path / "all.flac").duration > 0.6  # three, and gaps
    fails_clearly("sample", run, "-o", tmp_path / "x.png", says="Sounds cannot be written as 'x.png'")
    fails_clearly("sample", run, "--format", "aac", "-o", tmp_path / "y", says="Sounds cannot be written as '.aac'")


def test_a_report_that_plays(run: Path) -> None:
    maquette("report", run)
    page = (run / "report.html").read_text()
    players = re.findall(r'<audio [^>]*src="(data:audio/wav;base64,[^"]+)"', page)
    assert len(players) > 20 and "media-src data:" in page and len(page) < 15_000_000
    assert not re.search(r'<(audio|img)[^>]*src="(?!data:)', page)
    assert soundfile.info(io.BytesIO(base64.b64decode(players[0].partition(",")[2]))).samplerate == 8000
