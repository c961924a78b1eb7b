"""What measures of sounds rest on: the own network, what makes sounds comparable, known damage, and what ran away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from maquette.core.data_config import DataConfig
from maquette.core.table import Dataset
from maquette.data import open_dataset
from maquette.evaluation.features import chunks, order
from maquette.modalities.audio import own_features
from maquette.modalities.audio.config import Spec
from maquette.modalities.audio.contract import file_of
from maquette.modalities.audio.damage import DAMAGES
from maquette.modalities.audio.features import FEATURES, comparable
from maquette.modalities.audio.flaws import FLAWS, flawed
from maquette.modalities.audio.measures import ran_away, traits

SPEC = Spec(shape=(1, 4096), rate_hz=8000)


def words(count: int, seed: int = 0) -> torch.Tensor:
    """Tones that rise or fall, of a third to two thirds of the length."""
    draws = np.random.default_rng(seed)
    made = torch.zeros(count, 1, 4096)
    for i in range(count):
        n = int(draws.uniform(1400, 2700))
        pitch = np.linspace(*((400, 900) if i % 2 else (900, 400)), n) * draws.uniform(0.9, 1.1)
        wave = 0.4 * np.sin(np.cumsum(2 * np.pi * pitch / 8000)) * np.hanning(n) + draws.normal(0, 0.003, n)
        made[i, 0, :n] = torch.from_numpy(wave)
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("words")
    for i, word in enumerate(words(160)[:, 0].numpy()):
        path = folder / ("rising" if i % 2 else "falling") / f"{i}.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file_of(word[: np.flatnonzero(word)[-1] + 1]))
    return open_dataset(folder, DataConfig(), target=("audio",), cache=folder.parent / "cache")


@pytest.mark.parametrize("label", ["label", None])
def test_the_network_learns_what_the_sounds_are(
    data: Dataset, label: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_features, "EPOCHS", 30 if label else 5)
    said: list[str] = []
    made = FEATURES["own"](data, "audio", label, torch.device("cpu"), tmp_path, said.append)
    rows, reserved = order(len(data.train))
    seen = made.see(chunks(data.train.columns["audio"], rows[:reserved]))
    assert seen.features.shape == (reserved, own_features.DIM) and abs(seen.features.mean()) < 0.5
    if label:
        truth = data.train.columns["label"].take(rows[:reserved]).numpy()
        assert made.classes == ("falling", "rising") and (seen.classes == truth).mean() > 0.9
    else:
        assert made.classes == () and seen.classes is None
    again = FEATURES["own"](data, "audio", label, torch.device("cpu"), tmp_path, said.append)
    assert len(said) == 1  # the second is from the cache
    assert np.array_equal(again.see(chunks(data.train.columns["audio"], rows[:reserved])).features, seen.features)


def test_a_network_of_next_to_no_sounds(data: Dataset) -> None:
    network = own_features.Network(1, 8000, 2)
    own_features._train(
        network, own_features.Lesson(data.train.columns["audio"], np.arange(2), None, torch.device("cpu"))
    )
    stereo = own_features.Network(2, 44_100, 2)
    assert stereo(stereo.look(torch.randn(3, 2, 441_000))).shape == (3, own_features.DIM)


def test_moved_sounds_are_near() -> None:
    torch.manual_seed(0)
    bands = torch.randn(4, 1, 40, 80)
    assert own_features.move(bands).shape == bands.shape
    assert torch.allclose(own_features.move(bands, 0, 0, 0), bands, atol=1e-5)


def test_every_flaw_changes_every_sound() -> None:
    torch.manual_seed(0)
    clean = words(len(FLAWS))
    clean[..., :1400] += 0.1 * torch.randn(len(FLAWS), 1, 1400)
    spoiled, which = flawed(clean)
    assert spoiled.shape == clean.shape and which.tolist() == list(range(1, len(FLAWS) + 1))
    for flaw in FLAWS:
        made = flaw(clean)
        assert made.isfinite().all() and ((made - clean).abs().amax((1, 2)) > 0.01).all(), flaw.__name__


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_damage_is_worse_when_strong(damage) -> None:
    clean = words(40)
    mild, strong = (damage.of(clean, SPEC, strength, np.random.default_rng(0)) for strength in (1, 2))
    assert mild.shape == strong.shape == clean.shape and strong.isfinite().all() and strong.abs().max() <= 1.01
    off = [(comparable(items) - comparable(clean)).norm(dim=1).mean() for items in (mild, strong)]
    assert 0 < off[0] < off[1]


def test_copies_are_nearer_than_other_sounds() -> None:
    mine = words(8)
    late = torch.nn.functional.pad(mine, (40, 0))[..., :4096] + 0.002 * torch.randn(8, 1, 4096)
    found = torch.cdist(comparable(late), comparable(mine))
    assert (found.argmin(1) == torch.arange(8)).all()
    a, b = comparable(mine[:1]), comparable(torch.zeros(1, 1, 4096))
    assert 0.1 < (a - b).norm() < 6  # the root mean square difference, in Bel


def test_what_ran_away() -> None:
    real = traits(words(100))
    assert ran_away(traits(words(50, seed=1)), real).mean() < 0.05
    noise, hum, dot = torch.rand(1, 1, 4096) - 0.5, words(1), torch.zeros(1, 1, 4096)
    hum[0, 0] = 0.4 * torch.sin(torch.arange(4096) * 0.5)
    dot[0, 0, 0] = 0.5
    away = torch.cat([noise, hum, dot, torch.zeros(1, 1, 4096), 0.001 * words(1)])
    assert ran_away(traits(away), real).tolist() == [1] * 5


def test_traits_of_known_sounds() -> None:
    tone = torch.zeros(2, 1, 8192)
    tone[0, 0, :4096] = torch.sin(torch.arange(4096) * 0.5)
    tone[1] = 0.5 * torch.randn(1, 8192, generator=torch.Generator().manual_seed(0))
    (ends, loud, flat), (_, loud_noise, flat_noise) = traits(tone)
    assert ends == 4096 and abs(loud + 3.01) < 0.02 and abs(loud_noise + 6.02) < 0.2
    assert flat < -20 and abs(flat_noise + 2.5) < 0.3  # of noise: -10 log10(e^0.577), for each frame
