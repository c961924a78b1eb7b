"""Likelihoods, divergences and the importance-weighted bound against closed forms."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from maquette.core.batch import Batch
from maquette.core.rng import StepRng
from maquette.losses import likelihood
from maquette.losses.divergence import kl_normal, kl_standard_normal
from maquette.models import vae
from specs import image_spec


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_kl_agrees_with_monte_carlo():
    mean, log_std = torch.randn(4, 6), 0.5 * torch.randn(4, 6)
    u = mean + log_std.exp() * torch.randn(200_000, 4, 6)
    samples = (Normal(mean, log_std.exp()).log_prob(u) - Normal(0.0, 1.0).log_prob(u)).sum(2)  # [S, 4]
    error = samples.std(0) / math.sqrt(len(samples))
    assert ((samples.mean(0) - kl_standard_normal(mean, log_std)).abs() < 5 * error).all()


def test_kl_of_two_gaussians_agrees_with_torch():
    mean_q, log_std_q, mean_p, log_std_p = torch.randn(4, 3, 2, 5)
    expected = kl_divergence(Normal(mean_q, log_std_q.exp()), Normal(mean_p, log_std_p.exp())).sum((1, 2))
    assert torch.allclose(kl_normal(mean_q, log_std_q, mean_p, log_std_p), expected, rtol=1e-4)


def test_densities_agree_with_torch():
    x, mean, log_std = 2 * torch.rand(3, 2, 4, 4) - 1, torch.randn(3, 2, 4, 4), 0.3 * torch.randn(2, 1, 1)
    expected = Normal(mean, log_std.exp()).log_prob(x).flatten(1).sum(1)
    assert torch.allclose(likelihood.gaussian(mean, log_std, x), expected, rtol=1e-5)
    half = torch.tensor(0.5 * math.log(0.5))
    assert torch.allclose(likelihood.squared_error(mean, x), likelihood.gaussian(mean, half, x), rtol=1e-5)
    binary = likelihood.binarize(x, torch.rand_like(x))
    expected = Bernoulli(logits=mean).log_prob((binary + 1) / 2).flatten(1).sum(1)
    assert torch.allclose(likelihood.bernoulli(mean, binary), expected, rtol=1e-5)


def test_binarisation_keeps_the_mean():
    grey = torch.linspace(-1, 1, 5)
    drawn = likelihood.binarize(grey.expand(20_000, 5), torch.rand(20_000, 5))
    assert drawn.unique().tolist() == [-1, 1]
    assert torch.allclose(drawn.mean(0), grey, atol=0.04)
    assert drawn[:, 0].eq(-1).all() and drawn[:, 4].eq(1).all()


def linear_gaussian(noise_std: float, posterior_scale: float = 1.0) -> tuple[vae.VAE, MultivariateNormal]:
    """A VAE whose networks are linear maps, with the exact posterior (for scale 1), and its exact p(x).

    x = W u + b + noise_std e. The columns of W are orthogonal, hence the posterior is diagonal.
    """
    config = vae.Config(
        network="mlp", latent_dim=3, hidden=(), likelihood="gaussian", std=noise_std, sample_from="likelihood"
    )
    model = vae.build(config, image_spec(1, 2, 4)).eval()
    weight = torch.linalg.qr(torch.randn(8, 3)).Q * torch.tensor([0.5, 1.0, 2.0])
    bias = 0.3 * torch.randn(8)
    precision = 1 + weight.square().sum(0) / noise_std**2  # of u given x
    gain = weight.T / noise_std**2 / precision[:, None]
    log_std = -0.5 * precision.log() + math.log(posterior_scale)
    with torch.no_grad():
        decoder, encoder = model.net.decoder[0], model.net.encoder[0]
        decoder.weight.copy_(weight), decoder.bias.copy_(bias)
        encoder.weight.copy_(torch.cat([gain, torch.zeros_like(gain)]))
        # The network squashes its log_std as 4 tanh(. / 4).
        encoder.bias.copy_(torch.cat([-gain @ bias, 4 * torch.atanh(log_std / 4)]))
    return model, MultivariateNormal(bias, weight @ weight.T + noise_std**2 * torch.eye(8))


@torch.no_grad()
def test_exact_posterior_gives_the_exact_log_likelihood_with_one_sample():
    model, exact = linear_gaussian(0.5)
    x = exact.sample((16,))
    scored = model.log_prob(Batch({"image": x.view(16, 1, 2, 4)}), StepRng(1, 16), samples=1)
    assert torch.allclose(scored, exact.log_prob(x), atol=1e-3)


@torch.no_grad()
def test_importance_weighting_closes_the_gap_of_a_wrong_posterior():
    model, exact = linear_gaussian(0.5, posterior_scale=1.5)
    x = exact.sample((64,))
    batch, truth = Batch({"image": x.view(64, 1, 2, 4)}), exact.log_prob(x)
    bounds = [
        torch.stack([model.log_prob(batch, StepRng(seed, 64), samples=k) for seed in range(repeats)]).mean(0).mean()
        for k, repeats in ((1, 300), (5, 100), (50, 30), (5000, 1))
    ]
    assert bounds == sorted(bounds), "the bound must not fall as k grows"
    assert bounds[0] < truth.mean() - 0.5
    assert abs(bounds[-1] - truth.mean()) < 0.01


@torch.no_grad()
def test_samples_follow_the_model():
    model, exact = linear_gaussian(0.02)
    model.net.decoder[0].weight.mul_(0.1), model.net.decoder[0].bias.mul_(0.1)  # stay inside [-1, 1]
    x = model.sample(20_000, {}, StepRng(3, 20_000))["image"].flatten(1)
    covariance = 0.01 * (exact.covariance_matrix - 0.02**2 * torch.eye(8)) + 0.02**2 * torch.eye(8)
    assert torch.allclose(x.T.cov(), covariance, atol=2e-3)
