"""Networks on grids of one, two and three dimensions: geometry, and families that meet the contract on each."""

from __future__ import annotations

import pytest
import torch

from maquette.core.errors import UserError
from maquette.models import flow, gan, vae
from maquette.nets.codec import Codec
from maquette.nets.dims import Conv, Grid, gather, pyramid, spread
from maquette.testing import check_model
from toy_grid import grid_spec

SHAPES = [(2, 64), (1, 16, 16), (1, 8, 16, 16)]
ODD = [(2, 61), (3, 13, 30), (1, 5, 12, 9)]
FAMILIES = {
    "flow": {"width": 32, "deep": 32, "deep_blocks": 1, "condition": 16},
    "gan": {"width": 16, "deep": 16, "features": 16, "blocks": 1, "latent_dim": 8},
    "gan mlp": {"network": "mlp", "hidden": (32,), "critic_hidden": (32,), "latent_dim": 8},
    "vae": {"width": 32, "encoder_blocks": 1, "head": 32, "groups": (("global", 4), ("local", 2))},
    "vae mlp": {"network": "mlp", "latent_dim": 8, "hidden": (64,)},
    "vae codec": {"network": "codec", "width": 32, "encoder_blocks": 1, "decoder_blocks": 1, "factor": 2},
}


@pytest.mark.parametrize("shape", SHAPES, ids=len)
def test_gathering_and_spreading_are_inverse(shape):
    x = torch.randn(2, *shape)
    small = gather(x, 4)
    assert small.shape == (2, shape[0] * 4 ** (len(shape) - 1), *(size // 4 for size in shape[1:]))
    assert torch.equal(spread(small, 4), x)
    block = x[(slice(None), slice(None), *[slice(0, 4)] * (len(shape) - 1))]
    corner = small[(slice(None), slice(None), *[0] * (len(shape) - 1))]
    assert torch.equal(corner.sort(1).values, block.flatten(1).sort(1).values)  # one cell is one block


@pytest.mark.parametrize("shape", [*SHAPES, *ODD], ids=str)
def test_cutting_and_joining_are_inverse(shape):
    grid = pyramid(shape)
    x = torch.randn(2, *shape)
    cut = grid.cut(x)
    assert cut.shape == (2, shape[0] * grid.values, *grid.sizes[-1]) and max(grid.sizes[0]) <= 8
    assert torch.equal(grid.join(cut), x)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions_keep_the_grid(dims):
    x = torch.randn(2, 3, *[6] * dims)
    assert Conv[dims](3, 5)(x).shape == (2, 5, *[6] * dims)
    assert Conv[dims](64, 64, gain=2.0).weight.std().item() == pytest.approx(2 / (64 * 3**dims) ** 0.5, rel=0.05)


@pytest.mark.parametrize("shape", ODD, ids=str)
def test_a_codec_takes_any_grid(shape):
    net = Codec(shape, shape[0], channels=2, factor=4, width=32, encoder_blocks=1, decoder_blocks=1)
    assert net.code_grid == (2, *(-(-size // 4) for size in shape[1:]))
    assert net(torch.randn(3, *shape), None, torch.zeros(3, net.latent_dim)).out.shape == (3, *shape)


@pytest.mark.parametrize("shape", SHAPES, ids=len)
@pytest.mark.parametrize("name", FAMILIES)
def test_families_meet_the_contract(name, shape):
    if len(shape) == 3 and name != "flow":
        pytest.skip("two dimensions are tested with each family")
    check_model(name.partition(" ")[0], grid_spec(*shape), FAMILIES[name], 60)


def test_what_is_two_dimensional_is_refused_elsewhere():
    spec = grid_spec(2, 64)
    for settings in ({"network": "dcgan"}, {"augment": 0.2}, {"augment": "adaptive"}):
        with pytest.raises(UserError, match="two-dimensional"):
            gan.build(gan.Config(**settings), spec)
    with pytest.raises(UserError, match="two-dimensional"):
        flow.build(flow.Config(degrade=("noise",)), spec)
    with pytest.raises(UserError, match="8-bit levels"):
        flow.build(flow.Config(levels="auto"), spec)
    few = gan.resolve(gan.Config(), spec, range(10))  # type: ignore[arg-type]
    assert few.augment == 0.0


def test_values_without_levels_are_not_dequantised():
    model = flow.build(flow.Config(**FAMILIES["flow"]), grid_spec(2, 64))
    x = torch.rand(3, 2, 64)
    assert torch.equal(model._dequantised(x, None), x)


def test_grids_of_a_ladder_halve_each_dimension():
    grid = Grid.of((1, 20, 64, 48), 2)
    assert grid.sizes == ((3, 8, 6), (6, 16, 12), (12, 32, 24))
    model = vae.build(vae.Config(**FAMILIES["vae"]), grid_spec(1, 8, 16, 16))
    assert model.latent_dim == 4 + 2 * 2 * 4 * 4


@pytest.mark.parametrize(("size", "depth"), [(3, 1), (3, 2), (3, 4), (5, 3)])
def test_weights_of_shallow_grids_have_their_gradients_in_half_precision(size: int, depth: int) -> None:
    """oneDNN's own are noise, or not finite, where a grid is shallower than the convolution."""
    torch.manual_seed(0)
    conv, x = Conv[3](16, 16, size), torch.randn(8, 16, depth, 6, 6)
    back, found = torch.randn(8, 16, depth, 6, 6), []
    for half in (False, True):
        conv.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            y = conv(x)
        y.backward(back.to(y.dtype))
        assert conv.weight.grad is not None
        found.append((y.detach().float(), conv.weight.grad.clone()))
    for exact, rounded in zip(*found, strict=True):
        assert (rounded - exact).norm() < 0.02 * exact.norm()
