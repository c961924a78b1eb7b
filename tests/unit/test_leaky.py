"""The leaky ReLU is that of torch, but that its second derivative is nothing instead of zeros."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from maquette.losses.adversarial import squared_gradient
from maquette.nets.leaky import LeakyReLU, leaky_relu


def test_values_and_gradients_are_those_of_torch() -> None:
    x = torch.randn(50, dtype=torch.float64).requires_grad_()
    for ours, theirs in ((leaky_relu(x), F.leaky_relu(x, 0.2)), (LeakyReLU(0.1)(x), F.leaky_relu(x, 0.1))):
        assert torch.equal(ours, theirs)
        (slope,), (theirs_slope,) = (torch.autograd.grad((y**3).sum(), x) for y in (ours, theirs))
        assert torch.equal(slope, theirs_slope)
    assert torch.autograd.gradgradcheck(lambda x: leaky_relu(x) ** 2, x)


def test_a_penalty_on_slopes_leaves_what_was_seen_alone() -> None:
    first, second = torch.randn(6, 6, requires_grad=True), torch.randn(6, 6, requires_grad=True)
    x, critics = torch.randn(9, 6), {}
    for name, activation in (("ours", leaky_relu), ("theirs", lambda h: F.leaky_relu(h, 0.2))):
        critics[name] = lambda x, activation=activation: (activation(x @ first) @ second).sum(1)
    ours, theirs = (
        torch.autograd.grad(squared_gradient(critic, x).sum(), (first, second)) for critic in critics.values()
    )
    torch.testing.assert_close(ours, theirs)
    h = torch.randn(5, requires_grad=True)
    (slope,) = torch.autograd.grad(leaky_relu(h).sum(), h, create_graph=True)
    assert not slope.requires_grad, "constant"
