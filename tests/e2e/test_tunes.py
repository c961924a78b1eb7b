"""Tunes go the whole way: a folder of ABC and MIDI, learned as tokens, written as MIDI and sound, judged and shown."""

from __future__ import annotations

import json
import re
import wave
from pathlib import Path

import mido
import numpy as np
import pytest
from commands import fails_clearly, maquette

from maquette.modalities.music.abc_notation.writing import write as in_abc
from maquette.modalities.music.contract import made_up
from maquette.modalities.music.midi import write as in_midi

SMALL = ("model.width=32", "model.layers=1", "train.preview_items=2", "train.batch_size=4", "--steps", "2")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 40 tunes in a file of ABC, 20 of MIDI, and one that is broken."""
    folder, draws = tmp_path_factory.mktemp("music"), np.random.default_rng(0)
    (folder / "tunes").mkdir()
    (folder / "tunes" / "all.abc").write_text(in_abc([made_up(draws, 4) for _ in range(40)]))
    for i in range(20):
        (folder / "tunes" / f"{i}.mid").write_bytes(in_midi([made_up(draws, 4)], {}))
    (folder / "tunes" / "broken.mid").write_bytes(b"MThd")
    done = maquette("train", "music/lm", "--data", folder / "tunes", *SMALL, "-o", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_what_was_trained_on(run: Path) -> None:
    facts = json.loads((run / "data.json").read_text())
    assert facts["left_out_reasons"] == {"broken": 1} and facts["columns"]["music"]["bars"] == 240
    assert [path.suffix for path in (run / "samples").glob("preview-*")] == [".mid"] * 2


def test_midi_and_sound_are_written_and_can_go_on_from_a_file(run: Path, tmp_path: Path) -> None:
    done = maquette("sample", run, "-n", "2", "-o", tmp_path / "out")
    assert "4 files in" in done.stdout
    for i in range(2):
        says = next(m.text for m in mido.MidiFile(tmp_path / f"out/0000{i}.mid").tracks[0] if m.type == "text")
        assert json.loads(says)["Source"] == "AI-generated" and json.loads(says)["item"] == str(i)
        with wave.open(str(tmp_path / f"out/0000{i}.wav")) as file:
            assert file.getframerate() == 22_050 and file.getnframes() > 1000
    maquette("sample", run, "-n", "1", "--format", "abc", "-o", tmp_path / "abc")
    assert (tmp_path / "abc/00000.abc").read_text().startswith("X:1\n")
    prompt = run.parent / "tunes/0.mid"
    made = maquette("sample", run, "-n", "1", "--prompt", prompt, "--bars", "1", "-o", tmp_path / "on.mid")
    assert made.returncode == 0, made.stderr
    notes = [m.note for m in mido.MidiFile(tmp_path / "on.mid").tracks[1] if m.type == "note_on" and m.velocity]
    assert notes[:3] == [m.note for m in mido.MidiFile(prompt).tracks[1] if m.type == "note_on" and m.velocity][:3]
    fails_clearly("sample", run, "--prompt", run / "log.jsonl", says="neither MIDI nor ABC")
    fails_clearly("sample", run, "--format", "png", "-o", tmp_path / "x", says="Tunes cannot be written as '.png'")


def test_tunes_are_judged_and_shown(run: Path) -> None:
    done = maquette("evaluate", run, "--samples", "20")
    assert done.returncode == 0, done.stderr
    found = {metric["name"] for metric in json.loads((run / "metrics.json").read_text())["metrics"]}
    assert {"valid", "bars", "pitches", "rhythm", "cadence", "copied_notes"} <= found
    assert maquette("report", run).returncode == 0
    page = (run / "report.html").read_text()
    assert len(re.findall(r'<audio [^>]*src="data:audio/wav;base64,', page)) > 8 and len(page) < 8_000_000
