"""Samplers of posteriors on Gaussians, whose posterior is known; noise levels; great circles; styles."""

import pytest
import torch

from maquette.sampling import degrade, posterior, style
from maquette.sampling.ode import over

N = 3000


def gaussian(covariance):
    """The velocity of data ~ N(0, covariance) over the pixels of a row: (E[x | x_t] - x_t) / (1 - t)."""
    values, vectors = torch.linalg.eigh(covariance)

    def field(x, t):
        t = t.view(-1, 1)
        flat = x.flatten(1) @ vectors
        clean = t * values / (t**2 * values + (1 - t) ** 2) * flat
        return (((clean - flat) / (1 - t).clamp(min=1e-6)) @ vectors.T).view_as(x)

    return field


def draw():
    return torch.randn(N, 1, 1, 2)


def test_what_is_not_seen_follows_from_what_is():
    """Of two pixels of correlation 0.9, one is seen: the other is 0.9 times it, and varies by what is left; of which
    the sampler, which draws all noise anew, is a little too sure."""
    covariance = 0.25 * torch.tensor([[1.0, 0.9], [0.9, 1.0]])
    seen = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    y = torch.tensor([0.5, 0.0]).expand(N, 1, 1, 2)
    correct = posterior.agreeing(degrade.Masked(seen), y)
    made = posterior.corrected(gaussian(covariance), draw(), torch.linspace(0, 1, 21), correct, draw, repeats=6)
    first, second = made.flatten(1).T
    assert torch.allclose(first, torch.tensor(0.5), atol=1e-5)
    assert second.mean().item() == pytest.approx(0.45, abs=0.04)
    exact = (0.25 * (1 - 0.81)) ** 0.5
    assert 0.65 * exact < second.std().item() < 1.05 * exact


def test_noise_in_what_is_seen_is_not_believed():
    """With data and noise of equal variance, half of what is seen is believed in the end."""
    y = torch.full((N, 1, 1, 2), 0.8)
    correct = posterior.agreeing(degrade.Masked(torch.ones(1, 1, 1, 2)), y, level=0.5, std=0.5)
    clean, zero = torch.zeros_like(y), torch.tensor(0.0)
    assert torch.allclose(correct(clean, zero), 0.5 * y)
    assert correct(clean, torch.tensor(0.99)).max() < 0.01  # by then the estimate is far surer than what is seen
    assert torch.allclose(posterior.agreeing(degrade.Masked(torch.ones(1, 1, 1, 2)), y)(clean, zero), y)


def test_carrying_on_gives_the_posterior():
    """Of x_t, each item at a time of its own."""
    covariance, start = 0.25 * torch.eye(2), torch.tensor([0.3, 0.7]).repeat(N // 2)
    x = torch.full((N, 1, 1, 2), 0.4)
    made = posterior.carry_on(gaussian(covariance), x, start, 200, draw)
    for time in (0.3, 0.7):
        ours = made[start == time].flatten()
        noise = (1 - time) ** 2
        variance = 1 / (1 / 0.25 + time**2 / noise)
        assert ours.mean().item() == pytest.approx(variance * time / noise * 0.4, abs=0.02)
        assert ours.std().item() == pytest.approx(variance**0.5, rel=0.06)
    clean = posterior.expected(gaussian(covariance), x, start)
    exact = start * 0.25 / (start**2 * 0.25 + (1 - start) ** 2) * 0.4
    assert torch.allclose(clean, over(exact, clean).expand_as(clean), atol=1e-5)


@pytest.mark.parametrize("level", [0.1, 0.4])
def test_the_level_of_noise_is_found(level):
    ramp = torch.linspace(-0.3, 0.3, 32).expand(4, 1, 32, 32)
    noisy = ramp + level * torch.randn(ramp.shape)
    assert posterior.noise_level(noisy).mean().item() == pytest.approx(level, rel=0.1)
    assert (posterior.noise_level(ramp) < 1e-6).all()
    ground = (-1 + level * torch.randn(4, 1, 32, 32)).clamp(-1, 1)  # as a file keeps it
    assert posterior.noise_level(ground).mean().item() == pytest.approx(level, rel=0.15)


def test_a_flow_has_as_much_noise_at_that_time():
    t = posterior.time_of(torch.tensor([0.0, 0.5, 1.0]))
    assert torch.allclose((1 - t) / t, torch.tensor([0.0, 0.5, 1.0])) and t[0] == 1


def test_slerp_goes_round():
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    ends = [posterior.slerp(a, b, torch.tensor([s])) for s in (0.0, 1.0)]
    assert torch.allclose(ends[0], a, atol=1e-6) and torch.allclose(ends[1], b, atol=1e-6)
    half = posterior.slerp(a, b / 2, torch.tensor([0.5]))
    assert torch.allclose(half, torch.full((1, 2), 0.5**0.5))
    assert torch.allclose(posterior.slerp(a, a, torch.tensor([0.3])), a)  # no division by sin 0
    codes = torch.randn(2, 50, 784)
    assert posterior.slerp(*codes, torch.rand(50)).norm(dim=1).mean().item() == pytest.approx(28, rel=0.02)


def test_patches_move_to_the_others():
    """In all directions at once: what is moved is then distributed as the model is."""
    a, b = torch.randn(400, 3), torch.randn(300, 3) * torch.tensor([0.2, 1.0, 2.0]) + torch.tensor([3.0, 0.0, -1.0])
    for _ in range(60):
        directions = torch.nn.functional.normalize(torch.randn(3, 32), dim=0)
        a = a + 0.5 * style.sliced_step(a, b, directions)
    assert torch.allclose(a.mean(0), b.mean(0), atol=0.1) and torch.allclose(a.std(0), b.std(0), rtol=0.15)


def test_flat_ground_has_no_style():
    flat, line = torch.full((1, 1, 16, 16), -1.0), torch.full((1, 1, 16, 16), -1.0)
    line[..., 8:10, 2:14] = 1

    def normal(*size):
        return torch.randn(size)

    t = torch.tensor(0.5)
    assert torch.allclose(style.towards_style(line, flat, normal)(line, t), line, atol=1e-5)
    assert torch.allclose(style.towards_style(flat, line, normal)(flat, t), flat, atol=1e-5)
    thick = torch.full((1, 1, 16, 16), -1.0)
    thick[..., 6:11, 2:14] = 1
    moved = line
    for _ in range(10):
        moved = style.towards_style(line, thick, normal)(moved, t)
    assert moved.clamp(-1, 1).mean() > line.mean() + 0.1
