"""8-bit levels as numbers with a density."""

import pytest
import torch

from maquette.losses.levels import LEVELS, STEP, Pixels, Ranks, count, dequantise

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
    for space in (Ranks(SHARES), Pixels()):
        (slope,) = torch.autograd.grad(space.into(drawn).sum(), drawn)
        assert torch.allclose(space.log_det(drawn), slope.log().flatten(1).sum(1), rtol=1e-3, atol=1e-3)


def test_what_no_picture_has_is_still_a_picture():
    y = torch.tensor([-40.0, 40.0]).view(2, 1, 1, 1)
    assert Ranks(SHARES).out(y).flatten().tolist() == pytest.approx([-1 - STEP / 2, 1 + STEP / 2], abs=1e-4)
    assert Ranks(SHARES).into(torch.tensor([-3.0, 3.0]).view(2, 1, 1, 1)).isfinite().all()
