"""Moving: fetching, laying, and layers over one another."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from maquette.nets.mover import Scene, between, follow, followed, stands_out
from maquette.nets.warp import differences, over, splat, warp


def picture(n: int = 2, channels: int = 3, h: int = 9, w: int = 11) -> Tensor:
    return torch.randn(n, channels, h, w, generator=torch.Generator().manual_seed(1))


def shift(down: float, right: float, like: Tensor) -> Tensor:
    return torch.tensor([down, right]).view(1, 2, 1, 1).expand(len(like), 2, *like.shape[-2:])


def test_nothing_moves_by_nothing() -> None:
    x = picture()
    for move in (warp, splat):
        torch.testing.assert_close(move(x, shift(0, 0, x)), x)


def test_whole_cells() -> None:
    x = picture()
    moved = torch.zeros_like(x)
    moved[:, :, 2:, :-3] = x[:, :, :-2, 3:]  # two down, three to the left; what leaves is lost
    torch.testing.assert_close(splat(x, shift(2, -3, x)), moved)
    torch.testing.assert_close(warp(x, shift(-2, 3, x)), moved)


def test_half_a_cell_is_shared_by_two() -> None:
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    made = splat(x, shift(0.5, 0, x))
    assert made[0, 0, 2, 2] == made[0, 0, 3, 2] == 0.5 and made.sum() == 1


def test_a_quarter_turn() -> None:
    x = picture(1, 2, 7, 7)
    rows, columns = torch.meshgrid(torch.arange(7.0) - 3, torch.arange(7.0) - 3, indexing="ij")
    turn = math.pi / 2
    down = math.cos(turn) * rows - math.sin(turn) * columns - rows
    right = math.sin(turn) * rows + math.cos(turn) * columns - columns
    flow = torch.stack([down, right])[None]
    torch.testing.assert_close(warp(x, flow), x.rot90(-1, (2, 3)))
    torch.testing.assert_close(splat(x, flow), x.rot90(1, (2, 3)))


def test_laying_is_the_adjoint_of_fetching() -> None:
    a, b = picture().double(), picture().roll(1, 2).double()
    flow = 3 * picture(2, 2).double()
    torch.testing.assert_close((warp(a, flow) * b).sum(), (a * splat(b, flow)).sum())


def test_gradients() -> None:
    x = picture(1, 2, 4, 5).double().requires_grad_()
    flow = (picture(1, 2, 4, 5) * 0.7 + 0.03).double().requires_grad_()
    for move in (warp, splat):
        assert torch.autograd.gradcheck(move, (x, flow))


def test_layers_hide_what_is_behind_them() -> None:
    share = torch.tensor([1.0, 0.5, 0.25]).view(1, 3, 1, 1, 1)
    colour = share * torch.tensor([8.0, 4.0, 2.0]).view(1, 3, 1, 1, 1)
    made, covered, seen = over(colour, share)
    assert made.item() == 0.25 * 2 + 0.75 * (0.5 * 4 + 0.5 * 8)
    assert covered.item() == 1
    assert seen.flatten().tolist() == [0.375, 0.375, 0.25]
    front, _, _ = over(colour.flip(1), share.flip(1))
    assert front.item() == 8  # a layer that covers all is all that is seen
    _, covered, seen = over(colour[:, 1:2], share[:, 1:2])
    assert covered.item() == seen.item() == 0.5


def test_differences_are_least_where_it_was() -> None:
    before = picture(1, 2, 12, 12)
    now = before.roll((2, -1), (2, 3))  # moved two down and one to the left
    found = differences(now, before, 3)[0, :, 5:7, 5:7].mean((1, 2))
    assert found.argmin().item() == (3 - 2) * 7 + (3 + 1) and found.min() == 0  # there it is 2 up, 1 right


def scene(x: Tensor, down: float, ahead: float = 0) -> Scene:
    """Of one layer that covers what is bright, and moved down to the frame before."""
    ways = torch.zeros(1, 2, 1, 2, *x.shape[-2:])
    ways[:, :, :, 0] = torch.tensor([ahead, down]).view(1, 2, 1, 1, 1)
    dark, whole = torch.full_like(x, -1), torch.ones_like(x)
    told = followed(torch.stack([x, x], 2), 1)
    path, bend = torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 2, 1, 1)
    return Scene(x[:, None], (x[:, None] > 0).float(), ways, dark[:, None], whole[:, None], path, bend, told)


def test_halfway() -> None:
    first = torch.full((1, 1, 12, 6), -1.0)
    first[0, 0, 2:4, 2:4] = 1
    last, middle = first.roll(4, 2), first.roll(2, 2)
    made = between(scene(first, 4), scene(last, -4), torch.tensor([[0.5]]))
    torch.testing.assert_close(made[:, 0], middle, atol=5e-3, rtol=0)


def test_moments_ahead_and_before() -> None:
    x = torch.full((1, 1, 12, 6), -1.0)
    x[0, 0, 4:6, 2:4] = 1
    found = scene(x, -3, ahead=2)
    ahead, seen = found.future()
    torch.testing.assert_close(ahead[:, 0], x.roll(2, 2))
    torch.testing.assert_close(found.past()[:, 0], x.roll(-3, 2))
    there = x.roll(2, 2)[0, 0] > 0
    assert torch.equal(seen[0, 0, 0] > 0, there)
    assert (found.flow()[0, 0, 0, 0][there] == -2).all()  # it was two above


def crossing() -> tuple[Tensor, Tensor]:
    """f32[1, 1, 8, 32, 32] of a cross and a ring that go through one another, and where these are, less where they are
    in the last frame, f32[2, 8, 2]."""
    cross, ring = torch.zeros(7, 7), torch.ones(7, 7)
    cross[3], cross[:, 3], ring[2:5, 2:5] = 1, 1, 0
    places = torch.stack([torch.stack([torch.arange(8) + 8, 3 * torch.arange(8) + 1], 1),
                          torch.stack([12 - torch.arange(8) // 2, 22 - 3 * torch.arange(8)], 1)])  # fmt: skip
    frames = torch.full((8, 32, 32), -1.0)
    for shape, path in zip((cross, ring), places.tolist(), strict=True):
        for frame, (down, right) in zip(frames, path, strict=True):
            seen = frame[down : down + 7, right : right + 7]
            seen.copy_(seen.maximum(2 * shape - 1))
    return frames[None, None], (places - places[:, -1:]).float()


def test_what_crosses_is_followed() -> None:
    x, true = crossing()
    found = followed(x, 2)
    path = found.path[0] if (found.path[0] - true).abs().mean() < 3 else found.path[0].flip(0)
    torch.testing.assert_close(path, true, atol=0.2, rtol=0)
    assert (found.fits > 0.8).all() and found.aligned.shape == (1, 2, 8, 1, 32, 32)
    assert (found.stays == -1).float().mean() > 0.95


def test_of_two_frames_nothing_is_said_to_move() -> None:
    x, _ = crossing()
    assert not followed(x[:, :, :2], 2).path.any()


def test_layers_learn_where_they_are_found_ahead() -> None:
    x, _ = crossing()
    told = followed(x[:, :, :5], 2)
    found, _ = follow(told.layers, stands_out(x[:, :, 5:], told.stays))
    none = torch.zeros(1)
    right = Scene(none, none, none, none, none, found / (31 / 2), none, told)
    assert right.strayed(x[:, :, 5:]) == 0
    assert replace(right, path=right.path + 0.1).strayed(x[:, :, 5:]).item() == pytest.approx(0.1, abs=0.03)
