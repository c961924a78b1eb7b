"""Pictures changed before a critic sees them."""

from __future__ import annotations

import torch

from maquette.core.table import Table
from maquette.models import gan
from maquette.nets.augment import DRAWS, Augment
from maquette.testing import check_model
from specs import image_spec


def draws(n: int) -> torch.Tensor:
    return torch.rand(n, DRAWS, generator=torch.Generator().manual_seed(0))


def test_nothing_changes_at_share_zero_and_most_does_near_one() -> None:
    x = torch.rand(64, 3, 12, 10) * 2 - 1
    assert torch.equal(Augment(0.0)(x, draws(64)), x)
    changed = (Augment(0.99)(x, draws(64)) != x).flatten(1).any(1)
    assert changed.all()


def test_a_share_of_the_pictures_keeps_every_pixel() -> None:
    x = torch.rand(2000, 1, 8, 8) * 2 - 1
    same = (Augment(0.2)(x, draws(2000)) == x).flatten(1).all(1).float().mean()
    assert abs(float(same) - 0.8**7) < 0.04  # none of the seven changes that show in a grey picture


def test_each_picture_changes_by_its_own_draws_alone() -> None:
    x, u = torch.rand(6, 1, 9, 9), draws(6)
    whole = Augment(0.7)(x, u)
    assert torch.allclose(whole[2:4], Augment(0.7)(x[2:4], u[2:4]))


def test_gradients_pass() -> None:
    x = torch.rand(8, 1, 8, 8, requires_grad=True)
    Augment(0.9)(x, draws(8)).sum().backward()
    assert x.grad is not None and float(x.grad.abs().sum()) > 0


def test_the_share_rises_while_the_critic_is_sure_and_falls_when_it_is_not() -> None:
    augment, one = Augment(0.0, target=0.5), torch.ones(1000)
    for step in range(0, 40, 4):
        augment.observe(one, -one)
        augment.adapt(step)
        augment.adapt(step)  # the next micro-batch of the same step
    assert abs(float(augment.share) - 10 * 1000 / 40_000) < 1e-6
    for step in range(40, 400, 4):
        augment.observe(one, one)
        augment.adapt(step)
    assert float(augment.share) == 0.0
    fixed = Augment(0.3)
    fixed.observe(one, -one)
    fixed.adapt(0)
    assert abs(float(fixed.share) - 0.3) < 1e-6


def test_few_pictures_switch_it_on() -> None:
    spec = image_spec(1, 8, 8)
    few, many = (Table({}, [""] * n) for n in (200, 60_000))
    assert gan.resolve(gan.Config(), spec, few).augment == "adaptive"
    assert gan.resolve(gan.Config(), spec, many).augment == 0
    assert gan.resolve(gan.Config(augment=0.25), spec, few).augment == 0.25


def test_the_contract_holds_with_augmentation() -> None:
    small = {"width": 32, "deep": 32, "blocks": 1, "features": 16, "augment": "adaptive"}
    check_model("gan", image_spec(1, 8, 8, classes=3), small)
