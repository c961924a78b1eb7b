"""The contract must be able to fail: each broken family here is caught, and by the right check."""

from __future__ import annotations

import sys
import types

import pytest
import torch

import toy_family
from maquette.core.model import Loss, Phase
from maquette.testing import ContractError, check_model, image_spec

SPEC = image_spec(1, 8, 8)


def broken(**methods) -> str:
    """A module like toy_family whose model has these methods replaced."""
    module = types.ModuleType("broken_family")
    kind = type("Broken", (toy_family.Toy,), methods)
    module.Config, module.SUPPORTS = toy_family.Config, toy_family.SUPPORTS
    module.build = lambda config, spec: kind(config, spec)
    module.__spec__ = types.SimpleNamespace(name="broken_family")
    sys.modules["broken_family"] = module
    return "broken_family"


def test_the_toy_family_passes() -> None:
    assert len(check_model("toy_family", SPEC)) >= 11


def test_a_phase_that_trains_too_much() -> None:
    def phases(self):
        both = ("D", "G")
        optim = toy_family.Toy.phases(self)[0].optim
        return (Phase("d", both, self.d_loss, optim),)

    with pytest.raises(ContractError, match="phase 'd'"):
        check_model(broken(phases=phases), SPEC)


def test_a_sample_that_depends_on_n() -> None:
    def sample(self, n, given, rng):
        z = rng.normal(n, self.config.latent_dim)
        return {"image": torch.tanh(self.G(z - z.mean(0))).view(n, *self.shape)}

    with pytest.raises(ContractError, match="depends on how many"):
        check_model(broken(sample=sample), SPEC)


def test_noise_that_is_not_derived() -> None:
    def fake(self, n, step):
        return torch.tanh(self.G(torch.randn(n, self.config.latent_dim, generator=torch.Generator().manual_seed(
            torch.seed() % 1000))))  # fmt: skip

    with pytest.raises(ContractError, match=r"resumed run differs|micro-batches change"):
        check_model(broken(fake=fake), SPEC)


def test_a_phase_that_reads_data_in_secret() -> None:
    def g_loss(self, batch, step):
        return Loss(self.D(batch.x.flatten(1)).mean() + toy_family.Toy.g_loss(self, batch, step).total)

    with pytest.raises(ValueError):
        check_model(broken(g_loss=g_loss), SPEC)


def test_a_detached_loss() -> None:
    def g_loss(self, batch, step):
        return Loss(self.G.weight.sum() * 0.0)

    with pytest.raises(ContractError):
        check_model(broken(g_loss=g_loss), SPEC)
