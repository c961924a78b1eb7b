"""The losses of a generator G and a critic D, and what keeps D smooth.

Throughout: real = D(x) and fake = D(G(z)) are logits f32[B], one pair of the same class in each row, and
every loss is a mean over the batch. D minimises `critic`, G minimises `generator`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class AdversarialLoss:
    """critic: (real, fake) -> f32[]; generator: (fake, real or None) -> f32[]

    pairs: whether the generator's loss reads `real` (relativistic), so that its phase must see data
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor | None], Tensor]
    pairs: bool = False


def binary_critic(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log D(x)] - E[log(1 - D(G(z)))] from logits (Goodfellow et al. 2014, eq. 1)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def non_saturating_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """-E[log D(G(z))] from logits: a strong gradient while D is sure (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-fake).mean()


def minimax_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """E[log(1 - D(G(z)))] from logits: the original game, whose gradient vanishes while D is sure."""
    return -F.softplus(fake).mean()


def hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[max(0, 1 - real)] + E[max(0, 1 + fake)] (Lim & Ye 2017; Miyato et al. 2018, eq. 16)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def least_squares_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[(real - 1)^2] / 2 + E[fake^2] / 2 (Mao et al. 2017, eq. 9)."""
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def least_squares_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """E[(fake - 1)^2] / 2 (Mao et al. 2017, eq. 9)."""
    return (fake - 1).square().mean() / 2


def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[fake] - E[real] for a 1-Lipschitz D (Arjovsky et al. 2017, eq. 2); see `gradient_penalty`."""
    return fake.mean() - real.mean()


def wasserstein_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """-E[fake] (Arjovsky et al. 2017); the hinge game's too."""
    return -fake.mean()


def relativistic_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[softplus(fake - real)]: D ranks each pair (Jolicoeur-Martineau 2019; Huang et al. 2024, eq. 2)."""
    return F.softplus(fake - real).mean()


def relativistic_generator(fake: Tensor, real: Tensor | None) -> Tensor:
    """E[softplus(real - fake)]: the same with the roles exchanged."""
    if real is None:
        raise ValueError("the relativistic game compares fakes with reals; its generator needs both")
    return F.softplus(real - fake).mean()


LOSSES = {
    "non_saturating": AdversarialLoss(binary_critic, non_saturating_generator),
    "minimax": AdversarialLoss(binary_critic, minimax_generator),
    "hinge": AdversarialLoss(hinge_critic, wasserstein_generator),
    "least_squares": AdversarialLoss(least_squares_critic, least_squares_generator),
    "wasserstein": AdversarialLoss(wasserstein_critic, wasserstein_generator),
    "relativistic": AdversarialLoss(relativistic_critic, relativistic_generator, pairs=True),
}


def squared_gradient(critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """|grad_x D(x)|^2 of each item, f32[B], differentiable in D's weights.

    Its mean over real items is R1, over generated ones R2 (Mescheder et al. 2018, eq. 9 and 10), both to
    be weighed by gamma / 2. Call it with gradients enabled.
    """
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return slope.float().square().flatten(1).sum(1)


def patch_penalty(critic: Callable[[Tensor], Tensor], x: Tensor, u: Tensor) -> Tensor:
    """|grad_x D_p(x)|^2 of each item, the mean over its P patches p, f32[B]: R1 of a critic with logits f32[B, P].

    Without bias and in one pass: signs drawn by u ~ U[0, 1) f32[B, P] cancel what two patches share (Hutchinson 1990).
    """
    signs = torch.where(u < 0.5, -1.0, 1.0)
    return squared_gradient(lambda x: (signs * critic(x)).sum(1), x) / u.shape[1]


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, u: Tensor) -> Tensor:
    """(|grad D| - 1)^2 of each item, f32[B], between real and fake at u in [0, 1], f32[B].

    The gradient penalty of WGAN-GP (Gulrajani et al. 2017, eq. 3).
    """
    u = u.view(-1, *[1] * (real.ndim - 1))
    slope = (squared_gradient(critic, torch.lerp(real, fake.detach(), u)) + 1e-12).sqrt()
    return (slope - 1).square()
