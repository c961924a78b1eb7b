"""Sounds as mel bands and back: what a grid keeps, and the voices that make sounds of it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.spec import GridSpec
from maquette.modalities.audio.config import Spec
from maquette.models._voice import VoiceConfig, voice
from maquette.nets.mel import Mel
from maquette.nets.spectrogram import mel_filters, power
from maquette.sampling.griffin_lim import griffin_lim

RATE, SAMPLES = 8000, 6000
MEL = Mel(RATE)


def sounds(*ends: int, samples: int = SAMPLES) -> Tensor:
    """Vowel-like sounds f32[B, 1, samples] over a little noise, with exact zeros behind their ends."""
    time = torch.arange(samples) / RATE
    made = []
    for i, end in enumerate(ends):
        pitch = 120 + 30 * i + 20 * torch.sin(2 * math.pi * 3 * time)
        turned = 2 * math.pi * torch.cumsum(pitch, 0) / RATE
        wave = sum((torch.sin(k * turned) / k for k in range(1, 9)), torch.zeros(samples)) / 4
        noise = torch.randn(samples, generator=torch.Generator().manual_seed(i)) * 0.003
        made.append(torch.where(torch.arange(samples) < end, wave + noise, 0.0))
    return torch.stack(made)[:, None]


def test_a_grid_says_how_loud_bands_are_and_is_silent_behind_the_end() -> None:
    x = sounds(SAMPLES, 3000)
    grid = MEL.of(x)
    assert grid.shape == (2, 1, MEL.bands, MEL.frames(SAMPLES)) == (2, 1, 40, 94)
    assert grid.min() >= -1 and grid.max() <= 1
    assert (grid[1, :, :, 50:] == -1).all() and (grid[0] > -1).all()
    full = torch.sin(2 * math.pi * 1000 * torch.arange(8000) / RATE)
    assert 0.95 < MEL.of(full[None, None])[..., 60].max() <= 1
    assert (MEL.of(torch.zeros(1, 2, 100)) == -1).all()


def test_power_has_the_bands_of_the_grid() -> None:
    x = sounds(SAMPLES)
    found, true = MEL.power(MEL.of(x)), power(x, MEL.size, MEL.hop)
    assert found.shape == true.shape and (found >= 0).all()
    filters = mel_filters(MEL.bands, MEL.size, RATE)
    assert (filters @ (found - true)).norm() < 0.02 * (filters @ true).norm()
    assert MEL.power(torch.full((40, 9), -1.0)).max() < 1e-3


def test_momentum_comes_nearer_to_the_magnitudes() -> None:
    x = sounds(SAMPLES)
    magnitudes = power(x, 256, 64).sqrt()

    def error(momentum: float, rounds: int = 40) -> float:
        made = power(griffin_lim(magnitudes, 256, 64, SAMPLES, rounds, momentum), 256, 64).sqrt()
        return float((made - magnitudes).norm() / magnitudes.norm())

    assert error(0.99) < error(0.0) < error(0.0, 3)
    assert error(0.99) < 0.2


def test_ends_are_found() -> None:
    ends = [0, 40, 700, 3000, 5990, SAMPLES]
    found = MEL.lengths(MEL.of(sounds(*ends)), SAMPLES)
    assert found[0] == 0 and found[-1] == SAMPLES
    assert all(abs(a - b) <= MEL.hop for a, b in zip(found.tolist(), ends, strict=True))


def test_griffin_lim_is_a_voice() -> None:
    x = sounds(SAMPLES, 2500)
    heard = voice(VoiceConfig(vocoder="griffin-lim", rounds=20), Spec(shape=(1, SAMPLES), rate_hz=RATE))
    assert heard.networks() == {} and heard.phases() == [] and heard.keeps == ()
    made = heard.sound(MEL.of(x))
    assert made.shape == x.shape and made.abs().max() <= 1
    assert (made[1, :, 2500 + MEL.hop :] == 0).all() and made[1, :, 2000:2400].abs().max() > 0.01
    assert (MEL.of(made) - MEL.of(x))[..., :35].abs().mean() < 0.08
    torch.testing.assert_close(heard.sound(MEL.of(x)[1:])[0], made[1], rtol=0, atol=0)


def test_what_is_no_sound_has_no_voice() -> None:
    with pytest.raises(UserError, match="sounds"):
        voice(VoiceConfig(), GridSpec(kind="image", shape=(1, 8, 8)))
