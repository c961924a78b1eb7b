"""What is too large is refused by name before it takes memory or time."""

import math
import resource
import subprocess
import sys
import time

import pytest
import torch

from maquette.core import hardware
from maquette.core.errors import UserError
from maquette.core.generator import Generator, build_model
from maquette.core.option import Option
from maquette.core.outline import outline
from maquette.core.recipe import load_recipe, recipe_names
from maquette.core.run import RunFolder
from maquette.testing.specs import column_spec, data_spec

PICTURES = data_spec(column_spec("image", 1, 16, 16))
LARGE = [
    ("image/gan-mlp", ["model.hidden=[65536, 65536, 65536]"], r"model.hidden is \(65536, 65536, 65536\)"),
    ("image/flow", ["model.deep=65536"], "model.deep is 65536"),
    ("image/vae", ["model.width=65536", "model.encoder_blocks=256"], "model.width is 65536"),
]


@pytest.mark.parametrize(("name", "settings", "wrong"), LARGE, ids=[name for name, _, _ in LARGE])
def test_a_model_beyond_memory_is_refused_with_the_setting_that_makes_it_so(name, settings, wrong):
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(UserError, match=f"takes .* GiB of memory at least, .* are free.\n  Ask for less: {wrong}"):
        build_model(load_recipe(name, settings), PICTURES)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert time.process_time() - began < 20


def test_columns_that_make_it_large_are_named(monkeypatch):
    monkeypatch.setattr("maquette.core.outline.memory", lambda: 2**28)
    spec = data_spec(column_spec("text", 16, vocab=200_000))
    with pytest.raises(UserError, match=r"the largest of them is net.embed.*\(200000, 256\)"):
        build_model(load_recipe("text/lm", ["train.device=cpu"]), spec)
    assert 2**20 < hardware.memory() < 2**50


def test_what_training_takes_on_a_gpu_is_not_held_against_the_memory_here(monkeypatch):
    monkeypatch.setattr("maquette.core.outline.memory", lambda: 2**28)
    monkeypatch.setattr("maquette.core.outline.best_device", lambda: "cuda")
    spec = data_spec(column_spec("text", 16, vocab=200_000))  # 205 MB of weights, which are made here
    assert outline(load_recipe("text/lm"), spec, trains=True)


@pytest.mark.parametrize("setting", ["model.latent_dim=0", "model.hidden=[1000000000]", "train.steps=9999999999"])
def test_settings_are_bounded(setting):
    with pytest.raises(UserError, match=r"cannot be .*\n  Input should be (less|greater) than"):
        load_recipe("image/gan-mlp", [setting])


def test_weights_of_another_recipe_are_refused_before_there_is_a_model(tmp_path, monkeypatch):
    folder, recipe = RunFolder(tmp_path), load_recipe("image/gan-mlp")
    folder.write_recipe(recipe)
    folder.write_spec(PICTURES)
    model = build_model(recipe, PICTURES)
    weights = {f"{name}.{k}": v for name, net in model.kept.items() for k, v in net.state_dict().items()}
    folder.write_weights(weights, step=0)
    for name, net in Generator.load(folder, "cpu").model.kept.items():
        assert all(torch.equal(value, weights[f"{name}.{key}"]) for key, value in net.state_dict().items())

    folder.write_recipe(load_recipe("image/gan-mlp", ["model.hidden=[64, 30000]"]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"does not fit the recipe beside it: .* is 128x100 instead of 64x100"):
        Generator.load(folder, "cpu")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_recipes_that_ship_are_within_bounds():
    assert all(load_recipe(name).config for name in recipe_names())


def test_items_beyond_memory_are_refused_whatever_the_weights(monkeypatch):
    spec = data_spec(column_spec("image", 1, 4096, 4096))
    monkeypatch.setattr("maquette.core.outline.memory", lambda: 2**32)
    with pytest.raises(UserError, match=r"16.1 GiB of memory at least, .*\n  Ask for less: items are of 1x4096x4096"):
        build_model(load_recipe("image/flow"), spec)


def test_a_limit_of_the_shell_counts():
    code = "import resource as r; r.setrlimit(r.RLIMIT_AS, (2**34, 2**34)); from maquette.core.hardware import memory; "
    done = subprocess.run([sys.executable, "-c", f"{code}print(memory() < 2**34)"], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("wrong", [{"n": 10**12}, {"seed": 2**63}, {"seed": -1}, {"n": 0}])
def test_a_sample_has_bounds(wrong):
    generator = Generator(build_model(load_recipe("image/gan-mlp"), PICTURES), PICTURES)
    with pytest.raises(UserError, match=f"{next(iter(wrong))} = "):
        generator.sample(**{"n": 1, **wrong})


def test_options_are_finite():
    option = Option("strength", float, None, "")
    for wrong in ("inf", "nan", 1e400):
        with pytest.raises(UserError, match="must be a number"):
            option.checked(wrong)
    with pytest.raises(UserError, match="must be a whole number"):
        Option("steps", int, None, "").checked(float("inf"))


def test_weights_that_run_over_are_told_of(tmp_path):
    """Each is a number, and what they make is none."""
    folder, recipe = RunFolder(tmp_path), load_recipe("image/gan-mlp")
    folder.write_recipe(recipe)
    folder.write_spec(PICTURES)
    kept = build_model(recipe, PICTURES).kept.items()
    folder.write_weights(
        {
            f"{n}.{k}": 3e38 * torch.ones_like(v).flatten().cumsum(0).mul(math.pi).cos().sign().view_as(v)
            for n, net in kept
            for k, v in net.state_dict().items()
        },
        0,
    )
    with pytest.raises(UserError, match="no number any more"):
        Generator.load(folder, "cpu").sample(2)
