"""Duplicates are found, and never straddle the split; the split follows from content alone."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_data_sources import opened, pictures, png, put

from maquette.core.errors import UserError
from maquette.core.modality import Notes
from maquette.data import duplicates
from maquette.data.duplicates import Groups, examples, sizes
from maquette.data.split import by_content, settle, smallest
from maquette.data.store import digests_of
from maquette.modalities.image.duplicates import Likeness


def groups(pixels: np.ndarray) -> Groups:
    likeness = Likeness()
    for start in range(0, len(pixels), 7):
        likeness.add(pixels[start : start + 7])
    return duplicates.groups(digests_of(list(pixels)), likeness.pairs(pixels, np.arange(len(pixels))))


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, format="JPEG", quality=quality, subsampling=0)
    with Image.open(data) as img:
        return np.asarray(img)


def test_exact_and_near_copies_are_found_and_nothing_else() -> None:
    x = pictures(300, side=32, channels=3)
    again = np.stack([jpeg(p, 85) for p in x[:40]])
    brighter = (x[40:60] * 0.8 + 20).astype(np.uint8)
    pixels = np.concatenate([x, again, brighter, x[100:110]]).transpose(0, 3, 1, 2)
    found = groups(pixels)
    assert sizes(found.exact) == (10, 10)
    near = found.near
    assert (near[300:340] == near[:40]).mean() > 0.9
    assert (near[340:360] == near[40:60]).mean() > 0.9
    assert (near[360:370] == near[100:110]).all()
    assert len(np.unique(near[:300])) == 300  # different pictures stay apart
    assert all(len(group) > 1 for group in examples(near, [str(i) for i in range(len(near))]))


def test_flat_pictures_are_copies_only_when_equal() -> None:
    flat = np.repeat(np.arange(40, dtype=np.uint8) * 6, 16 * 16).reshape(40, 1, 16, 16)
    found = groups(np.concatenate([flat, flat[:3]]))
    assert sizes(found.exact) == (3, 3) and sizes(found.near) == (3, 3)


def test_adding_rows_moves_no_other() -> None:
    digests = np.random.default_rng(0).integers(0, 2**63, 3000).astype(np.uint64)
    few, many = by_content(digests[:2000], 0.1, 0), by_content(digests, 0.1, 0)
    assert np.array_equal(few, many[:2000]) and 0.08 < many.mean() < 0.12
    assert not np.array_equal(by_content(digests, 0.1, 1), many)
    order = np.random.default_rng(1).permutation(3000)
    assert np.array_equal(by_content(digests[order], 0.1, 0), many[order])


def test_groups_stay_on_one_side_and_no_row_that_was_learned_from_is_held_out() -> None:
    rng = np.random.default_rng(0)
    near = rng.integers(0, 2000, 3000)
    held = by_content(rng.integers(0, 2**63, 3000).astype(np.uint64), 0.2, 0)
    made = settle(held, Groups(np.arange(3000), near), "rows", Notes())
    assert made is not None and made.sum() > 100
    assert not set(near[made]) & set(near[~made]) and not (made & ~held).any()


@pytest.mark.parametrize("n", [5, 6, 12])
def test_small_sets_have_both_sides(n: int) -> None:
    for seed in range(20):
        digests = np.random.default_rng(seed).integers(0, 2**63, n).astype(np.uint64)
        held = by_content(digests, 0.1, 0)
        assert 1 <= held.sum() <= n // 2
        pairs = Groups(np.arange(n), np.arange(n) // 2)
        one = settle(held, pairs, "rows", Notes())
        assert one is not None and one.sum() >= 1  # single rows of a pair, where no pair is held out whole
        last = smallest(digests, pairs, 0)
        assert 1 <= last.sum() <= 2 and len(set(np.arange(n)[last] // 2)) == 1


def test_a_crowd_of_look_alikes_is_learned_from() -> None:
    near = np.concatenate([np.zeros(800, int), np.arange(1, 201)])
    held = by_content(np.random.default_rng(0).integers(0, 2**63, 1000).astype(np.uint64), 0.1, 0)
    made, notes = settle(held, Groups(np.arange(1000), near), "rows", Notes()), Notes()
    assert made is not None and made.any() and not (near[made] == 0).any()
    all_alike = settle(held, Groups(np.arange(1000), np.zeros(1000, int)), "rows", notes)
    assert all_alike is not None and all_alike.any() and "resemble" in notes.notes[0]


def test_equal_rows_never_straddle_and_a_crowd_of_them_is_learned_from() -> None:
    digests = np.random.default_rng(0).integers(0, 2**63, 400).astype(np.uint64)
    digests = np.concatenate([digests, digests, np.full(700, digests[0])])
    held = by_content(digests, 0.3, 0)
    assert not set(digests[held]) & set(digests[~held]) and digests[0] not in digests[held]


def test_a_picture_of_the_own_test_split_is_not_learned_from(tmp_path: Path) -> None:
    x = [png(p) for p in pictures(40)]
    files = {f"train/{i:02d}.png": x[i] for i in range(30)} | {f"test/{i:02d}.png": x[i] for i in range(27, 40)}
    dataset = opened(put(tmp_path / "a", files), tmp_path / "cache")
    assert len(dataset.test) == 13 and len(dataset.train) == 27
    assert dataset.summary["duplicates"]["dropped_from_train"] == 3
    assert any("3 training pictures also stand" in note for note in dataset.summary["notes"])


def test_all_the_same(tmp_path: Path) -> None:
    x = png(pictures(1)[0])
    with pytest.raises(UserError, match="All 8 pictures are the same"):
        opened(put(tmp_path / "a", {f"{i}.png": x for i in range(8)}), tmp_path / "cache")


def test_copies_in_a_folder_end_on_one_side(tmp_path: Path) -> None:
    x = pictures(60, side=32)
    files = {f"{i:02d}.png": png(p) for i, p in enumerate(x)}
    files |= {f"{i:02d}-copy.png": png(p) for i, p in enumerate(x)}
    files |= {f"{i:02d}-jpeg.png": png(jpeg(p, 90)) for i, p in enumerate(x)}
    dataset = opened(put(tmp_path / "a", files), tmp_path / "cache", test_share=0.3)
    sides = [{name[:2] for name in table.names} for table in (dataset.train, dataset.test)]
    assert len(sides[0] & sides[1]) <= 1  # a JPEG may have strayed too far to be called near
    assert dataset.summary["duplicates"]["exact_groups"] == 60 and dataset.summary["duplicates"]["near_groups"] > 50
