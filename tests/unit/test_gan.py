"""The GAN family: every pair of networks meets the contract, at any size, with and without classes."""

import pytest
import torch

from maquette.core.model import Decodes, Step
from maquette.core.recipe import load_recipe
from maquette.core.rng import ItemRng, StepRng
from maquette.losses.adversarial import LOSSES
from maquette.models import gan
from maquette.nets.condition import missing
from maquette.nets.dcgan import Stages
from maquette.nets.dims import pyramid
from maquette.testing import check_model, made_up_batch
from specs import image_spec

MLP = {"network": "mlp", "hidden": (32,), "critic_hidden": (32,), "latent_dim": 8}
DCGAN = {"network": "dcgan", "width": 8, "latent_dim": 8, "penalty": "none", "lr": 5e-4, "beta1": 0.5}
CONV = {"width": 16, "deep": 16, "features": 16, "blocks": 1, "latent_dim": 8}


def make(classes: int = 3, shape: tuple[int, int, int] = (1, 8, 8), **settings) -> tuple[gan.GAN, gan.Batch]:
    spec = image_spec(*shape, classes=classes)
    return gan.build(gan.Config(**(CONV | settings)), spec), made_up_batch(spec, 6)


@pytest.mark.parametrize(
    ("shape", "classes", "settings"),
    [
        ((1, 8, 8), 3, CONV),
        ((4, 18, 30), 0, CONV | {"loss": "relativistic", "penalty": "r1"}),
        ((1, 16, 16), 3, MLP),
        ((3, 9, 9), 0, MLP | {"batch_norm": True, "leaky_slope": 0.2, "penalty": "none"}),
        ((1, 28, 28), 3, DCGAN),
    ],
)
def test_contract(shape, classes, settings):
    assert "resume_equals_straight_run" in check_model("gan", image_spec(*shape, classes=classes), settings)


@pytest.mark.parametrize("network", [CONV, DCGAN])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (4, 13, 30), (3, 64, 48), (3, 128, 128)])
def test_any_size(network, shape):
    model, batch = make(2, shape, **network)
    with torch.no_grad():
        assert model.sample(6, batch.given, ItemRng(0, range(6)))["image"].shape == batch.only().shape
        assert model.critic(batch.only(), model.critic.condition(batch.given, 6)).shape == (6,)


@pytest.mark.parametrize(("deep_blocks", "depths"), [(None, [1, 1]), (2, [2, 1])])
def test_coarse_grids_may_have_more_blocks(deep_blocks, depths):
    model, _ = make(0, (1, 28, 28), deep_blocks=deep_blocks)
    assert [len(level) for level in model.generator.levels] == depths
    assert [len(level) for level in model.critic.levels] == depths[::-1]


@pytest.mark.parametrize("side", [28, 32, 64])
def test_geometry(side):
    stages, grid = Stages.of((1, side, side), 64), pyramid((1, side, side))
    assert stages.base[0] * 2**stages.doublings == side and 4 <= stages.base[0] < 8
    assert grid.sizes[-1][0] * grid.patch == side and grid.sizes[0][0] <= 8


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("penalty", ["none", "r1", "r1r2", "wgan-gp"])
def test_every_loss_with_every_penalty_takes_a_step(loss, penalty):
    model, batch = make(loss=loss, penalty=penalty, critic_steps=2)
    for phase in model.phases():
        seen = batch if phase.reads_data else batch.without_target()
        phase.loss(seen, Step(0, 10, StepRng(0, 6))).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.generator.parameters())


def test_only_a_relativistic_generator_reads_data():
    reads = {loss: make(loss=loss)[0].phases()[-1].reads_data for loss in LOSSES}
    assert [loss for loss, value in reads.items() if value] == ["relativistic"]


def test_phases_of_the_critic_share_an_optimizer():
    d, penalty, g = make(penalty_every=4)[0].phases()
    assert d.nets == penalty.nets == ("critic",) and d.optim == penalty.optim and penalty.every == 4
    assert g.nets == ("generator",)


def test_the_class_matters_and_can_be_left_out():
    model, _ = make()
    assert isinstance(model, Decodes)
    z, y = torch.randn(6, model.latent_dim), torch.zeros(6, dtype=torch.long)
    with torch.no_grad():
        zero, one, free = (model.decode(z, g)["image"] for g in ({"label": y}, {"label": y + 1}, {}))
        logits = [model.critic(zero, model.critic.condition({"label": k}, 6)) for k in (y, y + 1, y - 1)]
    assert not torch.equal(zero, one) and not torch.equal(zero, free)
    assert not torch.equal(logits[0], logits[1]) and not torch.equal(logits[0], logits[2])


def test_labels_drop_out():
    model, batch = make(label_dropout=1.0)
    assert missing(model._given(batch, StepRng(0, 6))["label"]).all()
    model, batch = make(label_dropout=0.0)
    assert torch.equal(model._given(batch, StepRng(0, 6))["label"], batch.given["label"])


def test_textbook_recipe_has_the_textbook_sizes():
    model = gan.build(load_recipe("image/gan-mlp").config, image_spec(1, 28, 28))
    sizes = [tuple(p.shape) for p in model.parameters() if p.ndim == 2]
    assert sizes == [(128, 100), (128, 128), (784, 128), (128, 784), (1, 128)]
    d, g = model.phases()
    assert d.optim == g.optim and (d.optim.lr, d.optim.betas[0], d.optim.schedule) == (1e-4, 0.5, "constant")


def test_penalty_relaxes_geometrically():
    model, batch = make(gamma=8.0, gamma_final=2.0)
    _, penalty, _ = model.phases()
    for index, gamma in ((0, 8.0), (5, 4.0), (10, 2.0)):
        loss = penalty.loss(batch, Step(index, 10, StepRng(0, 6)))
        assert torch.allclose(loss.total, gamma / 2 * (loss.parts["r1"] + loss.parts["r2"]))
