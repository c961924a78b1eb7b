"""PSNR, SSIM and the distance of spectra, of known cases."""

import pytest
import torch

from maquette.evaluation.similarity import log_spectral_distance, psnr, ssim


def test_psnr():
    x = torch.zeros(2, 1, 8, 8)
    assert psnr(x, x + 0.2).tolist() == pytest.approx([20.0, 20.0], abs=1e-4)  # 10 log10(4 / 0.04)
    assert psnr(x, x).min() > 100


def test_ssim():
    x = torch.rand(3, 3, 20, 24) * 2 - 1
    assert torch.allclose(ssim(x, x), torch.ones(3))
    assert torch.allclose(ssim(x, 0.5 * x), ssim(0.5 * x, x))
    assert ssim(0.5 + 0.1 * x, 0.5 - 0.1 * x).max() < 0  # the same brightness, and the opposite structure
    # Of flat pictures only the means are compared: (2 a b + c) / (a^2 + b^2 + c) with c = (0.01 * 2)^2.
    a, b = torch.full((1, 1, 16, 16), 0.5), torch.full((1, 1, 16, 16), 0.25)
    assert ssim(a, b).item() == pytest.approx((0.25 + 4e-4) / (0.3125 + 4e-4), abs=1e-4)
    noisy = [ssim(x, x + level * torch.randn_like(x)).mean() for level in (0.05, 0.2, 0.8)]
    assert noisy[0] > noisy[1] > noisy[2]


def test_log_spectral_distance():
    x = torch.randn(2, 1, 4000) / 10
    assert log_spectral_distance(x / 10, x).tolist() == pytest.approx([20.0, 20.0], abs=0.1)
    assert log_spectral_distance(x, x).max() == 0
    tone = torch.sin(torch.arange(4000.0))[None]
    assert log_spectral_distance(tone + 1e-6 * torch.randn(1, 4000), tone) < 0.1  # below what is told apart
    last = (torch.arange(4000) >= 3000).float()[None].expand(2, -1)
    changed = torch.where(last[:, None] > 0, x / 10, x)
    assert log_spectral_distance(changed, x, last).min() > 3 * log_spectral_distance(changed, x).max()
