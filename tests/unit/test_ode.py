"""Solvers against fields whose trajectories are known, and densities against exact ones."""

import math

import pytest
import torch

from maquette.losses.flow_matching import Scaling
from maquette.sampling import ode

FIXED = {"euler": (ode.euler, 1), "midpoint": (ode.midpoint, 2), "heun": (ode.heun, 2)}
GAUSSIAN = Scaling(0.5)  # its skip(t) x is the velocity field of data ~ N(0, 0.25)


def gaussian(x, t):
    return GAUSSIAN.skip(t)[:, None] * x


def swinging(x, t):
    """dx/dt = x cos t, so x(t) = x(0) exp(sin t)."""
    return x * t.cos()[:, None]


def grid(steps, end=1.0):
    return torch.linspace(0, end, steps + 1, dtype=torch.float64)


@pytest.mark.parametrize("name", FIXED)
def test_order_of_convergence(name):
    solve, order = FIXED[name]
    x = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)
    exact = x * math.exp(math.sin(1.0))
    coarse, fine = ((solve(swinging, x, grid(n)) - exact).abs().max() for n in (16, 32))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("name", FIXED)
def test_a_constant_field_is_exact_in_one_step_and_the_way_back_returns(name):
    solve, _ = FIXED[name]
    x, v = torch.randn(3, 4), torch.randn(3, 4)
    end = solve(lambda x, t: v, x, torch.tensor([0.0, 1.0]))
    assert torch.allclose(end, x + v)
    assert torch.allclose(solve(lambda x, t: v, end, torch.tensor([1.0, 0.0])), x, atol=1e-6)


def test_a_jump_is_exact_when_the_mean_velocity_is():
    """Of the Gaussian field: x(t + h) = sigma(t + h) / sigma(t) x(t)."""
    x = torch.randn(4, 3)

    def mean_velocity(x, t, h):
        ratio = (GAUSSIAN.variance(t + h) / GAUSSIAN.variance(t)).sqrt()
        return ((ratio - 1) / h)[:, None] * x

    for steps in (1, 2, 5):
        made = ode.jump(mean_velocity, x, torch.linspace(0, 1, steps + 1))
        assert torch.allclose(made, 0.5 * x, atol=1e-6)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_dopri5_keeps_its_tolerance(tolerance):
    x = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)
    exact = x * math.exp(math.sin(3.0))
    assert (ode.dopri5(swinging, x, 0.0, 3.0, tolerance, tolerance) - exact).abs().max() < 20 * tolerance
    back = ode.dopri5(swinging, exact, 3.0, 0.0, tolerance, tolerance)
    assert (back - x).abs().max() < 20 * tolerance


def test_dopri5_gives_each_item_steps_of_its_own():
    """A stiff neighbour changes nothing, to the last bit."""
    rates = torch.tensor([1.0, 80.0])
    calls = []

    def field(x, t):
        calls.append(t)
        return -rates[: len(x), None] * x

    alone = ode.dopri5(field, torch.ones(1, 3), 0.0, 1.0)
    few = len(calls)
    both = ode.dopri5(field, torch.ones(2, 3), 0.0, 1.0)
    assert len(calls) - few > few  # the neighbour took many more
    assert torch.equal(alone[0], both[0])


def test_dopri5_gives_up_where_the_field_has_no_end():
    with pytest.raises(ArithmeticError, match="too rough"):
        ode.dopri5(lambda x, t: torch.randn_like(x) * 1e6, torch.ones(1, 2), 0.0, 1.0, most=20)


def test_shifted_steps_are_finer_near_the_data_and_end_where_even_ones_do():
    assert torch.equal(ode.times(5), torch.linspace(0, 1, 6))
    even, shifted = ode.times(1000).diff(), ode.times(1000, 3.0)
    assert shifted[0] == 0 and shifted[-1] == 1
    assert shifted.diff()[0] / even[0] == pytest.approx(3, rel=0.01)
    assert shifted.diff()[-1] / even[-1] == pytest.approx(1 / 3, rel=0.01)


@pytest.mark.parametrize("churn", [0.0, 1.0])
def test_the_stochastic_sampler_has_the_law_of_the_ode(churn):
    torch.manual_seed(0)
    x = torch.randn(20_000, 1)
    made = ode.stochastic(gaussian, x, torch.linspace(0, 1, 101), lambda: torch.randn_like(x), churn)
    assert made.mean().abs() < 0.02 and made.std() == pytest.approx(0.5, rel=0.03)
    correlation = (made * x).mean() / made.std() / x.std()
    assert correlation > 0.999 if churn == 0 else correlation < 0.9  # with churn, noise is forgotten


def test_log_likelihood_of_a_gaussian_is_exact():
    """The field of N(0, 0.25), carried back: Hutchinson's estimate is exact for a diagonal Jacobian and signs."""
    x = 0.5 * torch.randn(5, 3, dtype=torch.float64)
    probe = torch.randn_like(x).sign()
    state = torch.cat([x, x.new_zeros(5, 1)], 1)
    state = ode.dopri5(ode.with_divergence(gaussian, probe), state, 1.0, 0.0, 1e-7, 1e-7)
    found = ode.log_normal(state[:, :-1]) - state[:, -1]
    exact = torch.distributions.Normal(0.0, 0.5).log_prob(x).sum(1)
    assert torch.allclose(found, exact.double(), atol=1e-5)


def test_the_divergence_is_right_on_average():
    """Of a field that mixes dimensions."""
    torch.manual_seed(0)
    matrix = torch.randn(4, 4)
    x = torch.randn(4000, 4)
    both = ode.with_divergence(lambda x, t: x @ matrix.T, torch.randn_like(x).sign())
    out = both(torch.cat([x, torch.zeros(4000, 1)], 1), torch.zeros(4000))
    assert -out[:, -1].mean().item() == pytest.approx(matrix.trace().item(), abs=0.3)
    assert torch.allclose(out[:, :-1], x @ matrix.T, atol=1e-5)
