"""Kinds that are found among items of which nothing is given, and a model of another family that is told them."""

from __future__ import annotations

import pytest
import torch

from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.model import Encodes, FlowMap, Step
from maquette.core.rng import ItemRng, StepRng
from maquette.core.table import Table
from maquette.models import clustered
from maquette.testing import check_model
from specs import image_spec

SPEC = image_spec(3, 12, 16)
FLOW = {"family": "flow", "width": 16, "deep": 32, "blocks": 1, "deep_blocks": 1, "condition": 16, "steps": 2}
GAN = {"family": "gan", "width": 8, "deep": 16, "blocks": 1, "features": 16, "augment": 0.0}


def items(each=(30, 10), levels=(-0.5, 0.5)):
    """Dark items, then bright ones."""
    torch.manual_seed(0)
    return torch.cat([m + 0.2 * torch.rand(n, 3, 12, 16) for n, m in zip(each, levels, strict=True)])


def config(prior=FLOW, **settings):
    return clustered.Config(prior=prior, **{**clustered.found(clustered.from_afar(items()), 2), **settings})


def made(prior=FLOW):
    torch.manual_seed(0)
    return clustered.build(config(prior), SPEC).eval()


def test_kinds_are_what_items_are_like_from_far_off():
    found = clustered.found(clustered.from_afar(items()), 2)
    assert sorted(found["counts"]) == [10, 30]
    model = made()
    kinds = model.kind(items())
    assert len(kinds[:30].unique()) == len(kinds[30:].unique()) == 1 and kinds[0] != kinds[-1]
    assert found == clustered.found(clustered.from_afar(items()), 2)


@pytest.mark.parametrize(("asked", "there"), [(2, 1), (1, 40), (0, 40)])
def test_fewer_than_two_kinds_are_none(asked, there):
    looks = clustered.from_afar(items()[:there])
    assert clustered.found(looks, asked)["centres"] == ()


def test_kinds_that_no_level_tells_apart_are_one():
    looks = torch.tensor([[0.0], [1e-5]]).repeat(20, 48)
    assert clustered.found(looks, 2)["centres"] == ()


@pytest.mark.parametrize("shape", [(2, 9), (3, 12, 16), (1, 3, 5), (2, 5, 4, 7)], ids=str)
def test_from_far_off_is_the_mean_of_parts_as_large_as_can_be(shape):
    x = torch.randn(2, *shape)
    pool = (torch.nn.functional.adaptive_avg_pool1d, torch.nn.functional.adaptive_avg_pool2d,
            torch.nn.functional.adaptive_avg_pool3d)[len(shape) - 2]  # fmt: skip
    torch.testing.assert_close(clustered.from_afar(x), pool(x, [min(4, side) for side in shape[1:]]).flatten(1))


def test_a_kind_does_not_depend_on_the_batch():
    model, x = made(), items()
    assert torch.equal(model.kind(x), torch.cat([model.kind(part) for part in x.split(7)]))


def test_what_the_other_model_says_of_its_networks_stands(monkeypatch):
    from maquette.models import flow

    class Kept(flow.Flow):
        missing_weights = ("codec",)

        def train(self, mode=True):
            super().train(mode)
            self.net.stem.eval()
            return self

    monkeypatch.setattr(flow, "Flow", Kept)
    model = made().train()
    assert model.missing_weights == ("codec",) and model.net.training and not model.net.stem.training


def test_kinds_without_items_are_left_out():
    looks = clustered.from_afar(items((30, 10), (-0.5, 0.5))).round(decimals=0)
    found = clustered.found(looks, 8)
    assert sum(found["counts"]) == 40 and min(found["counts"]) > 0


def test_samples_draw_kinds_as_often_as_they_were_found():
    model = made()
    drawn = model._drawn((torch.arange(400) + 0.5) / 400).bincount()
    assert drawn.tolist() == [10 * n for n in model.config.counts]


def test_training_is_told_the_kind_and_draws_it_where_items_are_withheld():
    model = made(GAN)
    batch = Batch({"image": items()}, {}, 40)
    told = model.told(batch, StepRng(0, 40))
    assert torch.equal(told.given[clustered.KIND], model.kind(items()))
    blind = model.told(batch.without_target(), StepRng(0, 40))
    assert blind.size == 40 and len(blind.given[clustered.KIND].unique()) == 2
    for phase in model.phases():
        assert phase.loss(batch if phase.reads_data else batch.without_target(), Step(0, 9, StepRng(0, 40))).total > 0


def test_what_the_other_family_measures_is_measured_on_items_as_they_are():
    class Shown:
        spec = SPEC.only()

        def take(self, rows):
            return items()[rows]

    table = Table({"image": Shown()}, [""] * 40)
    found = clustered.resolve(clustered.Config(prior={**FLOW, "data_mean": "auto"}, kinds=2), SPEC, table)
    assert sorted(found.counts) == [10, 30] and found.prior["data_mean"] == pytest.approx(
        items().mean().item(), abs=0.01
    )
    assert clustered.resolve(found, SPEC, table) == found


@pytest.mark.parametrize("prior", [FLOW, GAN], ids=["flow", "gan"])
def test_it_meets_the_contract(prior):
    own = config(prior).model_dump(mode="json")
    assert "resume_equals_straight_run" in check_model("clustered", SPEC, own)


def test_an_item_comes_back_as_the_kind_that_it_is():
    model = made()
    assert isinstance(model, Encodes) and not isinstance(made(GAN), Encodes)
    with torch.no_grad():
        z = model.encode(Batch({"image": items()}, {}, 40))
    assert z.shape == (40, model.latent_dim)
    assert torch.equal(model._drawn(torch.special.ndtr(z[:, 0])), model.kind(items()))


def test_where_something_is_given_the_other_family_learns_as_it_is():
    spec = image_spec(3, 12, 16, classes=3)
    model = clustered.build(config(), spec)
    assert isinstance(model, FlowMap)
    assert model.sample(2, {"label": torch.tensor([0, 1])}, ItemRng(0, range(2)))["image"].shape == (2, 3, 12, 16)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"centres": ("AAAA",), "counts": (3,)}, "not kinds of items of 3x12x16"),
        ({"centres": ("?",), "counts": (3,)}, "not kinds of items"),
        ({"counts": (3,)}, "not kinds of items"),
    ],
)
def test_kinds_of_other_items(settings, said):
    with pytest.raises(UserError, match=said):
        clustered.build(config(**settings), SPEC)


def test_what_the_other_family_is_made_of_is_known():
    latent = {"family": "latent", "codec": "runs/codec", "prior": {"family": "flow"}}
    assert clustered.families(config(latent)) == ("latent", "flow")
    assert clustered.codecs(config(latent)) == ("runs/codec",)
    assert clustered.families(config()) == ("flow",) and clustered.codecs(config()) == ()


def test_settings_of_the_other_family_are_checked():
    with pytest.raises(UserError, match=r"model\.prior\.widht"):
        clustered.Config(prior={"family": "flow", "widht": 3})
    with pytest.raises(UserError, match="on grids"):
        clustered.build(clustered.Config(prior={"family": "transformer"}), SPEC)
