"""How sounds are seen: the spectrogram against its definition, pictures, players, and a page that needs no network."""

from __future__ import annotations

import base64
import cmath
import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from maquette.core.about import About
from maquette.modalities import audio
from maquette.modalities.audio.config import Spec
from maquette.modalities.audio.report import draw, previewed, shape_words, tiles
from maquette.modalities.audio.shown import PLAIN_BYTES, PLAYED, picture, player, sheet
from maquette.nets.spectrogram import bands_for, frame_size, log_mel, mel_filters, power

SPEC = Spec(shape=(1, 4000), rate_hz=8000)


def test_the_transform_is_what_it_is_defined_as() -> None:
    x = torch.randn(2, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    size, hop = 16, 5
    found = power(x, size, hop)
    assert found.shape == (2, 9, 21)
    for t in range(21):
        for k in range(9):
            total = torch.zeros(2, dtype=torch.complex128)
            for n in range(size):
                at = t * hop - size // 2 + n
                if 0 <= at < 100:
                    hann = 0.5 - 0.5 * math.cos(2 * math.pi * n / size)
                    total += x[:, at] * (hann * cmath.exp(-2j * math.pi * k * n / size))
            assert torch.allclose(found[:, k, t], total.abs().square(), rtol=1e-9, atol=1e-12)


def test_mel_bands_are_evenly_spaced_triangles() -> None:
    bands, size, rate = 10, 512, 16_000
    filters = mel_filters(bands, size, rate)
    assert filters.shape == (bands, 257) and filters.min() == 0 and filters.max() <= 1
    top = 2595 * math.log10(1 + 8000 / 700)
    corner = [700 * (10 ** (top * i / (bands + 1) / 2595) - 1) for i in range(bands + 2)]
    for b in range(bands):
        for k in range(257):
            f, (low, mid, high) = k * rate / size, corner[b : b + 3]
            expected = (
                (f - low) / (mid - low) if low <= f <= mid else (high - f) / (high - mid) if mid < f <= high else 0
            )
            assert abs(filters[b, k].item() - expected) < 1e-5


def test_a_full_scale_sine_has_no_decibels_and_silence_the_least() -> None:
    for rate, pitch in ((8000, 1000.0), (44_100, 3000.0)):
        mel = log_mel(torch.sin(2 * math.pi * pitch * torch.arange(rate) / rate), rate)
        assert mel.shape == (bands_for(rate), rate // (frame_size(rate) // 4) + 1)
        assert -3 < mel[:, 20:-20].max() < 2
    assert (log_mel(torch.zeros(1000), 8000) == -100).all()
    assert frame_size(8000) == 256 and frame_size(44_100) == 1024


def sounds(count: int, length: int = 4000, rate: int = 8000) -> torch.Tensor:
    made = torch.zeros(count, 1, length)
    made[:, 0, : length // 2] = 0.5 * torch.sin(torch.arange(length // 2) * 2 * math.pi * 500 / rate)
    return made


def test_a_picture_shows_where_it_sounds() -> None:
    made = np.asarray(picture(sounds(1)[0], 8000).convert("RGB")).astype(int).sum(2)
    wave, mel = made[:44], made[44:]
    assert (wave > 0).sum(0)[:150].mean() > 15 and (wave[:, 170:] > 0).sum(0).max() == 1
    assert mel[:, 20:140].max() > 500 and mel[:, 200:].max() < 20
    assert 55 < mel[:, 20:140].mean(1).argmax() < 75  # 500 Hz is in the lower part
    assert picture(torch.full((2, 10), float("nan")), 8000).size == (320, 128)
    assert sheet(sounds(5), SPEC, columns=2).size == (2 * 326 - 6, 3 * 134 - 6)


def bytes_in(html: str) -> tuple[str, bytes]:
    kind, content = re.findall(r'src="data:audio/(\w+);base64,([^"]+)"', html)[0]
    return kind, base64.b64decode(content)


def test_a_player_has_the_sound_in_it() -> None:
    kind, data = bytes_in(player(np.array([[1, -5, 9]], np.int16), 8000))
    assert kind == "wav" and (soundfile.read(io.BytesIO(data), dtype="int16")[0] == [1, -5, 9]).all()
    long = (np.random.default_rng(0).normal(0, 3000, (1, 22_050 * 30))).astype(np.int16)
    kind, data = bytes_in(player(long, 22_050))
    assert kind == "mpeg" and len(data) < 3 * PLAIN_BYTES
    assert abs(soundfile.info(io.BytesIO(data)).duration - PLAYED) < 0.2


def test_tiles_are_small_and_need_no_network() -> None:
    made = tiles(sounds(3), SPEC, ["seven", "<b>"])
    assert len(made) == 3 and all("<audio controls" in tile and tile.count("data:") == 2 for tile in made)
    assert "seven, 0.25 s" in made[0] and "&lt;b&gt;, 0.25 s" in made[1] and not re.search(r'src="(?!data:)', str(made))
    long = Spec(shape=(1, 60 * 8000), rate_hz=8000)
    (tile,) = tiles(torch.rand(1, *long.shape) - 0.5, long)
    assert f"60.00 s (the first {PLAYED:.0f} s are played)" in tile and len(tile) < 150_000
    assert shape_words(SPEC) == "up to 0.5 s, 8,000 Hz, mono"


def test_a_preview_file_is_shown_without_what_else_is_in_it(tmp_path: Path) -> None:
    path = audio.preview(sounds(3), tmp_path / "p.wav", SPEC, [], About("Maquette", more={"secret": "words"}))
    html = previewed(path, SPEC, "step 3")
    kind, data = bytes_in(html)
    assert kind == "wav" and b"words" not in data and "step 3" in html
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError):
        previewed(path, SPEC, "step 3")


def test_sounds_are_drawn_on_axes() -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    draw(axes, sounds(4), SPEC, 8)
    assert len(axes.images) == 1
