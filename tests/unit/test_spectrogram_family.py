"""Sounds by way of their spectrograms: another family learns grids of mel bands, and a voice makes sounds of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from maquette.core.batch import Batch, lengths
from maquette.core.errors import UserError
from maquette.core.model import Decodes, Encodes, Fills, Scores, Step, UsesCodec
from maquette.core.recipe import load_recipe
from maquette.core.rng import ItemRng, StepRng
from maquette.core.spec import DataSpec
from maquette.core.table import Table
from maquette.losses.flow_matching import logit_normal
from maquette.modalities.audio.tools import edits
from maquette.models import spectrogram
from maquette.nets.mel import Mel
from maquette.nets.spectrogram import power
from maquette.testing import column_spec, data_spec, made_up_batch
from specs import image_spec

VOICE = {"vocoder": "griffin-lim", "rounds": 2}
PRIORS: dict[str, dict[str, Any]] = {
    "flow": {"family": "flow", "width": 16, "deep": 16, "blocks": 1, "deep_blocks": 1, "condition": 16, "steps": 1},
    "gan": {"family": "gan", "width": 8, "deep": 16, "blocks": 1, "features": 16},
    "vae": {"family": "vae", "width": 16, "encoder_blocks": 1, "head": 16, "groups": [["global", 4], ["local", 1]],
            "likelihood": "gaussian"},
}  # fmt: skip


def spec_of(channels: int = 1, samples: int = 3000) -> DataSpec:
    return data_spec(column_spec("audio", channels, samples, rate_hz=8000), label=column_spec("label", classes=3))


def config(prior: str = "flow", **settings: Any) -> spectrogram.Config:
    own = {key: settings.pop(key) for key in list(settings) if key in ("data_mean", "data_std", "augment")}
    return spectrogram.Config(prior={**PRIORS[prior], **own}, **{"voice": VOICE, **settings})


def made(prior: str = "flow", spec: DataSpec | None = None, **settings: Any) -> spectrogram.Spectrogram:
    torch.manual_seed(0)
    return spectrogram.build(config(prior, **settings), spec or spec_of()).eval()


@pytest.mark.parametrize(("dims", "shape"), [(1, (80, 47)), (2, (2, 40, 47))], ids=["bands are channels", "plane"])
def test_a_grid_holds_every_band_of_each_channel(dims: int, shape: tuple[int, ...]) -> None:
    spec = spec_of(channels=2)
    model, batch = made(spec=spec, dims=dims), made_up_batch(spec, 3)
    grids = model.grids(batch).only()
    assert grids.shape == (3, *shape) and model.bands.shape == shape
    assert torch.equal(grids.view(3, 2, 40, 47), Mel(8000).of(batch.only()))
    sounds = model.sample(2, {"label": torch.tensor([0, 2])}, ItemRng(0, range(2)))["audio"]
    assert sounds.shape == (2, 2, 3000)


@pytest.mark.parametrize("prior", PRIORS)
def test_abilities_are_those_of_the_other_family_but_for_likelihoods(prior: str) -> None:
    model = made(prior)
    assert isinstance(model, Decodes) and not isinstance(model, Scores)
    assert isinstance(model, Encodes) == (prior != "gan") and isinstance(model, UsesCodec) == (prior == "flow")
    assert model.latent_dim == model.prior.latent_dim and model.watches == model.prior.watches


def test_what_is_rebuilt_is_as_long_as_it_was() -> None:
    spec = spec_of()
    model, batch = made(spec=spec), made_up_batch(spec, 4)
    assert isinstance(model, UsesCodec)
    code = model.codec.encode(batch)
    assert code.shape == (4, model.codec.latent_dim)
    rebuilt = model.codec.decode(code, {})["audio"]
    assert (lengths(rebuilt) - lengths(batch.only())).abs().max() <= Mel(8000).hop


@pytest.mark.parametrize("samples", [2000, 3000, 7001])
def test_gaps_are_filled_and_the_rest_stays(samples: int) -> None:
    model, heard = made(dims=2), 0.5 * torch.randn(2, 1, samples, generator=torch.Generator().manual_seed(0))
    heard, seen = heard.clamp(-1, 1), torch.ones(2, 1, samples)
    seen[0, :, 900:1300] = 0
    assert isinstance(model, Fills) and "restore" in edits(model)
    found = model.filled(heard * seen, ItemRng(0, range(2)), seen, steps=2)
    assert torch.equal(found[1], heard[1]) and torch.equal((found * seen)[0], (heard * seen)[0])
    assert found[0, :, 900:1300].abs().mean() > 1e-3
    again = model.filled((heard * seen)[:1], ItemRng(0, [0]), seen[:1], steps=2)
    assert torch.allclose(again[0], found[0], atol=1e-4)
    whole = model.filled(heard.view(1, 2, samples), ItemRng(0, [0]), torch.ones(1, 1, samples))
    assert torch.equal(whole, heard.view(1, 2, samples))  # channels one by one
    with pytest.raises(UserError, match="two channels"):
        made(spec=spec_of(channels=2)).filled(heard, ItemRng(0, range(2)), seen)  # type: ignore[attr-defined]


def test_a_narrow_band_is_widened_and_what_is_below_stays() -> None:
    soxr = pytest.importorskip("soxr")
    model, draws = made(dims=2), np.random.default_rng(0)
    wide = 0.2 * draws.standard_normal(6000)
    narrow = soxr.resample(soxr.resample(wide, 8000, 4000), 4000, 8000)[:3000].astype(np.float32)
    assert isinstance(model, Fills)
    assert model._top(torch.from_numpy(wide[:3000]).float()) == 129  # type: ignore[operator]
    assert 55 < model._top(torch.from_numpy(narrow)) < 65  # type: ignore[operator]
    heard = torch.from_numpy(narrow).view(1, 1, -1)
    found = model.filled(heard, ItemRng(0, [0]), torch.ones(1, 1, 3000), steps=2)
    before, after = (power(x[0, 0], 256, 64).mean(1) for x in (heard, found))
    assert torch.allclose(after[2:55], before[2:55], rtol=0.2) and (after[80:120] > 100 * before[80:120]).all()


def test_both_learn_in_one_run_under_names_of_their_own() -> None:
    model = made("gan", voice={"width": 16, "blocks": 1, "rounds": 1, "seconds": 0.1})
    phases = model.phases()
    assert {"d", "g", "voice_vocoder"} <= {phase.name for phase in phases}
    assert set(dict(model.named_children())) == {"generator", "critic", "voice_vocoder"}
    assert model.keeps == ("generator", "voice_vocoder")
    (g,) = (phase for phase in phases if phase.name == "g")
    batch = made_up_batch(spec_of(), 4)
    assert not g.reads_data and model.grids(batch.without_target()) == Batch({}, batch.given, 4)


class Shown:
    """A column of sounds in memory."""

    spec = spec_of().only()

    def take(self, rows: np.ndarray) -> Tensor:
        return made_up_batch(spec_of(), 20).only()[torch.as_tensor(rows)]


def test_what_the_other_family_measures_is_measured_on_grids() -> None:
    spec = data_spec(spec_of().only())
    table = Table({"audio": Shown()}, [""] * 20)  # type: ignore[dict-item]
    found = spectrogram.resolve(config(data_mean="auto", data_std="auto"), spec, table)
    grids = Mel(8000).of(made_up_batch(spec, 20).only())
    assert found.prior["data_mean"] == pytest.approx(grids.mean().item(), abs=0.01)
    assert found.prior["data_std"] == pytest.approx(grids.std().item(), abs=0.01)
    assert spectrogram.resolve(found, spec, table) == found
    assert spectrogram.families(found) == ("flow",)
    # On a grid of time alone there are no changes of pictures.
    assert spectrogram.resolve(config("gan"), spec, table).prior["augment"] == 0.0


@pytest.mark.parametrize(
    ("settings", "spec", "said"),
    [
        ({}, image_spec(1, 8, 8), "are none"),
        ({"prior": {"family": "wavenet"}}, spec_of(), "A WaveNet makes one channel"),
        ({"prior": {"family": "transformer"}}, spec_of(), "does not learn items on grids"),
        ({"prior": {"family": "flow", "widht": 3}}, spec_of(), "model.prior.widht"),
    ],
    ids=["pictures", "not a grid's", "tokens", "a slip"],
)
def test_what_cannot_work_is_said(settings: dict[str, Any], spec: DataSpec, said: str) -> None:
    with pytest.raises(UserError, match=said):
        spectrogram.build(spectrogram.Config(**settings), spec)


def test_losses_are_of_grids_and_of_sounds() -> None:
    spec = spec_of()
    model = made("vae", spec, voice={"width": 16, "blocks": 1, "rounds": 1, "seconds": 0.1}).train()
    for phase in model.phases():
        assert phase.loss(made_up_batch(spec, 4), Step(0, 9, StepRng(0, 4))).total.isfinite()


def test_the_recipe_learns_at_the_noise_that_words_are_told_in_and_at_that_of_texture() -> None:
    """Neighbouring bands differ by 0.08: a flow that hardly sees noise below that makes grids that are too smooth."""
    prior = load_recipe("audio/flow").model["prior"]
    t = logit_normal(torch.randn(20_000, generator=torch.Generator().manual_seed(0)), prior["time_mean"],
                     prior["time_std"])  # fmt: skip
    noise = (1 - t) / t
    assert (noise < 0.06).float().mean() > 0.1 and (noise > 2).float().mean() > 0.25
