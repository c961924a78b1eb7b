"""8-bit levels as numbers with a density."""

import pytest
import torch

from maquette.losses.levels import LEVELS, STEP, Plain, Ranks, count, dequantise

SHARES = [float(i % 7 + 1) for i in range(LEVELS)]
SHARES[0] = 4000.0


def pictures(n=400):
    level = torch.multinomial(torch.tensor(SHARES), n * 16, replacement=True).view(n, 1, 4, 4)
    return level, level * STEP - 1


def test_dequantised_pixels_stay_within_their_step():
    _, x = pictures()
    moved = (dequantise(x, torch.rand(x.shape)) - x) / STEP
    assert moved.abs().max() <= 0.5 + 1e-4 and moved.std().item() == pytest.approx(12**-0.5, rel=0.05)


def test_levels_are_counted():
    level, x = pictures()
    assert (count(x) == torch.bincount(level.flatten(), minlength=LEVELS).numpy()).all()


def test_ranks_are_normal_and_inverted():
    level, x = pictures(2000)
    drawn = dequantise(x, torch.rand(x.shape))
    y = Ranks(SHARES).into(drawn)
    assert y.mean().item() == pytest.approx(0, abs=0.02) and y.std().item() == pytest.approx(1, abs=0.02)
    assert (y.pow(3).mean().item(), y.pow(4).mean().item()) == pytest.approx((0, 3), abs=0.15)
    back = Ranks(SHARES).out(y)
    assert (back - drawn).abs().max() < 1e-4
    # All but those that fp32 rounds over the edge of their step.
    assert (((back + 1) / STEP).round().long() == level).float().mean() > 0.999


def test_log_det_is_that_of_the_derivative():
    _, x = pictures(8)
    drawn = dequantise(x, 0.05 + 0.9 * torch.rand(x.shape)).requires_grad_()
    for space in (Ranks(SHARES), Plain()):
        (slope,) = torch.autograd.grad(space.into(drawn).sum(), drawn)
        assert torch.allclose(space.log_det(drawn), slope.log().flatten(1).sum(1), rtol=1e-3, atol=1e-3)


def test_what_no_picture_has_is_still_a_picture():
    y = torch.tensor([-40.0, 40.0]).view(2, 1, 1, 1)
    assert Ranks(SHARES).out(y).flatten().tolist() == pytest.approx([-1 - STEP / 2, 1 + STEP / 2], abs=1e-4)
    assert Ranks(SHARES).into(torch.tensor([-3.0, 3.0]).view(2, 1, 1, 1)).isfinite().all()


@pytest.mark.parametrize("level", [0, 3, 128, 255])
@pytest.mark.parametrize("time", [0.1, 0.5, 0.9])
def test_what_is_expected_of_a_level_is_its_mean(level, time):
    """The residual of a conditional mean has no mean, and says nothing about what the mean is conditional on."""
    space = Ranks([*SHARES[:-1], 500.0])
    x = torch.full((200_000, 1, 1, 1), level * STEP - 1)
    y = space.into(dequantise(x, torch.rand_like(x)))
    at, t = (1 - time) * torch.randn_like(y) + time * y, torch.full((len(x),), time)
    rest = y - (found := space.expected(at, t, x))
    error = 5 * y.std().item() / len(x) ** 0.5 + 2e-6  # and what fp32 rounds
    assert abs(rest.mean().item()) < error and abs((rest * at).mean().item()) < error * at.square().mean().sqrt().item()
    assert rest.var() <= y.var() * 1.001
    assert found.min() >= y.min() - 1e-3 or level == 0
    assert found.max() <= y.max() + 1e-3 or level == 255


def test_what_is_expected_is_finite_far_from_every_level():
    space, x = Ranks(SHARES), torch.tensor([0.0, 100.0, 255.0]).view(3, 1, 1, 1) * STEP - 1
    for at in (-30.0, 30.0):
        found = space.expected(torch.full_like(x, at), torch.full((3,), 0.97), x)
        assert found.isfinite().all() and (found[1] - space.into(x[1])).abs() < 0.1
