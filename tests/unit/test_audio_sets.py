"""Sets of sounds that are made on the spot: spoken digits by a formant synthesiser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from maquette import api
from maquette.modalities.audio.synthesis import RATE, SPEAKERS, WORDS, spoken
from maquette.nets.spectrogram import power


def test_clips_are_sound_and_no_two_alike() -> None:
    words = [*WORDS] * 2
    clips = spoken(words, ["ben"] * 20, seed=0)
    assert all(0.2 < len(clip) / RATE < 1.2 and 0.3 < np.abs(clip).max() < 0.95 for clip in clips)
    assert all(len(a) != len(b) or (a != b).any() for a, b in zip(clips[:10], clips[10:], strict=True))
    again = spoken(words, ["ben"] * 20, seed=0)
    assert all((a == b).all() for a, b in zip(clips, again, strict=True))


@pytest.mark.parametrize("who", SPEAKERS)
def test_a_vowel_has_its_formants(who: str) -> None:
    """Of "three", which ends in a long /iy/: the first below 500 Hz, the second beyond 2 kHz, and a valley between."""
    (clip,) = spoken(["three"], [who], seed=1)
    seen = power(torch.from_numpy(clip).float(), 256, 64).log10()
    seen = seen[:, int(0.6 * seen.shape[1]) : int(0.8 * seen.shape[1])].mean(1).numpy()
    hz = np.arange(129) * RATE / 256
    low, valley, high = (seen[(hz > a) & (hz < b)].max() for a, b in ((150, 500), (1100, 1500), (2000, 3300)))
    assert low > valley + 2 and high > valley + 1.5


def test_the_set_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path))
    found = api.inspect("spoken-digits")
    assert {"audio", "label", "speaker"} <= found.summary["columns"].keys()
    assert found.summary["train"] + found.summary["test"] == found.summary["found"] == 1500
    assert len(found.summary["classes"]["label"]) == len(WORDS)
