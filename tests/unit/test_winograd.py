"""Convolutions with fewer multiplications: values and first and second derivatives are those of the direct sum."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from maquette.nets import winograd
from maquette.nets.dims import Conv, cells_first, channels_last, gather, normalise, spread

GRIDS = [(3, 3), (4, 4), (5, 7), (7, 7), (8, 8), (9, 14), (13, 5), (14, 14), (16, 16), (28, 28), (32, 31),
         (3,), (8,), (17,), (64,), (3, 3, 3), (5, 4, 7), (8, 9, 8)]  # fmt: skip
DIRECT = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_values_and_gradients_are_those_of_the_direct_sum(grid):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, *grid, dtype=torch.float64, generator=g, requires_grad=True)
    dims = len(grid)
    weight = torch.randn(5, 4, *[3] * dims, dtype=torch.float64, generator=g, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, generator=g, requires_grad=True)
    fast, direct = winograd.conv(x, weight, bias), DIRECT[dims](x, weight, bias, padding=1)
    torch.testing.assert_close(fast, direct, rtol=0, atol=1e-10)
    for of_fast, of_direct in zip(
        torch.autograd.grad((fast**3).sum(), (x, weight, bias)),
        torch.autograd.grad((direct**3).sum(), (x, weight, bias)),
        strict=True,
    ):
        torch.testing.assert_close(of_fast, of_direct, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("grid", [(4, 4), (7, 7), (9, 4), (9,), (3, 4, 5)], ids=str)
def test_second_gradients(grid):
    x = torch.randn(2, 2, *grid, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, *[3] * len(grid), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x, w: winograd.conv(x, w), (x, weight))


@pytest.mark.parametrize("grid", [(7, 7), (8, 8), (14, 14), (16, 16), (64,), (4, 8, 8)], ids=str)
def test_single_precision_is_far_closer_than_bf16(grid):
    g, conv = torch.Generator().manual_seed(0), DIRECT[len(grid)]
    x, weight = torch.randn(16, 64, *grid, generator=g), torch.randn(64, 64, *[3] * len(grid), generator=g) / 24
    exact = conv(x.double(), weight.double(), padding=1)
    error = (winograd.conv(x, weight) - exact).pow(2).mean().sqrt() / exact.std()
    rounded = (conv(x.bfloat16(), weight.bfloat16(), padding=1) - exact).pow(2).mean().sqrt() / exact.std()
    assert error < 1e-4 and error < rounded / 20


def test_a_layer_takes_it_where_it_pays_and_gives_the_same():
    layer, x = Conv[2](64, 64), torch.randn(16, 64, 7, 7).to(memory_format=torch.channels_last)
    assert winograd.pays(x, layer.weight)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight, layer.bias, padding=1), rtol=1e-3, atol=1e-3)
    assert not winograd.pays(x[:1, :, :7], layer.weight), "few rows: transforming the weights would cost more"
    assert not winograd.pays(x, Conv[2](64, 24).weight) and not winograd.pays(x, Conv[2](64, 64, 1).weight)
    assert not winograd.pays(x.bfloat16(), layer.weight) and not winograd.pays(x.to("meta"), layer.weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert not winograd.pays(x, layer.weight)
        assert layer(x).dtype == torch.bfloat16


def test_a_layer_does_as_was_measured(monkeypatch):
    layer, x = Conv[2](32, 32), torch.randn(16, 32, 7, 7)
    taken = []
    conv = winograd.conv
    monkeypatch.setattr(winograd, "conv", lambda *args, **named: taken.append(1) or conv(*args, **named))

    def takes(learning):
        taken.clear()
        with torch.set_grad_enabled(learning):
            layer(x)
        return bool(taken)

    ways = {"always": (True, True), "learning": (True, False), "sampling": (False, True), "never": (False, False)}
    for layer.fewer, expected in {**ways, None: (False, False)}.items():
        assert (takes(True), takes(False)) == expected
    before, drawn = copy.deepcopy(layer), torch.get_rng_state()
    assert layer.faster(x) in ways and layer.fewer == before.fewer
    assert torch.equal(layer.weight, before.weight) and layer.weight.grad is None
    assert torch.equal(torch.get_rng_state(), drawn), "nothing is drawn, so that a run stays the same"
    assert layer.faster(x[:4]) is None and Conv[2](32, 32, 1).faster(x) is None and Conv[2](32, 4).faster(x) is None


def test_it_can_be_compiled():
    layer, x = Conv[2](64, 64), torch.randn(16, 64, 7, 7)
    compiled = copy.deepcopy(layer)
    compiled.compile(backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x))


def test_what_is_between_convolutions_keeps_cells_first():
    h = channels_last(torch.randn(16, 64, 8, 6))
    first = h.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    assert cells_first(first) and not cells_first(h) and not cells_first(h.contiguous())
    for work in (gather, spread, normalise, Conv[2](64, 32, 1), Conv[2](64, 64)):
        made = work(first)
        torch.testing.assert_close(made, work(h), rtol=1e-4, atol=1e-4)
        assert cells_first(made)
    torch.testing.assert_close(spread(gather(first)), h)
    assert not cells_first(Conv[2](64, 1)(first)), "a direct sum"


def test_weights_at_points_are_kept_until_they_change():
    layer, x = Conv[2](64, 64).eval(), torch.randn(16, 64, 7, 7)

    def kept(sides=(7, 7)):
        return winograd._at_points(layer.weight, sides, keep=True)

    def same():
        exact = F.conv2d(x, layer.weight, layer.bias, padding=1)
        torch.testing.assert_close(layer(x), exact, rtol=1e-3, atol=1e-3)

    with torch.no_grad():
        same()
        assert kept() is kept()
        layer.weight.mul_(2)  # as a state that is loaded does
        same()
        layer.weight.data.neg_()
        same()
        layer.weight.grad = torch.ones_like(layer.weight)
        torch.optim.Adam([layer.weight], lr=0.1, fused=True).step()  # which leaves its version as it was
        same()
        layer.weight.data = torch.randn(64, 64, 3, 3) / 24  # as moving a model to another order of memory does
        same()
        assert kept((8, 7)) is not kept()
        winograd._kept.clear()
        layer.train()(x)
        assert not winograd._kept, "a step changes them before they are asked for again"
    assert kept().requires_grad and kept() is not kept()
    layer.requires_grad_(False)
    assert kept() is not kept(), "a part of what is learned"
    assert len(copy.deepcopy(layer).__dict__) == len(layer.__dict__), "the layer itself keeps nothing"


def test_what_inference_mode_leaves_can_be_learned_from():
    layer, x = Conv[2](64, 64), torch.randn(16, 64, 6, 5)
    winograd._kron.cache_clear()
    with torch.inference_mode():
        made = layer(x)
        assert Conv[2](64, 64)(x).shape == made.shape
    torch.testing.assert_close(layer(x), made, rtol=1e-4, atol=1e-4)
    layer(x).sum().backward()
    assert layer.weight.grad is not None


def test_a_step_of_two_networks_that_learn_from_each_other_sees_both_as_they_are(monkeypatch):
    def learned():
        torch.manual_seed(0)
        first, second = Conv[2](64, 64), Conv[2](64, 64)
        optimizers = [torch.optim.Adam(net.parameters(), lr=0.01, fused=True) for net in (first, second)]
        for _ in range(3):
            for ours, other, optimizer in zip((first, second), (second, first), optimizers, strict=True):
                other.requires_grad_(False)
                with torch.no_grad():
                    x = other(torch.ones(16, 64, 7, 7))
                optimizer.zero_grad()
                other(ours(x)).square().mean().backward()
                optimizer.step()
                other.requires_grad_(True)
        return first.weight.detach()

    made = learned()
    monkeypatch.setattr(winograd, "pays", lambda x, weight, when: False)
    torch.testing.assert_close(made, learned(), rtol=0, atol=1e-3)
