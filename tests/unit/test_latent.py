"""Two stages: a codec makes pictures small, a model learns the small ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import maquette
from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.model import Encodes, FlowMap, GridCode, Step, UsesCodec
from maquette.core.recipe import parse_recipe
from maquette.core.rng import ItemRng, StepRng
from maquette.evaluation.measures.likelihood import Effort, effort_for
from maquette.modalities.image.edit import EditOptions
from maquette.models import latent, vae
from maquette.models._members import Member
from maquette.nets.codec import Codec
from maquette.testing import check_model, made_up_batch
from specs import image_spec

CODEC = {"network": "codec", "width": 32, "encoder_blocks": 1, "decoder_blocks": 1, "likelihood": "gaussian"}
PRIOR = {"family": "flow", "width": 32, "deep": 32, "deep_blocks": 1, "condition": 16, "data_std": 0.25}
SETTINGS = {"codec": {"family": "vae", "model": CODEC, "given": ()}, "prior": PRIOR}
QUICK = ["train.steps=3", "train.batch_size=8", "train.trackers=[]", "train.preview_items=4"]


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize(("size", "width"), [((16, 16), 16), ((20, 33), 32)])
def test_a_codec_takes_pictures_of_any_size(factor, size, width):
    net = Codec((3, *size), 3, channels=2, factor=factor, width=width, encoder_blocks=1, decoder_blocks=1)
    rows, columns = (-(-side // factor) for side in size)
    assert net.code_grid == (2, rows, columns) and net.latent_dim == 2 * rows * columns
    x = torch.randn(4, 3, *size)
    passed = net(x, None, torch.zeros(4, net.latent_dim))
    assert passed.out.shape == x.shape
    assert torch.allclose(passed.code, net.encode(x), atol=1e-6)
    assert torch.allclose(net(None, None, passed.code).out, passed.out, atol=1e-5)


@pytest.mark.parametrize(("side", "cell"), [(16, 2), (64, 2), (65, 4), (128, 4), (256, 8), (300, 16)])
def test_a_codec_leaves_at_most_32_cells_a_side(side, cell):
    net = Codec((3, side, side // 2), 3, 4, 0, 32, 1, 1)
    assert net.code_grid[1] == -(-side // cell) <= 32


def test_a_code_is_local():
    """One pixel changes the codes about it and none far away, so the codec works alike all over a picture."""
    net = Codec((1, 64, 64), 1, 2, 4, 32, 1, 1)
    x = torch.randn(1, 1, 64, 64)
    other = x.clone()
    other[..., 0, 0] += 1
    moved = (net.encode(other) - net.encode(x)).view(2, 16, 16).abs().amax(0) > 0
    assert moved[0, 0] and not moved[8:, :].any() and not moved[:, 8:].any()


@pytest.mark.parametrize("factor", [1, 3, 6])
def test_cells_are_powers_of_2(factor):
    with pytest.raises(ValueError, match="2, 4, 8"):
        vae.Config(network="codec", factor=factor)


@pytest.mark.parametrize("spec", [image_spec(3, 16, 16, classes=3), image_spec(1, 16, 12)], ids=["rgb+label", "grey"])
def test_it_meets_the_contract(spec, tmp_path):
    """With a codec of the pictures that the contract makes up."""
    shown = made_up_batch(spec, 32).only()
    np.savez(tmp_path / "data.npz", images=((shown + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    own = [*QUICK, "train.steps=100", *settings(CODEC)]
    maquette.train("image/codec", tmp_path / "data.npz", out=tmp_path / "codec", settings=own)
    assert "resume_equals_straight_run" in check_model(
        "latent", spec, {"codec": str(tmp_path / "codec"), "prior": PRIOR}
    )


def made(**prior):
    torch.manual_seed(0)
    settings = {**SETTINGS, "prior": PRIOR | prior}
    return latent.build(latent.Config(**settings), image_spec(3, 16, 16, classes=3)).eval()


def test_codes_are_small_pictures_and_the_codec_stays_as_it_is():
    model = made()
    batch = Batch({"image": torch.rand(8, 3, 16, 16) * 2 - 1}, {"label": torch.arange(8) % 3})
    codes = model.train().codes(batch)
    assert codes.only().shape == (8, 4, 8, 8) and codes.only().abs().max() <= 1 and codes.given is batch.given
    loss = model.phases()[0].loss(batch, Step(0, 10, StepRng(0, 8)))
    loss.total.backward()
    assert not model.codec.training and all(p.grad is None for p in model.codec.parameters())
    assert any(p.grad is not None for p in model.prior.parameters())


def test_a_codec_comes_without_its_critic():
    codec = {"family": "vae", "model": CODEC | {"adversarial": 0.5}, "given": ()}
    model = latent.build(latent.Config(codec=codec, prior=PRIOR), image_spec(3, 16, 16))
    assert {name for name, _ in model.codec.named_children()} == {"net", "scale"}


def test_what_a_codec_made_of_a_picture_comes_back():
    """Encodes through both stages: only what the codec itself loses is lost."""
    model = made()
    torch.nn.init.zeros_(model.prior.net.head.weight)
    assert isinstance(model, Encodes) and not isinstance(model, FlowMap)  # the path of codes is not that of pictures
    batch = Batch({"image": torch.rand(4, 3, 16, 16) * 2 - 1}, {})
    with torch.no_grad():
        z = model.encode(batch)
        back = model.decode(z, {})["image"]
        once = model.codec.decode(model.codec.encode(batch), {})["image"]
    assert z.shape == (4, model.latent_dim)
    assert torch.allclose(back, once, atol=0.05)


def test_options_are_those_of_the_model_of_codes():
    model = made()
    assert {option.name for option in model.options} >= {"sampler", "steps", "guidance"}
    draw = {"given": {}, "rng": ItemRng(0, range(2))}
    assert model.sample(2, **draw, sampler="heun", steps=2)["image"].shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("prior", "said"),
    [
        ({"family": "flow", "widht": 3}, "model.prior.widht"),
        ({"family": "gan"}, "cannot learn codes"),
        ({"family": "clustered"}, "has a model of its own"),
        ({"family": "transformer"}, "on grids"),
        ({"family": "flow", "levels": "auto"}, "prior.levels is about values"),
        ({"family": "flow", "degrade": ["noise"]}, "prior.degrade is about values"),
        ({"family": "flow", "data_std": "auto"}, "prior.data_std is measured on items"),
    ],
)
def test_a_prior_that_cannot_be(prior, said):
    with pytest.raises((UserError, ValueError), match=said):
        latent.build(latent.Config(**{**SETTINGS, "prior": prior}), image_spec(3, 16, 16))


def test_it_takes_a_codec():
    spec = image_spec(3, 16, 16)
    with pytest.raises(UserError, match="names none"):
        latent.build(latent.Config(), spec)
    with pytest.raises(UserError, match="no codes on a grid"):
        latent.build(latent.Config(codec=Member(family="vae", model={"network": "conv"}, given=())), spec)


def data(folder: Path, side: int = 16) -> Path:
    rng = np.random.default_rng(side)
    images = rng.integers(0, 256, (40, side, side, 3), dtype=np.uint8)
    np.savez(folder / f"data{side}.npz", images=images, labels=np.arange(40) % 2)
    return folder / f"data{side}.npz"


def settings(section: dict, prefix: str = "model") -> list[str]:
    return [f"{prefix}.{key}={value}" for key, value in section.items()]


@pytest.fixture
def codec(trained, tmp_path) -> Path:
    """The folder of a codec of `data`, which has learned next to nothing."""
    return trained.copy(
        trained("image/codec", data(tmp_path), "train.batch_size=8", *settings(CODEC), steps=3), tmp_path / "codec"
    )


def test_from_pictures_to_a_run_that_needs_no_codec(tmp_path, codec):
    pictures = data(tmp_path)
    codec = maquette.load(codec)
    assert isinstance(codec.generator.model, GridCode) and not codec.spec.given
    own = [*QUICK, *settings(PRIOR, "model.prior"), f"model.codec={codec.folder.path}"]
    run = maquette.train("image/latent", pictures, out=tmp_path / "run", settings=own)
    before = run.sample(3, seed=1).only
    assert before.shape == (3, 3, 16, 16)
    for name, value in codec.generator.model.state_dict().items():
        assert torch.equal(run.generator.model.codec.state_dict()[name], value)
    shutil.rmtree(tmp_path / "codec")
    again = maquette.load(tmp_path / "run")
    assert torch.equal(again.sample(3, seed=1).only, before)
    assert parse_recipe((tmp_path / "run" / "recipe.yaml").read_text()).model["codec"]["family"] == "vae"
    with pytest.raises(UserError, match="guidence"):
        again.sample(1, guidence=2)


def test_only_the_codec_is_judged_by_how_pictures_come_back(tmp_path, monkeypatch, codec):
    """Through the flow and its few jumps they would come back as others."""
    run = maquette.load(codec)
    own = [*QUICK, *settings(PRIOR, "model.prior"), f"model.codec={run.folder.path}"]
    both = maquette.train("image/latent", data(tmp_path), out=tmp_path / "run", settings=own)
    monkeypatch.setattr(latent.Latent, "encode", lambda self, batch: pytest.fail("through the flow"))
    assert isinstance(both.generator.model, UsesCodec)
    codec, found = run.evaluate(samples=20), both.evaluate(samples=20)
    monkeypatch.undo()
    assert found["psnr"].value == pytest.approx(codec["psnr"].value, abs=1e-3)
    with pytest.raises(UserError, match="steps are of no use"):
        both.edit.variations(torch.zeros(1, 3, 16, 16), options=EditOptions(steps=3))


def test_less_effort_for_larger_pictures():
    assert effort_for(image_spec(3, 32, 32)) == Effort()
    large, larger = effort_for(image_spec(3, 128, 128)), effort_for(image_spec(3, 256, 256))
    assert larger.at_once < large.at_once < Effort().at_once and larger.k == 5 and not larger.large_items


def test_what_cannot_be_a_codec_is_refused_before_data_is_prepared(tmp_path, codec):
    with pytest.raises(UserError, match="nowhere"):
        maquette.train("image/latent", tmp_path / "no-data", out=tmp_path / "run", settings=["model.codec=nowhere"])
    own = [*QUICK, f"model.codec={codec}", "data.image.channels=grey"]
    with pytest.raises(UserError, match="these are 16x16 in 1 channel") as refused:
        maquette.train("image/latent", data(tmp_path), out=tmp_path / "run", settings=own)
    assert "data.image" in str(refused.value.remedy)


def test_a_codec_that_may_know_what_is_held_out_is_said_to(tmp_path, capsys, codec):
    for seed, said in ((0, False), (1, True)):
        own = [*QUICK, *settings(PRIOR, "model.prior"), f"model.codec={codec}", f"data.split_seed={seed}"]
        maquette.train("image/latent", data(tmp_path), out=tmp_path / f"run{seed}", settings=own)
        printed = capsys.readouterr()
        assert ("it may know these" in printed.out + printed.err) == said


def test_a_codec_for_other_pictures_is_refused(tmp_path, codec):
    own = [*QUICK, *settings(PRIOR, "model.prior"), f"model.codec={codec}"]
    with pytest.raises(UserError, match="16x16 in 3 channels; these are 24x24"):
        maquette.train("image/latent", data(tmp_path, 24), out=tmp_path / "run", settings=own)
    assert not (tmp_path / "run").exists()


def test_the_width_of_a_codecs_likelihood_keeps_up_with_its_errors():
    """Adam moves every number by a learning rate: that of a codec counts for more."""
    moved = []
    for network in ("codec", "conv"):
        model = vae.build(vae.Config(**{**CODEC, "network": network}), image_spec(3, 16, 16))
        before = model.log_std.detach().clone()
        optimizer = torch.optim.Adam(model.scale.parameters(), 1e-3)
        model.log_std.sum().backward()
        optimizer.step()
        moved.append((before - model.log_std.detach()).mean().item())
        assert before.exp().mean().item() == pytest.approx(0.3, rel=1e-5)
    assert moved == pytest.approx([0.02, 0.001], rel=0.01)
