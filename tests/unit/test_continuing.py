"""Clips that go on: how many moments are seen and made, what is hidden, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from maquette.core.errors import UserError
from maquette.core.rng import ItemRng
from maquette.core.spec import DataSpec
from maquette.losses.scales import over_scales
from maquette.models._continuing import ROWS, _hide, settled
from maquette.models.flow_video import Config as Moving
from maquette.models.flow_video import Tweening
from maquette.models.flow_video import build as build_moving
from maquette.models.predictor import Config, build
from maquette.testing import column_spec, data_spec

TINY = {"width": 16, "deep": 16, "deep_blocks": 1, "condition": 8, "prior": {"family": "vae", "width": 16}}


def clips(frames: int = 20) -> DataSpec:
    return data_spec(column_spec("video", 1, frames, 8, 8))


@pytest.mark.parametrize(
    ("frames", "settings", "expected"),
    [(20, {}, (10, 10)), (16, {}, (8, 8)), (40, {}, (10, 30)), (3, {}, (2, 1)), (20, {"seen": 4}, (4, 16)),
     (20, {"seen": 4, "ahead": 3}, (4, 3))],
)  # fmt: skip
def test_moments(frames: int, settings: dict[str, Any], expected: tuple[int, int]) -> None:
    found = settled(Config(**settings), clips(frames))
    assert (found.seen, found.ahead) == expected


@pytest.mark.parametrize(
    ("frames", "settings", "word"),
    [(2, {}, "a clip has 2"), (8, {"seen": 8}, "a clip has 8"), (8, {"seen": 3, "first": 4}, "begins with 4")],
)
def test_too_few_moments(frames: int, settings: dict[str, Any], word: str) -> None:
    with pytest.raises(UserError, match=word):
        build(Config(**TINY, **settings), clips(frames))


def test_only_clips_go_on() -> None:
    with pytest.raises(UserError, match="image"):
        build(Config(**TINY), data_spec(column_spec("image", 1, 8, 8)))


def test_all_but_the_last_moments_are_hidden() -> None:
    x = torch.arange(1.0, 9).view(2, 1, 4, 1, 1)
    assert _hide(x, torch.tensor([2, 4])).flatten().tolist() == [0, 0, 3, 4, 5, 6, 7, 8]


def test_any_number_of_moments_is_continued_but_not_too_few() -> None:
    model = build(Config(**TINY, seen=4, ahead=3), clips()).eval()
    x = torch.rand(2, 1, 12, 8, 8)
    with torch.no_grad():
        made = model.extend(x, 7, {}, ItemRng(0, range(2)))
        again = model.extend(x[:, :, -4:], 7, {}, ItemRng(0, range(2)))
    assert made.shape == (2, 1, 7, 8, 8) and torch.equal(made, again)
    for wrong in (x[:, :, :1], x[..., :4], x.expand(-1, 3, -1, -1, -1)):
        with pytest.raises(UserError, match="cannot be continued"):
            model.extend(wrong, 1, {}, ItemRng(0, range(2)))


def test_what_lies_between_is_learned_where_it_is_asked_for() -> None:
    assert isinstance(build_moving(Moving(**TINY), clips(6)), Tweening)
    assert not isinstance(build_moving(Moving(**TINY, between_every=0), clips(6)), Tweening)


def test_many_clips_move_as_each_of_them_does() -> None:
    model = build_moving(Moving(**TINY, seen=4, ahead=2), clips(6)).eval()
    x = torch.rand(ROWS + 1, 1, 4, 8, 8)
    with torch.no_grad():
        found, alone = model.motion(x, 3), model.motion(x[-1:], 3)
        assert model.between(x[:, :, 0], x[:, :, 1], 2).shape == (ROWS + 1, 1, 2, 8, 8)
    assert found.flow.shape == (ROWS + 1, 3, 2, 2, 8, 8)
    torch.testing.assert_close(found.flow[-1:], alone.flow, atol=1e-4, rtol=1e-4)


def test_errors_of_all_scales() -> None:
    assert over_scales(torch.full((1, 2, 1, 16, 16), 0.5)).item() == 4 * 0.25
    spot = torch.zeros(1, 1, 8, 8)
    spot[..., 3, 3] = 1
    assert over_scales(spot).item() == pytest.approx((1 + 1 / 4 + 1 / 16 + 1 / 64) / 64)
