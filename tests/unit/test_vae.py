"""The variational auto-encoder: its geometry, its loss, its abilities."""

import pytest
import torch

from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.model import Encodes, Scores, Step
from maquette.core.rng import ItemRng, StepRng
from maquette.losses.divergence import free_bits
from maquette.models import vae
from maquette.nets.critic import PatchCritic
from maquette.nets.dims import Grid
from maquette.testing import check_model, made_up_batch
from specs import image_spec

SMALL = {"width": 32, "encoder_blocks": 2, "head": 32, "groups": (("global", 4), ("local", 2))}
MLP = {"network": "mlp", "latent_dim": 2, "hidden": (32,)}
CRITIC = {"network": "codec", "decoder_blocks": 1, "likelihood": "gaussian", "adversarial": 0.5, "critic_width": 16}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make(classes: int = 0, shape: tuple[int, int, int] = (1, 12, 12), **settings) -> tuple[vae.VAE, Batch]:
    spec = image_spec(*shape, classes=classes)
    return vae.build(vae.Config(**(SMALL | settings)), spec).eval(), made_up_batch(spec, 6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 30), (4, 64, 48), (3, 128, 128)])
def test_cutting_and_joining_are_inverse_on_any_shape(shape):
    grid = Grid.of(shape, patch=4)
    x = torch.randn(2, *shape)
    cut = grid.cut(x)
    assert cut.shape[2:] == grid.sizes[-1] and max(grid.sizes[0]) <= 8
    assert torch.equal(grid.join(cut), x)


@pytest.mark.parametrize(
    ("shape", "classes", "settings"),
    [
        ((1, 8, 8), 3, SMALL),
        ((4, 20, 34), 0, SMALL | {"likelihood": "gaussian"}),
        ((3, 72, 72), 2, SMALL | {"likelihood": "gaussian", "std": 0.1, "sample_from": "likelihood"}),
        ((1, 16, 16), 3, MLP | {"binarize": "dynamic", "free_bits": 0.1}),
        ((3, 9, 9), 0, MLP | {"likelihood": "mse"}),
        ((3, 16, 21), 0, CRITIC | {"adversarial_after": 0.0}),
    ],
)
def test_contract(shape, classes, settings):
    assert "resume_equals_straight_run" in check_model("vae", image_spec(*shape, classes=classes), settings, 40)


@pytest.mark.parametrize("settings", [{}, MLP])
def test_encodes_and_scores(settings):
    model, batch = make(classes=3, **settings)
    assert isinstance(model, Encodes) and isinstance(model, Scores)
    with torch.no_grad():
        code = model.encode(batch)
        again = model.decode(code, batch.given)["image"]
        assert code.shape == (6, model.latent_dim) and again.shape == batch.only().shape
        assert torch.equal(code, model.encode(batch))
        assert model.log_prob(batch, ItemRng(0, range(6)), samples=7).shape == (6,)


class Silent:
    """An Rng without noise: every importance sample is the posterior mean."""

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape)

    uniform = normal


@torch.no_grad()
def test_scoring_in_pieces_does_not_change_the_bound(monkeypatch):
    model, batch = make()
    one = model.log_prob(batch, Silent(), samples=1)
    monkeypatch.setattr(vae, "_ROWS", 24)
    assert torch.allclose(model.log_prob(batch, Silent(), samples=10), one, atol=1e-3)


@torch.no_grad()
def test_log_ratio_is_an_estimate_of_minus_the_kl():
    model, batch = make()
    k, n = 1000, batch.size
    passed = model.net(batch.only(), None, torch.randn(n * k, model.latent_dim))
    kl, ratio = passed.kl.sum(0).view(n, k), passed.log_ratio.view(n, k)
    error = (kl + ratio).std(1) / k**0.5
    assert ((kl.mean(1) + ratio.mean(1)).abs() < 5 * error).all()


def test_a_drawn_code_decodes_to_what_the_pass_decoded():
    model, batch = make()
    with torch.no_grad():
        passed = model.net(batch.only(), None, torch.randn(6, model.latent_dim))
        assert torch.allclose(model.net(None, None, passed.code).out, passed.out, atol=1e-4)


def test_label_changes_the_sample_and_can_be_left_out():
    model, _ = make(classes=3)
    with torch.no_grad():
        made = [
            model.sample(2, given, ItemRng(0, range(2)))["image"]
            for given in ({"label": torch.tensor([0, 0])}, {"label": torch.tensor([1, 1])}, {})
        ]
    assert not torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


def test_local_temperature_leaves_the_global_latents_alone():
    model, _ = make()
    spread = model.net.spread(0.5)
    assert spread.shape == (model.latent_dim,)
    assert (spread[:4] == 1).all() and (spread[4:] == 0.5).all()  # SMALL begins with 4 global latents


def test_beta_grows_during_warmup_and_free_bits_are_free():
    def loss(progress: float, **settings) -> float:
        torch.manual_seed(0)
        model, batch = make(**(MLP | settings))
        with torch.no_grad():
            model.net.encoder[-1].bias.fill_(1.0)  # a posterior that costs something
            return model.elbo(batch, Step(int(progress * 100), 100, StepRng(0, 6))).total.item()

    start, middle, end = (loss(p, kl_warmup=0.5) for p in (0.0, 0.25, 0.5))
    assert start < middle < end
    assert start == pytest.approx(loss(0.0, kl_warmup=0.0, beta=0.0), rel=1e-5)
    assert end == pytest.approx(loss(0.0, kl_warmup=0.0), rel=1e-5)
    assert loss(0.9, free_bits=100.0) == pytest.approx(start + 100, rel=1e-4)


def test_free_bits_leave_a_collapsed_group_alone():
    kl = torch.full((3, 4), 0.1, requires_grad=True)
    free_bits(kl, 2.0).sum().backward()
    assert kl.grad is not None and not kl.grad.any()


def test_balance_spares_the_group_that_carries_little():
    kl = torch.tensor([[9.9, 0.0], [0.1, 2.0]])
    weighed = vae.balance(kl)
    assert (weighed <= kl).all() and weighed[0, 0] == kl[0, 0] and weighed[1, 0] < 0.1 * kl[1, 0]


@pytest.mark.parametrize("k", [1, 3])
def test_the_mean_of_micro_batches_has_the_gradient_of_the_batch(k):
    model, batch = make(classes=3, importance_samples=k, binarize="dynamic")

    def gradient(rows: list[tuple[int, int]]) -> torch.Tensor:
        model.zero_grad()
        for start, stop in rows:
            step = Step(10, 100, StepRng(0, 6, start))
            (model.elbo(batch.rows(start, stop), step).total * (stop - start) / 6).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    whole = gradient([(0, 6)])
    assert torch.allclose(whole, gradient([(0, 2), (2, 6)]), atol=1e-4 * whole.abs().max().item())


def test_active_units_counts_the_latents_that_vary():
    mean = torch.zeros(50, 4)
    mean[:, 1:3] = torch.randn(50, 2)
    assert vae.active_units(mean) == 2


def test_a_critic_pulls_outputs_by_a_share_of_what_holds_them():
    model, batch = make(**CRITIC)
    x = batch.only()
    out = (0.9 * torch.rand_like(x)).requires_grad_()
    log_px = model.log_likelihood(out, x)
    persuasion = model.persuasion(out, log_px)
    assert persuasion.shape == (6,) and not persuasion.any()  # only its gradient counts
    (pull,) = torch.autograd.grad(persuasion.sum(), out, retain_graph=True)
    (hold,) = torch.autograd.grad(log_px.sum(), out)
    assert torch.allclose(pull.flatten(1).norm(dim=1), 0.5 * hold.flatten(1).norm(dim=1), rtol=1e-4)
    with torch.no_grad():
        moved = out - 1e-3 * pull / pull.abs().max()
        assert (model.critic(moved) - model.critic(out)).mean() > 0


def test_a_critic_comes_with_its_share_of_the_run_and_goes_with_training():
    model, batch = make(**CRITIC, adversarial_after=0.5)
    d, penalty, elbo = model.phases()
    assert d.after == penalty.after == 0.5 and elbo.after == 0
    assert set(model.kept) == {"net", "scale"} == set(elbo.nets)

    def gradient(step: int) -> torch.Tensor:
        model.zero_grad()
        model.elbo(batch, Step(step, 10, StepRng(0, 6))).total.backward()
        return model.net.out.weight.grad

    early, at, late = (gradient(step) for step in (0, 5, 6))
    assert torch.equal(early, at) and not torch.allclose(at, late)


def test_a_critic_of_patches_sees_what_is_near():
    critic = PatchCritic((1, 64, 60), 8)
    x = torch.rand(1, 1, 64, 60)
    other = x.clone()
    other[..., 0, 0] -= 1
    moved = (critic(other) - critic(x)).view(16, 15) != 0
    assert critic.cells == 16 * 15
    assert moved[0, 0] and not moved[6:].any() and not moved[:, 6:].any()


def test_only_codecs_have_critics():
    with pytest.raises(UserError, match="is of codecs"):
        make(adversarial=0.5)
