"""Flows: the path and its scaling against closed forms, coupling, what the options of a sample do, densities."""

import numpy as np
import pytest
import torch

import maquette
from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.hardware import multiplies_bf16
from maquette.core.model import Encodes, Scores, Step
from maquette.core.rng import ItemRng, StepRng
from maquette.core.table import Table
from maquette.losses import flow_matching as fm
from maquette.losses.levels import LEVELS, STEP
from maquette.models import flow
from maquette.nets.dims import Conv2d, gather, spread
from maquette.nets.narrow import NarrowConv, sheet
from maquette.testing import check_model, made_up_batch
from specs import image_spec

SMALL = {"width": 32, "deep": 32, "deep_blocks": 1, "condition": 16}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def make(classes=0, shape=(1, 12, 12), **settings):
    spec = image_spec(*shape, classes=classes)
    return flow.build(flow.Config(**(SMALL | settings)), spec).eval(), made_up_batch(spec, 6)


def gaussian(model):
    """The same model with a network that says nothing: the flow of data ~ N(0, data_std^2)."""
    torch.nn.init.zeros_(model.net.head.weight)
    torch.nn.init.zeros_(model.net.head.bias)
    return model


@pytest.mark.parametrize(
    ("shape", "classes", "settings"),
    [
        ((1, 28, 28), 3, {"shortcut_every": 0, "sampler": "midpoint"}),
        ((4, 20, 34), 0, {"coupling": "none", "shortcut_after": 0.5}),
        ((1, 16, 16), 0, {"levels": "auto", "coupling": "none", "shortcut_every": 0, "sampler": "heun"}),
        ((3, 72, 72), 2, {"sampler": "heun", "steps": 2, "guidance": 2.0, "blocks": 2}),
    ],
)
def test_contract(shape, classes, settings):
    assert "resume_equals_straight_run" in check_model(
        "flow", image_spec(*shape, classes=classes), SMALL | settings, 30
    )


@pytest.mark.parametrize(("side", "fine", "coarse"), [(8, [4], [4]), (28, [7, 14], [7]), (64, [8, 16], [8, 16])])
def test_coarse_cells_leave_out_the_finest_grid(side, fine, coarse):
    for patch, sizes in (("auto", fine), ("coarse", coarse)):
        model, _ = make(shape=(1, side, side), patch=patch)
        assert [size for size, _ in model.net.grid.sizes] == sizes
        assert model.net.grid.cut(torch.zeros(1, 1, side, side)).shape[2:] == model.net.grid.sizes[-1]
    assert make(shape=(1, side, side), patch=side // 4)[0].net.grid.sizes == ((4, 4),)


def test_gathering_and_spreading_are_inverse():
    x = torch.randn(2, 6, 8, 4)
    assert gather(x).shape == (2, 24, 4, 2) and torch.equal(spread(gather(x)), x)


@pytest.mark.parametrize(("size", "items"), [(7, 8), (8, 6), (7, 6), (14, 4)])
def test_sheets_give_the_gradients_of_the_convolution(size, items):
    """Also where items do not fill whole sheets, or rows are long enough as they are."""
    ours, plain = NarrowConv(32, 32), Conv2d(32, 32)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(items, 32, size, size).contiguous(memory_format=torch.channels_last)
    weight = torch.randn_like(x)
    found = []
    for net in (ours, plain):
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            made = net(given)
        (made.float() * weight).sum().backward()
        found.append((made, given.grad, net.weight.grad, net.bias.grad))
    for a, b in zip(*found, strict=True):
        assert (a - b).abs().max() < 0.02 * b.abs().max()


def test_sheets_put_zeros_between_items():
    x = torch.rand(4, 2, 3, 5) + 1
    laid = sheet(x, 2, 1)
    assert laid.shape == (2, 2, 3, 12)
    assert torch.equal(laid[0, :, :, :5], x[0]) and torch.equal(laid[1, :, :, 6:11], x[3])
    assert (laid[..., [5, 11]] == 0).all()


def test_the_scaling_is_that_of_gaussian_data():
    """skip(t) x_t is the best linear guess of x - e, and what is left of it has the variance out(t)^2."""
    scaling = fm.Scaling(0.5)
    for time in (0.0, 0.3, 0.7, 1.0):
        x, noise, t = 0.5 * torch.randn(200_000), torch.randn(200_000), torch.tensor([time])
        at = fm.between(x, noise, t)
        assert at.var().item() == pytest.approx(scaling.variance(t).item(), rel=0.02)
        assert (at * scaling.into(t)).std().item() == pytest.approx(1.0, rel=0.01)
        slope = (at * (x - noise)).mean() / at.square().mean()
        assert slope.item() == pytest.approx(scaling.skip(t).item(), abs=0.02)
        rest = x - noise - scaling.skip(t) * at
        assert rest.std().item() == pytest.approx(scaling.out(t).item(), rel=0.02)


def test_the_scaling_starts_from_the_mean():
    """Of Gaussian data a network that says nothing moves noise to data exactly."""
    scaling, e = fm.Scaling(0.3, -0.7), torch.randn(5)
    for t in torch.rand(5):
        x = t * -0.7 + scaling.variance(t).sqrt() * e  # where the ODE takes e
        ahead = (t + 1e-3) * -0.7 + scaling.variance(t + 1e-3).sqrt() * e
        velocity = scaling.mean + scaling.skip(t) * scaling.centred(x, t.expand(5))
        assert (velocity - (ahead - x) / 1e-3).abs().max() < 0.02


def test_a_network_of_items_is_on_the_way_to_them():
    """Where it gives the item, the velocity is x - e; near the data it stays finite."""
    scaling, x, noise = fm.Scaling(0.3, -0.7, item=True), torch.randn(64), torch.randn(64)
    t = torch.linspace(0, 1 - fm.NEAR, 64)
    at, net = fm.between(x, noise, t), (x - scaling.mean) / scaling.std
    velocity = scaling.mean + scaling.skip(t) * scaling.centred(at, t) + scaling.out(t) * net
    assert (velocity - (x - noise)).abs().max() < 1e-4
    end = torch.ones(1)
    assert scaling.out(end).item() == pytest.approx(0.3 / fm.NEAR) and scaling.skip(end).item() == -1 / fm.NEAR


def test_stretches_begin_where_those_of_so_many_jumps_do():
    t = fm.stretch(torch.rand(4000), 0.25)
    assert set(t.tolist()) == {0.0, 0.25, 0.5, 0.75}
    assert (t == 0.5).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert (fm.stretch(torch.rand(10), 1.0) == 0).all()


def test_coupling_is_the_nearest_order_within_groups_and_classes():
    x, noise = torch.randn(fm.COUPLED + 3, 2), torch.randn(fm.COUPLED + 3, 2)

    def cost(noise):
        return (x - noise).square().sum()

    coupled = fm.couple(x, noise, None)
    assert torch.equal(coupled.sort(0).values, noise.sort(0).values) and torch.equal(coupled[-3:], noise[-3:])
    assert cost(coupled) < 0.7 * cost(noise)
    assert torch.equal(fm.couple(x, coupled, None), coupled)  # no order is nearer
    y = torch.arange(len(x)) % 2
    within = fm.couple(x, noise, y)
    for c in (0, 1):
        assert torch.equal(within[y == c].sort(0).values, noise[y == c].sort(0).values)
    assert cost(coupled) < cost(within) < cost(noise)


def test_labelled_data_is_not_coupled_unless_asked():
    assert make()[0].coupled and not make(classes=3)[0].coupled
    assert make(classes=3, coupling="transport")[0].coupled and not make(coupling="none")[0].coupled


def test_two_halves_of_the_exact_map_are_the_whole(monkeypatch):
    model, _ = make()
    s = model.scaling

    def exact(x, t, h, y, seen=None):
        ratio = (s.variance(t + h) / s.variance(t)).sqrt()
        return fm.over(torch.where(h > 0, (ratio - 1) / h, s.skip(t)), x) * x

    monkeypatch.setattr(model, "_mean_velocity", exact)
    x = torch.randn(2, 1, 12, 12)
    for length, start, error in ((1.0, 0.0, 1e-5), (0.5, 0.5, 1e-5), (0.25, 0.75, 1e-5), (0.125, 0.5, 0.02)):
        t = torch.full((2,), start)
        whole = exact(x, t, torch.full((2,), length), None)  # the shortest is a midpoint step: third order
        assert (model._two_halves(x, t, length, None) - whole).abs().max() < error


def test_the_shortest_stretches_learn_the_guided_velocity(monkeypatch):
    """A velocity that is the class, or 0 without one, becomes `guidance` times the class."""
    model, _ = make(classes=3, guidance=1.5)
    table = model.net.condition.columns[0].table.weight.requires_grad_(False)
    table.copy_(torch.tensor([0.0, 1.0, 2.0, 0.0])[:, None].expand_as(table))

    def velocity(x, t, h, y, seen=None):
        return fm.over(y[:, 0], x).expand_as(x)

    monkeypatch.setattr(model, "_mean_velocity", velocity)
    x, y = torch.randn(4, 1, 12, 12), model.net.condition({"label": torch.tensor([0, 1, 2, -1])}, 4)
    found = model._two_halves(x, torch.zeros(4), 0.125, y)
    assert found.mean((1, 2, 3)).tolist() == pytest.approx([0, 1.5, 3.0, 0])
    assert model._two_halves(x, torch.zeros(4), 0.5, y).mean((1, 2, 3)).tolist() == pytest.approx([0, 1, 2, 0])


def test_only_some_items_teach_stretches_and_only_after_their_share():
    model, batch = make(shortcut_after=0.5)
    early, late = (model.flow(batch, Step(i, 10, StepRng(0, 6))) for i in (4, 5))
    assert "shortcut" not in early.parts and "shortcut" in late.parts


def test_jumps_are_steps_along_the_velocity_until_stretches_are_learned():
    """So that previews of the first part of a run show something."""
    model, _ = make(shortcut_after=0.9)
    x, t = torch.randn(4, 1, 12, 12), torch.full((4,), 0.3)
    with torch.no_grad():
        velocity, jump = (model._mean_velocity(x, t, torch.full((4,), h), None) for h in (0.0, 0.5))
    assert torch.equal(velocity, jump)
    with pytest.raises(ValueError, match="shortcut_every"):
        flow.Config(shortcut_every=0)


@pytest.mark.parametrize("sampler", ["shortcut", "euler", "midpoint", "heun", "dopri5", "stochastic"])
def test_every_sampler_makes_the_gaussian(sampler):
    model = gaussian(make(classes=2)[0])
    made = Generator(model, image_spec(1, 12, 12, classes=2)).sample(40, sampler=sampler, steps=24)["image"]
    std = made.abs().median().item() / 0.6745  # a standard deviation that does not see what is cut off at -1 and 1
    assert std == pytest.approx(0.5, rel=0.08)


def test_steps_may_be_shifted_and_jumps_are_not():
    model = gaussian(make(classes=2)[0])
    generator = Generator(model, image_spec(1, 12, 12, classes=2))
    even = {name: generator.sample(4, sampler=name, steps=3)["image"] for name in ("euler", "shortcut")}
    model.config = model.config.model_copy(update={"shift": 3.0})
    assert torch.equal(generator.sample(4, sampler="shortcut", steps=3)["image"], even["shortcut"])
    assert not torch.equal(generator.sample(4, sampler="euler", steps=3)["image"], even["euler"])


def test_options_are_checked():
    model, _ = make(classes=2)
    generator = Generator(model, image_spec(1, 12, 12, classes=2))
    with pytest.raises(UserError, match="huen"):
        generator.sample(1, sampler="huen")
    with pytest.raises(UserError, match="steps = 0"):
        generator.sample(1, steps=0)
    with pytest.raises(UserError, match="takes no temperature"):
        generator.sample(1, temperature=1.0)


def test_guidance_goes_from_no_label_past_the_label():
    model, batch = make(classes=3)
    x, t, h = torch.randn(6, 1, 12, 12), torch.full((6,), 0.3), torch.zeros(6)
    with torch.no_grad():
        at = {w: model.flow_map(batch.given, 6, w)(x, t, h) for w in (0.0, 1.0, 2.0)}
        anyhow = model.flow_map({}, 6, 2.0)(x, t, h)
    assert torch.allclose(at[0.0], anyhow, atol=1e-5) and not torch.allclose(at[1.0], anyhow, atol=1e-3)
    assert torch.allclose(at[2.0], 2 * at[1.0] - at[0.0], atol=1e-5)


def test_rounding_does_not_show_how_many_are_made():
    model, _ = make()
    generator = Generator(model, image_spec(1, 12, 12))
    many, few = (generator.sample(n, seed=1)["image"] for n in (flow.ROWS + 2, 2))
    if multiplies_bf16(few.device):
        assert torch.equal(many[:2], few)
    else:  # fp32 rounds a thousand times finer than a file shows
        assert torch.allclose(many[:2], few, atol=1e-5)


def test_encodes_and_scores():
    model, batch = make(classes=3)
    assert isinstance(model, Encodes) and isinstance(model, Scores)
    with torch.no_grad():
        code = model.encode(batch)
        assert code.shape == (6, model.latent_dim)
        back = model.integrate(code.view_as(batch.only()), batch.given, "midpoint", 32)
    assert (back - batch.only()).abs().mean() < 0.02


def test_the_density_is_that_of_what_is_sampled():
    """Of the Gaussian flow it is known."""
    model, batch = gaussian(make(classes=3)[0]), make(classes=3)[1]
    with torch.no_grad():
        found = model.log_prob(batch, ItemRng(0, range(6)))
    std = model.scaling.variance(torch.tensor(flow.LAST)).sqrt().item()
    exact = torch.distributions.Normal(0.0, std).log_prob(batch.only()).flatten(1).sum(1)
    assert torch.allclose(found, exact, rtol=2e-3)


SPREAD = {"levels": tuple(range(1, LEVELS + 1)), "data_std": 1.0, "shortcut_every": 0, "sampler": "heun"}


def test_the_density_of_spread_levels_is_that_of_their_shares():
    """A network that says nothing leaves N(0, 1), which is each pixel by itself, drawn by its share."""
    model, batch = gaussian(make(**SPREAD)[0]), make()[1]
    shares = torch.tensor(SPREAD["levels"]).double() / sum(SPREAD["levels"])
    level = ((batch.only() + 1) / STEP).round().long()
    exact = (shares[level] / STEP).log().flatten(1).sum(1)
    with torch.no_grad():
        drawn = model.score_target(Batch({"image": level * STEP - 1}, {}, 6), StepRng(0, 6))
        found = model.log_prob(drawn, ItemRng(0, range(6)))
    assert torch.allclose(found.double(), exact, rtol=1e-3)


def test_samples_and_codes_of_spread_levels():
    model, batch = make(**SPREAD)
    made = Generator(gaussian(model), image_spec(1, 12, 12)).sample(200)["image"]
    assert made.mean().item() == pytest.approx(1 / 3, abs=0.02)  # shares rise with the level: the mean is at 2/3
    model, batch = make(**SPREAD)
    with torch.no_grad():
        back = model.decode(model.encode(batch), batch.given)["image"]
    assert (back - batch.only()).abs().mean() < 0.05
    with pytest.raises(UserError, match="image/restore"):
        model.flow_map({}, 1)


def test_spread_levels_teach_what_can_be_known_of_them(monkeypatch):
    """Two dequantisations of one picture teach alike where the noise is the same; with exchanged noise nothing is
    known, and the picture itself teaches."""
    seen = []
    monkeypatch.setattr(flow.Ranks, "expected", lambda self, at, t, x: seen.append(x) or at)
    for coupling in ("none", "transport"):
        model, batch = make(**SPREAD, coupling=coupling)
        model.flow(batch, Step(0, 10, StepRng(0, 6)))
    assert len(seen) == 1 and torch.equal(seen[0], batch.only())


def test_levels_and_moments_are_those_of_the_training_data():
    pictures = torch.full((4, 1, 2, 2), -1.0)
    pictures[0] = 1.0

    class Shown:
        def take(self, rows):
            return pictures[rows]

    def resolved(**settings):
        return flow.resolve(flow.Config(**settings), image_spec(1, 2, 2), Table({"image": Shown()}, [""] * 4))

    alike = {"data_mean": "auto", "data_std": "auto"}
    measured, spread, half = resolved(**alike), resolved(**alike, levels="auto"), resolved(data_mean="auto")
    assert (measured.data_mean, measured.data_std) == (-0.5, pytest.approx(3**0.5 / 2, rel=0.05))
    assert (spread.data_mean, spread.data_std) == (0.0, 1.0) and (half.data_mean, half.data_std) == (-0.5, 0.5)
    pictures[0] = -1.0
    assert resolved(**alike).data_std == flow.LEAST_STD
    pictures[0] = 1.0
    found = resolved(levels="auto").levels
    assert len(found) == LEVELS and sum(found) == pytest.approx(1, abs=1e-3)
    assert found[0] == pytest.approx(13 / 272, rel=1e-3) and found[255] == pytest.approx(5 / 272, rel=1e-3)
    assert min(found) == pytest.approx(1 / 272, rel=1e-3)
    with pytest.raises(ValueError, match="256 shares"):
        flow.Config(levels=(0.5, 0.5))
    with pytest.raises(ValueError, match="not for restoring"):
        flow.Config(levels="auto", degrade=("noise",))


def test_a_flow_is_judged_by_its_likelihood_alone(tmp_path):
    """Its codes are the pictures: to run through thousands of them again would say nothing."""
    x = torch.rand(60, 1, 8, 8).mul(255).byte().numpy()
    np.savez(tmp_path / "data.npz", images=x[:, 0])
    own = ["train.trackers=[]", "train.preview_items=2", *(f"model.{k}={v}" for k, v in SMALL.items())]
    run = maquette.train("image/flow", tmp_path / "data.npz", out=tmp_path / "run", steps=2, settings=own)
    found = run.evaluate(samples=20)
    assert {"log_likelihood", "bits_per_dim"} <= set(found.names())
    assert not {"elbo", "active_units", "psnr"} & set(found.names())
