"""Sounds as mel bands and back: what a grid keeps, and the voices that make sounds of it."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.model import Step
from maquette.core.rng import StepRng
from maquette.core.spec import GridSpec
from maquette.losses.spectral import log_distance
from maquette.modalities.audio.config import Spec
from maquette.models._voice import Learned, Voice, VoiceConfig, voice
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
    assert (filters @ (found - true)).norm() < 0.04 * (filters @ true).norm()
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


COLUMN = Spec(shape=(1, SAMPLES), rate_hz=RATE)
SMALL = VoiceConfig(width=16, blocks=1, rounds=3, seconds=0.25)


def learned(config: VoiceConfig = SMALL, column: Spec = COLUMN) -> Voice:
    torch.manual_seed(0)
    made = voice(config, column)
    for network in made.networks().values():
        network.train()
    return made


def step(items: int, index: int = 0, start: int = 0) -> Step:
    return Step(index, 100, StepRng(7 + index, items, start))


def test_a_voice_begins_as_griffin_lim_with_smooth_magnitudes() -> None:
    x, heard = sounds(SAMPLES, 2500), learned()
    made = heard.sound(MEL.of(x))
    assert made.shape == x.shape and made.abs().max() <= 1
    assert (made[1, :, 2500 + MEL.hop :] == 0).all()
    assert (MEL.of(made) - MEL.of(x))[0].abs().mean() < 0.15
    envelope = MEL.envelope(MEL.of(x))
    assert envelope.shape == (2, 1, 129, 94)
    loud = mel_filters(MEL.bands, MEL.size, RATE) @ power(x[:1], MEL.size, MEL.hop)
    smooth = mel_filters(MEL.bands, MEL.size, RATE) @ envelope[:1]
    assert (smooth / loud).log10().abs().median() < 0.15


def test_what_it_says_of_a_grid_is_the_same_in_any_batch() -> None:
    grids, heard = MEL.of(sounds(SAMPLES, 2500, 4000)), learned()
    together = heard.sound(grids)
    torch.testing.assert_close(heard.sound(grids[1:2])[0], together[1], rtol=0, atol=0)
    two = voice(SMALL, Spec(shape=(2, SAMPLES), rate_hz=RATE)).sound(grids[:2].view(1, 2, *grids.shape[2:]))
    assert two.shape == (1, 2, SAMPLES)


def test_spectra_that_are_twice_as_loud_are_the_logarithm_of_two_apart() -> None:
    loud = torch.rand(3, 129, 9, generator=torch.Generator().manual_seed(0)) + 0.01
    assert log_distance(loud, loud).max() < 2e-3
    torch.testing.assert_close(log_distance(4 * loud, loud), torch.full((3,), math.log(2)), rtol=1e-4, atol=0)
    assert log_distance(loud / 1e20, loud / 1e15).max() < 2e-3  # both are as good as silent


def test_it_learns() -> None:
    x, heard = sounds(SAMPLES, 5000, 4000, 3000), learned(SMALL.model_copy(update={"noise": 0.0}))
    (phase,), batch = heard.phases(), Batch({"audio": x})
    assert phase.nets == heard.keeps == tuple(heard.networks())
    optim = torch.optim.Adam(heard.networks()["vocoder"].parameters(), 5e-3)
    found = []
    for i in range(15):
        loss = phase.loss(batch, step(4, i % 3))
        optim.zero_grad()
        loss.total.backward()
        optim.step()
        found.append(loss.total.item())
    assert {*loss.parts} == {"spectra", "bands"}
    assert all(after < 0.96 * before for before, after in zip(found[:3], found[-3:], strict=True))


def test_halves_of_a_batch_have_the_loss_of_the_whole() -> None:
    (phase,), x = learned().phases(), sounds(SAMPLES, 5000, 400, 3000)
    whole = phase.loss(Batch({"audio": x}), step(4)).total
    halves = [phase.loss(Batch({"audio": x[i : i + 2]}), step(4, start=i)).total for i in (0, 2)]
    torch.testing.assert_close(sum(halves) / 2, whole, rtol=1e-3, atol=0)


def test_moments_are_of_sounds_and_not_of_padding() -> None:
    heard = learned()
    assert isinstance(heard, Learned)
    ends = torch.tensor([9, 3000, 6000]).view(3, 1, 1)
    x = torch.arange(1.0, SAMPLES + 1).expand(3, 2, -1) * (torch.arange(SAMPLES) < ends)
    moments = heard.moments(x, torch.tensor([0.9, 0.9999, 0.5]))
    assert moments.shape == (3, 2, 1984)
    assert moments[0, 0, 8] == 9 and (moments[0, :, 9:] == 0).all()
    assert moments[1, :, -1].tolist() == [3000, 3000] and (moments[2, 0].diff() == 1).all()
    short = learned(SMALL, Spec(shape=(1, 500), rate_hz=RATE))
    assert isinstance(short, Learned) and short.moments(x[2:, :1, :500], torch.zeros(1)).shape == (1, 1, 1984)


def test_a_faster_moment_is_higher_and_as_loud() -> None:
    heard, places = learned(), torch.zeros(1)
    assert isinstance(heard, Learned)
    tone = 0.3 * torch.sin(2 * math.pi * 1000 * torch.arange(SAMPLES) / RATE)[None, None]
    faster = heard.moments(tone, places, 1.1)
    assert faster.shape == heard.moments(tone, places).shape
    middle = slice(8, -8)  # frames: a moment is taken as if it went round
    spectra = power(faster, MEL.size, MEL.hop)[0, 0, :, middle].mean(1)
    assert int(spectra.argmax()) == round(1100 / RATE * MEL.size)
    assert float(faster.std() / tone.std()) == pytest.approx(1, abs=0.02)


def test_silence_teaches_nothing_that_is_no_number() -> None:
    heard = learned()
    (phase,) = heard.phases()
    loss = phase.loss(Batch({"audio": sounds(0, 1, SAMPLES)}), step(3)).total
    loss.backward()
    assert loss.isfinite() and all(p.grad is None or p.grad.isfinite().all() for p in heard.vocoder.parameters())


def test_it_can_be_compiled() -> None:
    grids, heard = MEL.of(sounds(SAMPLES)), learned()
    plain = heard.sound(grids)
    heard.networks()["vocoder"].compile(backend="eager")
    torch.testing.assert_close(heard.sound(grids), plain)


@pytest.mark.parametrize(("rate", "samples"), [(4000, 700), (22_050, 5000), (48_000, 9000)])
@pytest.mark.parametrize("vocoder", ["learned", "griffin-lim"])
def test_any_rate_and_two_channels(rate: int, samples: int, vocoder: Literal["learned", "griffin-lim"]) -> None:
    small = SMALL.model_copy(update={"vocoder": vocoder})
    heard = voice(small, Spec(shape=(2, samples), rate_hz=rate))
    x = torch.randn(1, 2, samples, generator=torch.Generator().manual_seed(0)) / 20
    grids = heard.mel.of(x)
    made = heard.sound(grids)
    assert grids.shape[-1] == heard.mel.frames(samples) and made.shape == x.shape
    assert 0.3 < made.std() / x.std() < 2
