"""Text to speech goes the whole way: from a table of recordings and their words to what is said, shown and judged."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import fails_clearly, maquette

FEW = (
    "train.preview_items=2", "train.batch_size=8", "train.precision=fp32", "model.width=16", "model.text_width=16",
    "model.blocks=1", "model.condition=16",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 70 recordings: a tone for each of the letters of their words, in two voices."""
    folder = tmp_path_factory.mktemp("tts")
    draws, rows = np.random.default_rng(0), ["audio,text,speaker,split"]
    for i in range(70):
        said = "".join(draws.choice(list("abc"), 3))
        tones = [np.sin(np.arange(800) * (0.2 + 0.3 * "abc".index(letter))) for letter in said]
        soundfile.write(folder / f"{i}.wav", 0.4 * np.concatenate(tones) + 1e-3 * draws.normal(size=2400), 8000)
        rows.append(f"{i}.wav,{said},{'xy'[i % 2]},{'test' if i % 7 == 0 else 'train'}")
    (folder / "metadata.csv").write_text("\n".join(rows))
    given = ("--given", "text", "--given", "speaker")
    done = maquette(
        "train", "audio/tts", "--data", folder / "metadata.csv", *given, "--steps", "3", *FEW, "-o", folder / "run"
    )
    assert done.returncode == 0, done.stderr
    assert '--text "..."' in done.stderr + done.stdout
    return folder / "run"


def test_what_recordings_carry(run: Path, tmp_path: Path) -> None:
    given = ("--given", "text", "--given", "speaker")
    said = maquette("data", "inspect", run.parent / "metadata.csv", *given, "-o", tmp_path / "preview.wav").stdout
    assert "speech to learn from" in said and "maquette train audio/tts" in said
    assert any(
        "of speech to learn from" in warning for warning in json.loads((run / "data.json").read_text())["warnings"]
    )


def test_it_says_what_it_is_asked(run: Path, tmp_path: Path) -> None:
    done = maquette("sample", run, "--text", "ABC", "-n", "2", "--speed", "2", "--steps", "2", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    for path in tmp_path.glob("*.wav"):
        with soundfile.SoundFile(path) as file:
            assert file.samplerate == 8000 and "abc" in json.loads(file.comment)["text"].lower()
    fails_clearly("sample", run, "--text", "az!", "-o", tmp_path, says="does not know these characters: '!', 'z'")
    for nothing in ("", " "):
        fails_clearly("sample", run, "--text", nothing, "-o", tmp_path, says="The text is empty")
    fails_clearly("sample", run, "-o", tmp_path, says="was given none")


def test_it_is_judged_and_shown(run: Path) -> None:
    done = maquette("evaluate", run, "--samples", "8")
    assert done.returncode == 0, done.stderr
    metrics = {metric["name"]: metric for metric in json.loads((run / "metrics.json").read_text())["metrics"]}
    assert metrics["character_errors"]["value"] > 0 and metrics["character_errors"]["floor"] is not None
    assert "own recogniser" in metrics["character_errors"]["title"]
    assert maquette("report", run).returncode == 0
    page = (run / "report.html").read_text()
    assert "Where each character is heard" in page and len(re.findall(r'class="row-name"', page)) >= 12
