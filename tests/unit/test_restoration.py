"""Sounds that are restored: what is done to them, against its definition; the way back, of any length; the verb;
bad input; the measures."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from torch import Tensor

import maquette
from maquette.cli.main import cli
from maquette.core.errors import UserError
from maquette.core.find import kinds_of_run
from maquette.core.rng import ItemRng
from maquette.core.spec import DataSpec
from maquette.evaluation.similarity import log_spectral_distance, si_sdr
from maquette.modalities.audio import judges
from maquette.modalities.audio.edit import EditOptions
from maquette.modalities.audio.judges import stoi
from maquette.modalities.audio.restored import bridged, degraded
from maquette.modalities.audio.synthesis import SPEAKERS, spoken
from maquette.models import restoration, wavenet
from maquette.nets import restorer, sounding
from maquette.nets.spectrogram import compressed, sound_of
from maquette.sampling import degrade_sound
from maquette.sampling.degrade_sound import KINDS, corrupt, draws
from maquette.testing import column_spec, data_spec

RATE = 8000
SETTINGS = ["model.width=16", "model.deep=16", "model.deep_blocks=1", "model.frames=16", "train.batch_size=4",
            "train.preview_items=2", "train.precision=fp32", "train.compile=off"]  # fmt: skip


def tones(n: int, length: int = 4096, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    pitch = 0.05 + 0.4 * torch.rand(n, 3, 1, generator=generator)
    return 0.2 * torch.sin(pitch * torch.arange(length) + 6 * torch.rand(n, 3, 1, generator=generator)).sum(1)


def noise(n: int, length: int = 4096, seed: int = 1) -> Tensor:
    return torch.randn(n, length, generator=torch.Generator().manual_seed(seed))


# -- what is done to sounds ----------------------------------------------------------------------------


def test_noise_is_as_loud_as_is_asked_for_and_of_its_colour() -> None:
    x = tones(3)
    x[:, 2048:] = 0  # what is silent does not count
    snr, slope = torch.tensor([0.0, 5.0, 20.0]), torch.tensor([0.0, 1.0, 2.0])
    added = degrade_sound.noisy(x, noise(3), snr, slope) - x
    power = x[:, :2048].square().mean(1)
    assert torch.allclose(10 * (power / added.square().mean(1)).log10(), snr, atol=0.01)
    waves = torch.fft.rfft(added).abs().square()
    low, high = waves[:, 64:128].mean(1), waves[:, 512:1024].mean(1)  # three octaves apart
    assert torch.allclose(10 * (low / high).log10() / 3, 3 * slope, atol=1.0)


def test_a_gap_is_where_it_is_said_and_nowhere_else() -> None:
    x = noise(2, 1000)
    y, seen = degrade_sound.gapped(x, torch.tensor([0.1, 0.5]), torch.tensor([0.05, 0.2]))
    assert [(1 - row).nonzero()[[0, -1], 0].tolist() for row in seen] == [[100, 149], [500, 699]]
    assert torch.equal(y, x * seen)


def test_a_narrow_band_ends_where_it_is_said() -> None:
    waves = torch.fft.rfft(degrade_sound.narrowed(noise(1, 8000), torch.tensor([0.5])))[0].abs()
    before = torch.fft.rfft(noise(1, 8000))[0].abs()
    assert torch.allclose(waves[:1800], before[:1800], rtol=1e-3, atol=1e-2) and waves[2001:].max() < 1e-2


def test_clipping_leaves_a_share_of_the_peak() -> None:
    x = tones(2)
    y = degrade_sound.clipped(x, torch.tensor([0.5, 0.1]))
    assert torch.allclose(y.abs().amax(1), x.abs().amax(1) * torch.tensor([0.5, 0.1]))
    quiet = x.abs() < 0.1 * x.abs().amax(1, keepdim=True)
    assert torch.equal(y[quiet], x[quiet])


def test_a_room_dies_away_by_sixty_decibels_in_its_time() -> None:
    click = torch.zeros(1, 8000)
    click[0, 0] = 1
    y = degrade_sound.reverberant(click, noise(1, 8000), torch.tensor([0.5]), torch.tensor([6.0]), RATE)
    assert y[0, 0] == pytest.approx(1, abs=1e-4)
    assert 10 * math.log10(1 / float(y[0, 1:].square().sum())) == pytest.approx(6, abs=0.1)
    early, late = y[0, 100:500].square().mean(), y[0, 2100:2500].square().mean()  # 0.25 s apart: 30 dB
    assert 10 * math.log10(float(early / late)) == pytest.approx(30, abs=1.5)


def test_coding_finely_changes_nothing_and_coarsely_leaves_holes() -> None:
    x = tones(2, 5000)
    assert torch.allclose(degrade_sound.coded(x, torch.full((2,), 1e-5)), x, atol=1e-5)
    errors = [(degrade_sound.coded(x, torch.full((2,), coarse)) - x).square().mean() for coarse in (0.5, 2.0)]
    assert 0 < errors[0] < errors[1] < x.square().mean()


def test_what_happens_depends_on_its_draws_alone_and_each_thing_happens() -> None:
    x, u, normal = tones(64), torch.rand(64, draws(KINDS), generator=torch.Generator().manual_seed(2)), noise(64)
    y, seen = corrupt(x, KINDS, RATE, 0.1, u, normal)
    few, _ = corrupt(x[:9], KINDS, RATE, 0.1, u[:9], normal[:9])
    assert torch.allclose(y[:9], few, atol=1e-5) and y.isfinite().all()
    hidden = u[:, 1] < 0.1
    assert hidden.any() and not y[hidden].any() and not seen[hidden].any()
    assert bool((y[~hidden] != x[~hidden]).any(1).all())
    for kind in KINDS:
        y, seen = corrupt(x, [kind], RATE, 0.0, u[:, : draws([kind])], normal)
        assert bool((y != x).any(1).all()), kind
        assert bool((seen == 0).any(1).all()) == (kind == "gap")


def test_real_trials_are_as_long_as_what_they_are_made_of() -> None:
    x = tones(1, 3001)
    for kind in KINDS:
        y, seen = degraded(x, kind, RATE, np.random.default_rng(0))
        assert y.shape == seen.shape == x.shape and y.isfinite().all(), kind
        assert si_sdr(y, x) > -5, kind  # and where they were
    y, seen = degraded(x, "gap", RATE, np.random.default_rng(0))
    assert int((seen == 0).sum()) == 400
    line = bridged(y, seen)[0][seen[0] == 0]
    assert torch.allclose(line.diff(), line.diff()[:1].expand(399), atol=1e-5)


# -- spectra and measures ------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 100, 4000, 4033])
def test_compressed_spectra_have_an_exact_inverse(length: int) -> None:
    x = noise(2, length) / 5
    assert torch.allclose(sound_of(compressed(x, 256, 64), 256, 64, length), x, atol=1e-5)


def test_si_sdr_is_that_of_its_equation_at_any_loudness() -> None:
    real = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    made = torch.tensor([[1.0, 0.1, 1.0, -0.1]])  # the error is at right angles to the signal: 0.02 of 2
    assert si_sdr(made, real).item() == pytest.approx(20, abs=1e-4)
    assert si_sdr(7 * made, real).item() == pytest.approx(20, abs=1e-4)


def test_the_log_spectral_distance_of_half_the_loudness_is_six_decibels() -> None:
    x = noise(2, 3000)
    assert torch.allclose(log_spectral_distance(x / 2, x), torch.full((2,), 20 * math.log10(2)), atol=1e-2)
    assert not log_spectral_distance(x, x).any()
    y, where = x.clone(), torch.zeros_like(x)
    y[:, 1000:1500], where[:, 1000:1500] = 0, 1
    assert log_spectral_distance(y, x, where).min() > 3 * log_spectral_distance(y, x).max()


def test_intelligibility_is_one_of_the_same_sound_and_less_of_a_noisy_one() -> None:
    pytest.importorskip("pystoi")
    x = list(noise(8, 4000)[:, None])
    noisy = [v + 2 * torch.randn(v.shape, generator=torch.Generator().manual_seed(3)) for v in x]
    same, less = (stoi(side, x, RATE) for side in (x, noisy))
    assert same is not None and less is not None
    assert same.min() > 0.99 and less.max() < 0.9 and len(same) == 2


@pytest.mark.parametrize(("name", "needs"), [("pesq", ["pesq"]), ("dnsmos", ["onnxruntime", "speechmos"])])
def test_judges_of_speech_like_noise_less_than_what_was_said(name: str, needs: list[str]) -> None:
    for package in needs:
        pytest.importorskip(package)
    said = spoken(["one", "seven", "nine", "four", "zero", "eight"], [next(iter(SPEAKERS))] * 6, seed=0)
    x = [torch.from_numpy(0.5 * v / np.abs(v).max()).float()[None] for v in said]
    noisy = [v + 0.1 * torch.randn(v.shape, generator=torch.Generator().manual_seed(3)) for v in x]
    judge = (lambda side: judges.pesq(side, x, RATE)) if name == "pesq" else (lambda side: judges.dnsmos(side, RATE))
    true, less = judge(x), judge(noisy)
    assert true is not None and less is not None and 1 <= less.mean() < true.mean() - 0.3 and true.max() < 5


def test_without_their_packages_judges_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = list(noise(2, 9000)[:, None])
    judges._foreign_judge.cache_clear()
    for package in ("pystoi", "pesq", "onnxruntime", "speechmos"):
        monkeypatch.setitem(sys.modules, package, None)
    assert judges.stoi(x, x, RATE) is judges.pesq(x, x, RATE) is judges.dnsmos(x, RATE) is None
    judges._foreign_judge.cache_clear()


# -- the family ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = restoration.Config(width=16, deep=16, deep_blocks=1, frames=16)
    return restoration.build(config, spec()).eval()


def spec() -> DataSpec:
    return data_spec(column_spec("audio", 1, 4096, rate_hz=RATE))


@pytest.mark.parametrize("length", [1, 63, 1000, 1025, 9999])
@torch.no_grad()
def test_any_length_and_channels_are_restored_one_by_one(model: Any, length: int) -> None:
    x = noise(2, length)[None] / 5
    made = model.restore(x, ItemRng(0, [0]))
    assert made.shape == x.shape and made.isfinite().all()
    assert torch.equal(made, model.restore(x, ItemRng(0, [0]))) and not torch.equal(
        made, model.restore(x, ItemRng(1, [0]))
    )


@torch.no_grad()
def test_a_louder_sound_is_restored_louder(model: Any) -> None:
    x = tones(1, 3000)[None]
    soft, loud = (model.restore(level * x, ItemRng(0, [0]), steps=1) for level in (0.01, 1.0))
    assert torch.allclose(soft, 0.01 * loud, atol=1e-5) or loud.abs().max() == 1


@torch.no_grad()
def test_silence_stays_silent(model: Any) -> None:
    assert model.restore(torch.zeros(1, 1, 2000), ItemRng(0, [0])).abs().max() < 1e-4


@torch.no_grad()
def test_what_lies_far_away_makes_no_difference(model: Any) -> None:
    """Windows are half over one another, so a sound is restored by what is near."""
    x = noise(1, 20_000)[None] / 5
    y = x.clone()
    y[..., :1000] = noise(1, 1000, seed=5) * y.abs().max() / 9
    made = [model.restore(v, ItemRng(0, [0])) for v in (x, y)]
    assert torch.allclose(made[0][..., 4000:], made[1][..., 4000:], atol=1e-5)
    assert not torch.allclose(made[0][..., :1000], made[1][..., :1000], atol=1e-3)


def test_stretches_are_of_the_items_and_as_loud_as_can_be(model: Any) -> None:
    x = torch.zeros(3, 1, 4096)
    x[0, 0], x[1, 0, :700], x[2, 0, :2000] = tones(1)[0], 0.01, tones(1)[0, :2000]
    u = torch.tensor([[0.0, 0.0, 0.5, 0.0], [0.0, 0.0, 0.99, 0.6], [0.0, 1.0, 0.0, 0.6]])
    made, there = model._stretches(x, u)
    assert made.shape == (3, 19 * 64)
    assert int((made[1] != 0).sum()) == 700 and torch.allclose(made[1].max(), torch.tensor(1.0))
    part = x[2, 0, : 15 * 64 - 48] / x[2].abs().max() * 10 ** (-15 / 20)
    assert torch.allclose(made[2, 304:], part, atol=1e-5) and not made[2, :304].any()
    assert there[0].all() and torch.equal(there[1], made[1] != 0) and int(there[2].sum()) == 912 == len(part)


class Told:
    """A network that says of every value the same: its mean, and the spread around it."""

    frames = 16

    def __call__(self, x: Tensor, heard: Tensor, seen: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full_like(x, 0.7), torch.full_like(x[:, : x.shape[1] // 2], 2.0)


@pytest.mark.parametrize("steps", [2, 3, 16])
def test_steps_are_exact_where_what_it_was_is_normal(model: Any, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setitem(model._modules, "net", Told())
    y, way = noise(258, 40).view(1, 258, 40), noise(258, 40, seed=2).view(1, 258, 40)
    made = model._moved(y, torch.ones(1, 1, 40), way, steps)
    assert torch.allclose(made, 0.7 + 2 * way, atol=1e-4)
    assert torch.allclose(model._moved(y, torch.ones(1, 1, 40), way, 1), torch.full_like(y, 0.7))


def test_what_is_expected_on_the_way_is_that_of_a_normal_value(model: Any) -> None:
    """Against least squares, over many values of x ~ N(0.7, 2^2) that are on their way from 0.3."""
    x, t = 0.7 + 2 * noise(1, 200_000), torch.tensor(0.4)
    at = 0.6 * (0.3 + 0.5 * noise(1, 200_000, seed=2)) + 0.4 * x
    slope = ((at - at.mean()) * (x - x.mean())).mean() / at.var()
    grid = [v.expand(1, 2, 200_000) for v in (at, torch.tensor(0.3), torch.tensor(0.7))]
    made, variance = model._posterior(*grid, torch.full((1, 1, 200_000), 2.0), t)
    assert torch.allclose(made[:, 0], x.mean() + slope * (at - at.mean()), atol=0.03)
    assert float(variance.mean()) == pytest.approx(float((made[:, 0] - x).var()), rel=0.02)


def test_noise_is_the_spectrum_of_white_noise_of_deviation_one(model: Any) -> None:
    made = model._white(noise(8, 8000))[..., 2:-2]
    assert float(made.std()) == pytest.approx(1, abs=0.01)
    sound = model._sounds(made / model.whitened, 7744)
    assert torch.allclose(model._white(sound)[..., 4:-4], made[..., 4:-4], atol=1e-3)


def test_phases_of_a_tone_in_the_middle_of_a_band_do_not_move(model: Any) -> None:
    tone = (2 * math.pi * 20 / 256 * torch.arange(2000) + 1).cos()[None] / 2
    frames = model._spectra(tone)[..., 3:19].unflatten(1, (2, -1))[:, :, :-1]
    turned = restorer._turned(frames, model.net.turn)[0, :, 20]
    assert torch.allclose(turned, turned[:, :1].expand_as(turned), atol=1e-3)


def test_what_is_undone_is_named_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        restoration.Config(degrade=("noise", "gap", "noise"))


def test_only_sounds_are_taken() -> None:
    for column in (column_spec("image", 1, 8, 8), column_spec("image", 1, 8, 8)):
        with pytest.raises(UserError, match="sounds"):
            restoration.build(restoration.Config(), data_spec(column))


# -- the verb ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> maquette.Run:
    folder = tmp_path_factory.mktemp("restoration")
    (folder / "clips").mkdir()
    for i, x in enumerate(tones(40, 3000)):
        soundfile.write(folder / "clips" / f"{i}.wav", x.numpy() / 2, RATE)
    return maquette.train("audio/restore", folder / "clips", out=folder / "run", steps=2, settings=SETTINGS, quiet=True)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "clip.wav", tones(1, 6000)[0].numpy(), RATE)
    return tmp_path / "clip.wav"


def edited(run: maquette.Run, *words: Any) -> Any:
    return CliRunner().invoke(cli, ["edit", str(run.folder.path), *map(str, words)])


def test_a_file_is_restored_and_says_where_it_comes_from(run: maquette.Run, clip: Path) -> None:
    out = clip.parent / "out.wav"
    done = edited(run, "restore", clip, "-o", out)
    assert done.exit_code == 0, done.output
    assert soundfile.info(out).frames == 6000 and soundfile.info(out).samplerate == RATE
    assert "AI-generated" in soundfile.SoundFile(out).comment and "restore" in soundfile.SoundFile(out).comment
    assert edited(run, "restore", clip, "-o", clip.parent / "again.wav").exit_code == 0
    assert np.array_equal(*(soundfile.read(clip.parent / name)[0] for name in ("out.wav", "again.wav")))


def test_rates_and_channels_of_other_files_are_taken(run: maquette.Run, tmp_path: Path) -> None:
    for rate, channels, says in ((4000, 1, "above 2,000 Hz"), (44_100, 2, "lost"), (RATE, 8, "")):
        soundfile.write(tmp_path / "in.wav", np.stack([tones(1, 5000)[0].numpy()] * channels, 1), rate)
        done = edited(run, "restore", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "--expected")
        assert done.exit_code == 0, done.output
        assert says in done.output and ("resampled" in done.output) == (rate != RATE)
        made = soundfile.info(tmp_path / "out.wav")
        assert made.samplerate == RATE and made.channels == channels
        assert made.frames == pytest.approx(5000 * RATE / rate, abs=1)


def test_of_gaps_that_are_named_only_they_are_filled(run: maquette.Run, clip: Path) -> None:
    done = edited(run, "restore", clip, "--gap", "0.10-0.15", "--gap", "0.50-0.51", "-o", clip.parent / "out.wav")
    assert done.exit_code == 0, done.output
    before, after = (soundfile.read(path)[0] for path in (clip, clip.parent / "out.wav"))
    changed = np.abs(before - after) > 1e-4
    assert changed[800:1200].mean() > 0.9 and changed[4000:4080].mean() > 0.9
    assert not changed[:784].any() and not changed[1216:3984].any() and not changed[4096:].any()  # 2 ms


def test_exact_zeros_within_a_sound_are_a_gap_and_pauses_are_none(run: maquette.Run, tmp_path: Path) -> None:
    x = tones(1, 8000)[0].numpy()
    x[:500] = x[2000:2400] = x[3000:3020] = 0
    x[4000:7000] = 0
    soundfile.write(tmp_path / "in.wav", x, RATE)
    done = edited(run, "restore", tmp_path / "in.wav", "-o", tmp_path / "out.wav")
    assert done.exit_code == 0 and done.output.count("drops out") == 1 and "0.250 to 0.300" in done.output


def test_what_is_disturbed_is_cleaned_by_the_mean_and_what_is_missing_is_sampled(run: maquette.Run) -> None:
    whole = noise(1, 6000) / 9
    gap = torch.where((torch.arange(6000) > 2000) & (torch.arange(6000) <= 2400), 0.0, whole)
    narrow = degrade_sound.narrowed(whole, torch.tensor([0.5]))
    for x, expected in ((whole, True), (gap, False), (narrow, False)):
        made = [run.edit.restore(x[None], EditOptions(expected=how)).items[0] for how in (None, expected, not expected)]
        assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    several = run.edit.restore(whole[None], EditOptions(samples=2)).items
    assert not torch.equal(several[0], several[1])


def test_a_long_sound_is_restored_in_pieces_without_a_seam(run: maquette.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maquette.modalities.audio.edit.PIECE", 1.0)
    x = noise(1, 20_000)[None] / 5
    made = run.edit.restore(x, EditOptions(expected=True))
    assert made.items[0].shape == (1, 20_000) and made.items[0].isfinite().all()
    parts = [bool(made.items[0][:, i : i + 500].any()) for i in range(0, 20_000, 500)]
    assert all(parts)


def test_several_go_into_a_folder_and_samples_differ(run: maquette.Run, clip: Path) -> None:
    out = clip.parent / "made"
    assert edited(run, "restore", clip, "-n", 2, "-o", out).exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["clip-0.wav", "clip-1.wav"]
    assert not np.array_equal(*(soundfile.read(path)[0] for path in out.iterdir()))


BAD: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "silent": (("silent.wav", "-o", "out.wav"), "silent"),
    "no numbers": (("nan.wav", "-o", "out.wav"), "no numbers"),
    "none": (("none.wav", "-o", "out.wav"), "no samples"),
    "words": (("words.wav", "-o", "out.wav"), "not a sound"),
    "missing": (("nowhere.wav", "-o", "out.wav"), "no sound at"),
    "over itself": (("clip.wav", "-o", "clip.wav"), "in the way"),
    "format": (("clip.wav", "-o", "out.aac"), "cannot be written"),
    "several": (("clip.wav", "-n", "2", "-o", "out.wav"), "one file"),
    "gap beyond": (("clip.wav", "--gap", "0.7-0.9", "-o", "out.wav"), "none within"),
    "gap backwards": (("clip.wav", "--gap", "0.5-0.2", "-o", "out.wav"), "none within"),
    "steps": (("clip.wav", "--steps", "0", "-o", "out.wav"), "at least one"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(run: maquette.Run, clip: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(clip.parent)
    soundfile.write("silent.wav", np.zeros(4000), RATE)
    soundfile.write("nan.wav", np.full(4000, np.nan), RATE, subtype="FLOAT")
    soundfile.write("none.wav", np.zeros(0), RATE)
    Path("words.wav").write_text("no sound")
    words, says = BAD[name]
    done = edited(run, "restore", *words)
    assert isinstance(done.exception, UserError) and says in str(done.exception)


def test_what_shortens_a_sound_below_a_frame_is_no_trouble(run: maquette.Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", np.full(3, 0.5), RATE)
    assert edited(run, "restore", tmp_path / "in.wav", "-o", tmp_path / "out.wav").exit_code == 0
    assert soundfile.info(tmp_path / "out.wav").frames == 3


def test_a_gap_is_two_numbers(run: maquette.Run, clip: Path) -> None:
    done = edited(run, "restore", clip, "--gap", "soon", "-o", "out.wav")
    assert done.exit_code == 2 and "no stretch of time" in done.output


def test_a_run_without_codes_cannot_interpolate(run: maquette.Run, clip: Path) -> None:
    done = edited(run, "interpolate", clip, clip, "-o", clip.parent / "way")
    assert isinstance(done.exception, UserError) and "no codes" in str(done.exception)


def test_a_verb_is_that_of_the_kind_of_its_run(run: maquette.Run, clip: Path, tmp_path: Path) -> None:
    assert kinds_of_run(str(run.folder.path)) == ["audio"] and kinds_of_run(str(tmp_path)) == []
    assert "--gap" in edited(run, "restore", "--help").output
    done = edited(run, "upscale", clip, "--factor", "2", "-o", "out.png")
    assert isinstance(done.exception, UserError) and "only for pictures" in str(done.exception)
    shown = CliRunner().invoke(cli, ["edit", "--help"]).output
    assert "upscale" in shown and "runs/r restore noisy.wav" in shown


def test_evaluation_measures_what_it_undoes_beside_what_was_done(run: maquette.Run) -> None:
    found = run.evaluate(samples=4, quiet=True)
    for kind in KINDS:
        assert found[f"lsd_{kind}"].n_real > 1
        assert f"{found[f'si_sdr_{kind}'].title}".endswith("dB)")
    assert "noise at 5 dB, restored (as it was: 5." in found["si_sdr_noise"].title


def test_the_report_plays_before_and_after(run: maquette.Run) -> None:
    page = run.report(quiet=True).read_text(encoding="utf-8")
    assert "Before and after" in page and page.count("restored: the mean") >= len(KINDS)


# -- going on where a sound ends -----------------------------------------------------------------------


@pytest.mark.parametrize("output", ["mu-law", "logistics"])
def test_what_goes_on_behind_its_own_beginning_is_the_same_sound(output: Any) -> None:
    torch.manual_seed(0)
    config = wavenet.Config(blocks=2, layers=4, residual=16, skip=32, output=output)
    model = wavenet.build(config, data_spec(column_spec("audio", 1, 600, rate_hz=RATE))).eval()
    for parameter in model.net.head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    with torch.no_grad():
        model.net.head.bias[-1] = -20  # it does not end
        whole = torch.cat(list(model.unfold({}, ItemRng(0, [0]))), 1)
        for n in (1, 5, 300):
            rest = torch.cat(list(model.unfold({}, ItemRng(0, [0]), prompt=whole[:, :n])), 1)
            assert rest.shape[1] == whole.shape[1] - n
            assert torch.allclose(rest, whole[:, n:], atol=1e-3), n


def test_a_sound_goes_on_by_the_verb(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clips").mkdir()
    for i, x in enumerate(tones(12, 1000)):
        soundfile.write(tmp_path / "clips" / f"{i}.wav", x.numpy(), RATE)
    few = ["model.blocks=1", "model.layers=3", "model.residual=16", "model.skip=32", "train.preview_items=1",
           "train.precision=fp32"]  # fmt: skip
    run = maquette.train("audio/wavenet", tmp_path / "clips", out=tmp_path / "run", steps=1, settings=few, quiet=True)
    soundfile.write(tmp_path / "start.wav", tones(1, 400)[0].numpy(), RATE)
    done = edited(run, "continue", tmp_path / "start.wav", "-o", tmp_path / "out.wav")
    assert done.exit_code == 0, done.output
    start, out = (soundfile.read(tmp_path / f"{name}.wav")[0] for name in ("start", "out"))
    assert len(out) > 400 and np.allclose(out[:400], start, atol=1e-4)
    monkeypatch.setattr(sounding, "compiled_loop", lambda cache: None)
    assert "maquette[fast]" in edited(run, "continue", tmp_path / "start.wav", "-o", tmp_path / "out.wav").output
    capsys.readouterr()
    next(iter(run.stream()))
    assert "maquette[fast]" in capsys.readouterr().err
    monkeypatch.undo()
    assert not run.generator.model.remark
    done = edited(run, "restore", tmp_path / "start.wav", "-o", tmp_path / "out.wav")
    assert isinstance(done.exception, UserError) and "cannot restore" in str(done.exception)
    soundfile.write(tmp_path / "long.wav", tones(1, 1100)[0].numpy(), RATE)
    done = edited(run, "continue", tmp_path / "long.wav", "-o", tmp_path / "out.wav")
    assert isinstance(done.exception, UserError) and "this run ends at" in str(done.exception)
