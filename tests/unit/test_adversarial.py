"""Adversarial losses against closed forms."""

import math

import pytest
import torch

from maquette.losses import adversarial as adv
from maquette.losses.adversarial import LOSSES

REAL, FAKE = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])


def test_binary_losses_are_those_of_the_paper():
    d_real, d_fake = REAL.sigmoid(), FAKE.sigmoid()
    expected = -(d_real.log().mean() + (1 - d_fake).log().mean())
    assert torch.allclose(adv.binary_critic(REAL, FAKE), expected)
    assert torch.allclose(adv.non_saturating_generator(FAKE), -d_fake.log().mean())
    assert torch.allclose(adv.minimax_generator(FAKE), (1 - d_fake).log().mean())


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_losses_stay_finite_at_extreme_logits(loss):
    far = torch.tensor([1e4, -1e4])
    assert LOSSES[loss].critic(far, -far).isfinite() and LOSSES[loss].generator(far, -far).isfinite()


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_the_two_pull_in_opposite_directions(loss):
    fake = FAKE.clone().requires_grad_()
    (critic,) = torch.autograd.grad(LOSSES[loss].critic(torch.zeros(2), fake), fake)
    (generator,) = torch.autograd.grad(LOSSES[loss].generator(fake, torch.zeros(2)), fake)
    # Hinge and least squares rest where the fake is already as good, or as bad, as asked for.
    assert (critic >= 0).all() and (generator[fake < 1] < 0).all()


def test_values():
    assert adv.hinge_critic(REAL, FAKE).item() == pytest.approx((0 + 2) / 2 + (1.5 + 4) / 2)
    assert adv.least_squares_critic(REAL, FAKE).item() == pytest.approx(((1 + 4) / 2 + (0.25 + 9) / 2) / 2)
    assert adv.least_squares_generator(FAKE).item() == pytest.approx((0.25 + 4) / 4)
    assert adv.wasserstein_critic(REAL, FAKE).item() == pytest.approx(1.75 - 0.5)
    assert adv.relativistic_critic(REAL, REAL).item() == pytest.approx(math.log(2))


def test_relativistic_reads_differences_only_and_needs_reals():
    assert torch.allclose(adv.relativistic_critic(REAL, FAKE), adv.relativistic_critic(REAL + 7, FAKE + 7))
    assert torch.allclose(adv.relativistic_critic(REAL, FAKE), adv.relativistic_generator(REAL, FAKE))
    with pytest.raises(ValueError, match="needs both"):
        adv.relativistic_generator(FAKE, None)


def test_squared_gradient_of_a_linear_critic_is_its_weight():
    weight = torch.randn(1, 4, 4, requires_grad=True)
    x = torch.randn(3, 1, 4, 4)
    slopes = adv.squared_gradient(lambda x: (x * weight).sum((1, 2, 3)), x)
    assert torch.allclose(slopes, weight.square().sum().expand(3))
    slopes.mean().backward()
    assert torch.allclose(weight.grad, 2 * weight)
    assert not x.requires_grad


def test_the_penalty_of_patches_is_the_mean_of_each_ones():
    """Of linear ones that overlap: what two share cancels on average over the signs."""
    weight = torch.randn(5, 8, requires_grad=True)
    x = torch.randn(1, 8).expand(20_000, 8)
    slopes = adv.patch_penalty(lambda x: x @ weight.T, x, torch.rand(20_000, 5))
    assert slopes.mean().item() == pytest.approx(weight.square().sum(1).mean().item(), rel=0.05)
    apart = torch.eye(8, requires_grad=True)
    assert torch.allclose(adv.patch_penalty(lambda x: x @ apart, x, torch.rand(20_000, 8)), torch.ones(20_000))


def test_gradient_penalty_is_zero_for_a_critic_of_slope_one():
    direction = torch.nn.functional.normalize(torch.randn(16), dim=0)
    real, fake, u = torch.randn(5, 1, 4, 4), torch.randn(5, 1, 4, 4), torch.rand(5)
    assert torch.allclose(
        adv.gradient_penalty(lambda x: x.flatten(1) @ direction, real, fake, u), torch.zeros(5), atol=1e-5
    )
    assert torch.allclose(
        adv.gradient_penalty(lambda x: x.flatten(1) @ direction * 3, real, fake, u), torch.full((5,), 4.0)
    )
