"""Sets of clips that are made on the spot: digits that bounce, and sprites whose motion is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from maquette.core.errors import UserError
from maquette.core.recipe import DataConfig
from maquette.data.loader import Loader
from maquette.data.open import open_dataset
from maquette.data.raw import Array, RawTable
from maquette.modalities.video import sets, sprites
from maquette.modalities.video.files import quantised
from maquette.modalities.video.moving import MovingDigits, bounced


def test_what_bounces_is_reflected() -> None:
    way = bounced(np.array([[0.9, 0.05]]), np.array([[0.2, -0.1]]), 4)
    np.testing.assert_allclose(way[:, 0].T, [[0.9, 0.9, 0.7, 0.5], [0.05, 0.05, 0.15, 0.25]])


def test_digits_stay_whole_within_the_frame() -> None:
    digits = np.random.default_rng(0).integers(1, 256, (5, 28, 28), np.uint8)
    clips = MovingDigits(digits, 64, 20, 2, seed=0)
    for number in range(20):
        clip, places = clips.clip(number), clips.places(number)
        assert clip.shape == (1, 20, 64, 64) and np.array_equal(clip, clips.clip(number))
        assert places.min() >= 0 and places.max() <= 36 and np.abs(np.diff(places, axis=0)).max() <= 4
        first, second = digits[clips.which(number)]
        for frame, ((y, x), _) in zip(clip[0], places, strict=True):
            assert (frame[y : y + 28, x : x + 28] >= first).all()
        if abs(places[0, 0] - places[0, 1]).max() >= 28:
            assert clip[0, 0].astype(int).sum() == int(first.sum()) + int(second.sum())
    assert not np.array_equal(clips.clip(0), MovingDigits(digits, 64, 20, 2, seed=1).clip(0))


def test_the_true_flow_says_where_each_pixel_was() -> None:
    rows, columns = np.mgrid[: sprites.SIDE, : sprites.SIDE]
    warped, repeated = [], []
    for number in range(8):
        clip, flow = sprites.clip(number, 0).astype(float), sprites.true_flow(number, 0)
        assert flow.shape == (sprites.FRAMES - 1, 2, sprites.SIDE, sprites.SIDE)
        for t in range(0, len(flow), 4):
            at = [rows + flow[t, 0], columns + flow[t, 1]]
            again = np.stack([map_coordinates(channel[t], at, order=1, mode="nearest") for channel in clip])
            moving = np.abs(flow[t]).sum(0) > 0
            warped.append(np.abs(again - clip[:, t + 1])[:, moving].mean())
            repeated.append(np.abs(clip[:, t] - clip[:, t + 1])[:, moving].mean())
    assert np.mean(warped) < 0.2 * np.mean(repeated)


def test_sets_are_known_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path))
    monkeypatch.setattr(sets, "DIGITS", {"train": 30, "test": 20})
    monkeypatch.setattr(sets, "SPRITES", {"train": 10, "test": 5})
    found = open_dataset("moving-digits", target=("video",))
    assert (len(found.train), len(found.test)) == (30, 20)
    assert found.train.columns["video"].spec.shape == (1, 16, 32, 32)
    assert found.train.columns["label"].spec.num_classes == 10
    assert open_dataset("sprites").train.columns["video"].spec.shape == (3, 16, 64, 64)


def test_each_pass_over_a_set_that_is_made_shows_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path))
    monkeypatch.setattr(sets, "DIGITS", {"train": 30, "test": 20})
    found = open_dataset("moving-digits", target=("video",), given=("label",))
    spec, clips = found.spec(("video",), ("label",)), found.train.columns["video"]
    first, second = (found.train.batch(np.arange(30) + 30 * number, spec) for number in (0, 1))
    assert not (first.only() == second.only()).flatten(1).all(1).any()
    assert np.array_equal(clips.stored(3), quantised(first.only()[3]))
    # As many as are asked for are the first of the same ones, with their labels.
    more = open_dataset("moving-digits:60", target=("video",), given=("label",)).train.batch(np.arange(60), spec)
    assert torch.equal(more.only(), torch.cat([first.only(), second.only()]))
    assert torch.equal(more.given["label"], torch.cat([first.given["label"], second.given["label"]]))
    batches = Loader(found.train, spec, 8, seed=0)
    later = batches.batch(11)  # of passes 2 and 3
    batches.close()
    assert torch.equal(Loader(found.train, spec, 8, seed=0).batch(11).only(), later.only())
    chosen = open_dataset("moving-digits", DataConfig(splits="none"), target=("video",))
    assert not chosen.train.endless  # held-out clips are of all digits then


@pytest.mark.parametrize("name", ["moving-digits:0", "spoken-digits:10"])
def test_no_number_of_clips(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="so many there cannot be"):
        open_dataset(name)


def test_moving_mnist_is_made_of_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = np.random.default_rng(0).integers(0, 256, (50, 28, 28), np.uint8)
    mnist = RawTable("known set", {"x": Array([digits[:40], digits[40:]])}, [""] * 50, ["train"] * 40 + ["test"] * 10)
    table = sets.moving_mnist(mnist)
    assert len(table) == 20_000 and table.splits.count("test") == 10_000 and "not the file" in table.notes[0]
    clips = table.columns["video"]
    assert clips.take([19_999])[0].shape == (1, 20, 64, 64)  # type: ignore[union-attr]
    alone = sets.moving_mnist(
        RawTable("known set", {"x": Array([0 * digits[:40], digits[40:]])}, [""] * 50, mnist.splits)
    ).columns["video"]
    (train, test) = alone.take([0, 10_000])
    assert not train.any() and test.any()  # type: ignore[union-attr]
