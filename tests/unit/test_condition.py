"""Whatever is given: any mix of columns, each missing by itself, and families that are given several."""

from __future__ import annotations

import pytest
import torch

from maquette.core.batch import Batch
from maquette.core.find import find_modality
from maquette.core.generator import Generator, build_model
from maquette.core.model import Step
from maquette.core.recipe import Recipe
from maquette.core.rng import ItemRng, StepRng
from maquette.core.spec import ClassSpec, DataSpec, GridSpec, NumberSpec, TokenSpec
from maquette.models import flow, transformer
from maquette.models._given import condition, drop, given_columns, plain_condition
from maquette.nets.condition import hide, missing
from maquette.testing import check_model, made_up_batch

FLOW = {"width": 32, "deep": 32, "deep_blocks": 1, "condition": 32}
GAN = {"width": 16, "deep": 16, "features": 16, "blocks": 1, "latent_dim": 8}
COLUMNS = {
    "digit": ClassSpec(kind="label", classes=("a", "b", "c")),
    "writer": ClassSpec(kind="label", classes=("x", "y")),
    "slant": NumberSpec(kind="number", mean=3.0, std=2.0),
    "caption": TokenSpec(kind="text", shape=(7,), vocab=20),
    "sketch": GridSpec(kind="image", shape=(1, 8, 8)),
}
VALUES = {
    "digit": torch.tensor([0, 1, 2, 1]),
    "writer": torch.tensor([0, 1, 1, 0]),
    "slant": torch.tensor([1.0, 3.0, 5.0, 4.0]),
    "caption": torch.tensor(
        [[1, 8, 9, 2, 0, 0, 0], [1, 9, 8, 2, 0, 0, 0], [1, 9, 2, 0, 0, 0, 0], [1, 7, 7, 7, 7, 7, 2]]
    ),
    "sketch": torch.linspace(-1, 1, 4 * 64).view(4, 1, 8, 8),
}


def several(shape=(1, 12, 12)) -> DataSpec:
    """p(image | two labels and a number)."""
    label, number = find_modality("label").Spec, find_modality("number").Spec
    columns = {
        "image": find_modality("image").Spec(shape=shape),
        "digit": label(classes=("a", "b", "c")),
        "writer": label(classes=("x", "y")),
        "slant": number(mean=3.0, std=2.0),
    }
    return DataSpec(columns=columns, target=("image",), given=("digit", "writer", "slant"))


@pytest.mark.parametrize("make", [lambda c: condition(c, 16), plain_condition], ids=["sum", "beside"])
@pytest.mark.parametrize("names", [("digit",), ("slant",), ("caption",), ("sketch",), tuple(COLUMNS)], ids=len)
def test_any_mix_becomes_one_vector_of_each_item(make, names):
    net = make({name: COLUMNS[name] for name in names})
    given = {name: VALUES[name] for name in names}
    whole = net(given, 4)
    assert whole.shape == (4, net.width) and whole.isfinite().all()
    assert len(whole.unique(dim=0)) > 1
    turned = net({name: x.flip(0) for name, x in given.items()}, 4)
    assert torch.allclose(turned.flip(0), whole, atol=1e-5)  # items are apart
    nothing = net({}, 4)
    assert nothing.shape == whole.shape and (nothing == nothing[0]).all()
    hidden = net({name: hide(x, torch.ones(4, dtype=torch.bool)) for name, x in given.items()}, 4)
    assert torch.allclose(hidden, nothing)
    for name in names:  # each says something by itself
        without = net({key: x for key, x in given.items() if key != name}, 4)
        assert not torch.allclose(without, whole, atol=1e-4)


def test_what_is_missing_teaches_only_that_it_is():
    """NaN where there is nothing reaches no weight."""
    net = condition(COLUMNS, 16)
    rows = torch.tensor([True, False, True, False])
    net({name: hide(x, rows) for name, x in VALUES.items()}, 4).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_padding_says_nothing():
    net, x = condition({"caption": COLUMNS["caption"]}, 16), VALUES["caption"]
    for p in net.parameters():  # what begins at zero hides the order of words
        p.data = torch.where(p == 0, 0.3 * torch.randn_like(p), p.data)
    longer = torch.cat([x, torch.zeros(4, 3, dtype=torch.int64)], 1)
    assert torch.allclose(net({"caption": x}, 4), net({"caption": longer}, 4), atol=1e-5)
    assert not torch.allclose(net({"caption": x}, 4)[0], net({"caption": x}, 4)[1], atol=1e-3)  # words have an order


def test_each_column_is_dropped_alone():
    n = 4000
    given = {name: x.repeat_interleave(n // 4, 0) for name, x in VALUES.items()}
    found = drop(given, COLUMNS, n, 0.25, StepRng(0, n))
    gone = torch.stack([missing(x) for x in found.values()]).float()
    assert torch.allclose(gone.mean(1), torch.full((5,), 0.25), atol=0.03)
    assert torch.allclose(torch.corrcoef(gone), torch.eye(5), atol=0.06)
    assert not any(missing(x).any() for x in drop(given, COLUMNS, n, 0.0, StepRng(0, n)).values())
    some = {name: given[name] for name in ("writer", "slant")}  # draws do not depend on what else there is
    for name, x in drop(some, COLUMNS, n, 0.25, StepRng(0, n)).items():
        assert torch.equal(missing(x), missing(found[name]))


@pytest.mark.parametrize(("family", "settings"), [("flow", FLOW), ("gan", GAN)])
def test_two_labels_and_a_number(family, settings):
    spec = several()
    check_model(family, spec, settings, 60)
    model = build_model(Recipe(about="", family=family, target=spec.target, given=spec.given, model=settings), spec)
    batch, generator = made_up_batch(spec, 6), Generator(model, spec)
    if family == "flow":
        torch.nn.init.normal_(model.net.head.weight)
    whole = generator.sample(6, dict(batch.given))["image"]
    for name in spec.given:
        other = dict(batch.given) | {name: batch.given[name].roll(1)}
        assert not torch.allclose(generator.sample(6, other)["image"], whole, atol=1e-4), f"{name} changes nothing"
        fewer = {key: x for key, x in batch.given.items() if key != name}
        assert not torch.allclose(generator.sample(6, fewer)["image"], whole, atol=1e-4)


def test_a_number_is_learned_and_holds_between_those_seen():
    """Brightness from a number, by a flow trained for seconds: asked values come out, also one never seen."""
    torch.manual_seed(0)
    number = NumberSpec(kind="number", mean=0.0, std=0.5)
    spec = DataSpec(
        columns={"image": GridSpec(kind="image", shape=(1, 4, 4)), "v": number}, target=("image",), given=("v",)
    )
    model = flow.build(flow.Config(**(FLOW | {"shortcut_every": 0, "sampler": "heun"})), spec)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for index in range(250):
        v = torch.tensor([-0.6, -0.3, 0.3, 0.6]).repeat(16)
        x = v.view(-1, 1, 1, 1) + 0.05 * torch.randn(64, 1, 4, 4)
        loss = model.flow(Batch({"image": x}, {"v": v}), Step(index, 250, StepRng(index, 64))).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    asked = torch.tensor([-0.6, -0.3, 0.0, 0.3, 0.6]).repeat_interleave(8)
    with torch.no_grad():
        made = model.eval().sample(40, {"v": asked}, ItemRng(0, range(40)), steps=4, guidance=1.0)["image"]
    found = made.mean((1, 2, 3)).view(5, 8).mean(1)
    assert torch.allclose(found, asked.view(5, 8)[:, 0], atol=0.15), found


def test_guidance_drops_all_that_is_given():
    spec = several()
    model = flow.build(flow.Config(**FLOW), spec).eval()
    batch, h = made_up_batch(spec, 6), torch.zeros(6)
    x, t = torch.randn(6, 1, 12, 12), torch.full((6,), 0.3)
    with torch.no_grad():
        at = {w: model.flow_map(batch.given, 6, w)(x, t, h) for w in (0.0, 1.0, 2.0)}
        anyhow = model.flow_map({}, 6, 2.0)(x, t, h)
    assert torch.allclose(at[0.0], anyhow, atol=0.02) and torch.allclose(at[2.0], 2 * at[1.0] - at[0.0], atol=0.02)


def test_noise_is_exchanged_within_combinations_of_classes():
    spec = several()
    model = flow.build(flow.Config(**FLOW), spec)
    assert not model.coupled
    a, b = torch.tensor([0, 0, 1, 1, -1]), torch.tensor([0, 1, 0, 0, 1])
    model.columns = {name: spec.columns[name] for name in ("digit", "writer")}
    groups = model._groups({"digit": a, "writer": b})
    assert len(groups.unique()) == 4 and groups[2] == groups[3]
    with pytest.raises(flow.UserError, match="takes classes"):
        flow.build(flow.Config(**FLOW, coupling="transport"), spec)


def test_a_sequence_is_given_numbers_too():
    text = find_modality("text").Spec(shape=(12,), vocab=20, mean_length=9)
    number, label = find_modality("number").Spec(mean=3.0, std=2.0), find_modality("label").Spec(classes=("a", "b"))
    spec = DataSpec(columns={"text": text, "mood": number, "writer": label}, target=("text",), given=("mood", "writer"))
    settings = {"width": 32, "layers": 1, "heads": 2}
    for family, own in (("transformer", settings), ("seq2seq", {"width": 32, "embedding": 16, "dropout": 0.0})):
        check_model(family, spec, own, 40)
    assert len(transformer.build(transformer.Config(**settings), spec).net.condition.columns) == 2
    assert list(given_columns(spec)) == ["mood", "writer"]
