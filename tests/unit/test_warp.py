"""Moving: fetching, laying, and layers over one another."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maquette.nets.mover import Scene, between
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
    return Scene(x[:, None], (x[:, None] > 0).float(), ways, dark[:, None], whole[:, None], torch.zeros(1, 1, 2, 1, 1))


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
    torch.testing.assert_close(found.past(torch.zeros(1, 1).long())[:, 0], x.roll(-3, 2))
    there = x.roll(2, 2)[0, 0] > 0
    assert torch.equal(seen[0, 0, 0] > 0, there)
    assert (found.flow()[0, 0, 0, 0][there] == -2).all()  # it was two above
