"""How fast a recipe trains is glanced at once, and remembered from each training; and nothing waits for a compiler."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import maquette
from maquette import cli, training
from maquette.core.recipe import load_recipe
from maquette.core.scales import Choice
from maquette.core.ways import two_ways
from maquette.engine import plan
from maquette.engine.pace import Pace
from maquette.engine.speed import Speed, Speeds, budget_of, timed, usual
from maquette.engine.state import SGD, Adam, Adamax, AdamW
from maquette.engine.world import World
from maquette.nets import winograd
from specs import image_spec
from toy_job import toy_job
from trained import QUICK

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_speed_is_remembered_for_what_it_was_measured_for(cache: Path) -> None:
    recipe, spec = load_recipe("image/vae-mlp"), image_spec(1, 8, 8)
    known = Speed(0.5, "bf16", preview=0.1, fewer={"net.stem": "learning"})
    speeds = Speeds(recipe, spec, CPU)
    assert speeds.recall() is None
    speeds.keep(known)
    assert Speeds(recipe, spec, CPU).recall() == known
    others = [
        Speeds(load_recipe("image/vae-mlp", ["train.batch_size=7"]), spec, CPU),
        Speeds(load_recipe("image/vae-mlp", ["model.latent_dim=7"]), spec, CPU),
        Speeds(load_recipe("image/vae-mlp", ["train.budget=1h"]), spec, CPU),  # in which compiling may pay
        Speeds(load_recipe("image/vae-mlp", ["train.precision=bf16"]), spec, CPU),  # with nothing to choose from
        Speeds(recipe, image_spec(1, 9, 8), CPU),
        Speeds(recipe, spec, CPU, processes=2),
    ]
    assert [other.recall() for other in others] == [None] * len(others)
    (file,) = cache.rglob("*.json")
    odd = [
        f'{{"step": 1, "precision": "fp32", {more}}}'
        for more in ('"other": 2', '"fewer": 2', '"fewer": {"a": 2}', '"fewer": {"a": []}')
    ]
    for damage in ("", "[]", "{}", '{"step": 0, "precision": "fp32"}', *odd):
        file.write_text(damage)
        assert speeds.recall() is None


def test_a_glance_leaves_the_model_as_it_is(tmp_path: Path) -> None:
    job = toy_job(tmp_path / "run")
    before = {name: value.clone() for name, value in job.model.state_dict().items()}
    speed = timed(job.model, job.recipe.train, usual(job.batches(8, 0, 1)), World("cpu"), "fp32")
    assert speed.step > 0 and (speed.precision, speed.compiled, speed.preview, speed.end) == ("fp32", False, None, None)
    assert all(torch.equal(before[name], value) for name, value in job.model.state_dict().items())


def test_how_convolutions_are_computed_is_measured_once_and_then_fixed_for_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[int] = []

    def faster(layer: torch.nn.Module, x: torch.Tensor) -> str:
        assert isinstance(layer.weight, torch.Tensor) and x.shape[1:] == (len(layer.weight), 4, 4)
        measured.append(len(layer.weight))
        return "learning"

    monkeypatch.setattr(winograd, "faster", faster)
    settings = [*QUICK, "scale=S", "model.deep=16", "model.width=16", "model.features=8"]
    run = maquette.train("image/gan", "digits", out=tmp_path / "a", settings=settings, steps=2)
    fewer = run.recipe.train.fewer_multiplications
    assert measured == [16], "of layers that are alike, one"
    assert isinstance(fewer, dict) and set(fewer.values()) == {"learning"} and len(fewer) == 8
    assert "8 of 8 convolutions with fewer multiplications" in " ".join(capsys.readouterr().err.split())
    loaded = maquette.load(tmp_path / "a").generator.model
    assert {layer.fewer for name, layer in two_ways(loaded).items() if name in fewer} == {"learning"}

    again = maquette.train("image/gan", "digits", out=tmp_path / "b", settings=[*settings], steps=2, quiet=True)
    assert again.recipe.train.fewer_multiplications == fewer and measured == [16]
    monkeypatch.setattr(winograd, "faster", lambda layer, x: "never")  # another time, or another machine
    repeated = maquette.train(str(tmp_path / "a/recipe.yaml"), "digits", out=tmp_path / "c", quiet=True)
    assert repeated.recipe.train.fewer_multiplications == fewer
    assert repeated.folder.weights_file.read_bytes() == run.folder.weights_file.read_bytes()


def test_a_budget_measures_nothing_that_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"quiet": True, "settings": [s for s in QUICK if "precision" not in s]}
    maquette.train("image/vae-mlp", "digits", out=tmp_path / "a", steps=30, **asked)
    monkeypatch.setattr(plan, "fastest", lambda *args: pytest.fail("measured again"))
    recalled: list[Speed] = []
    recall = Speeds.recall
    monkeypatch.setattr(Speeds, "recall", lambda self: recalled.append(recall(self)) or recalled[-1])
    maquette.train("image/vae-mlp", "digits", out=tmp_path / "b", budget="2s", **asked)
    speed = recalled[0]
    assert speed and speed.step > 0 and speed.preview and speed.end  # all that the training told
    again = maquette.train(str(tmp_path / "b/recipe.yaml"), "digits", out=tmp_path / "c", quiet=True)
    assert (again.folder.weights_file).read_bytes() == (tmp_path / "b/weights.safetensors").read_bytes()


def test_a_scale_is_chosen_by_what_trainings_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*settings: str, known: Speed | None = None, processes: int = 1) -> tuple[dict[str, float], Speeds]:
        recipe = load_recipe("image/flow", ["data.source=digits", "train.precision=fp32", *settings])
        dataset = training.open_data(recipe, print)
        spec, found = dataset.spec(("image",), ()), list[dict[str, float]]()

        def choose(*args: Any) -> Choice:
            found.append(args[4])
            args[5]("S")
            return Choice("S")

        monkeypatch.setattr(training, "choose", choose)
        monkeypatch.setattr(training, "fastest", lambda *args: Speed(3.0, "fp32"))
        of_plan = Speeds(training._resolved(recipe.at_scale("S"), spec, dataset.train), spec, CPU, processes)
        if known:
            of_plan.keep(known)
        training._scaled(recipe, spec, dataset.train, print, processes, 0.0)
        return found[0], of_plan

    known, after = asked("train.budget=5m")
    assert known == {} and after.recall() == Speed(3.0, "fp32")  # glanced at once, and not again by the plan
    assert asked("train.budget=5m", known=Speed(1.28, "fp32"))[0] == {"S": 0.01}
    # Where the plan has more to find out than a glance did, it does.
    assert asked("train.budget=1h")[1].recall() is None
    assert asked("train.budget=5m", processes=2)[1].recall() is None


def test_a_budget_begins_with_the_command_whatever_its_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for ago, at in ((-3600.0, cli._STARTED), (1e9, cli._STARTED - cli._BEFORE)):
        made = SimpleNamespace(create_time=lambda ago=ago: time.time() - ago)
        monkeypatch.setattr("psutil.Process", lambda made=made: made)
        assert cli.started() == at


def test_the_time_of_a_step_is_that_of_steps_alone() -> None:
    pace, clock = Pace(None, 0, 0.0), 5.0  # the first step took long
    for step in range(1, 41):
        clock += 0.5
        pace.due(step, clock)
        if step % 10 == 0:
            pace.aside("preview", 2.0)
            clock += 2.0
    assert pace.step_seconds(40, clock) == pytest.approx(0.5) and pace.last("preview") == 2.0
    assert pace.step_seconds(15, clock) is None and pace.last("log") is None


def test_a_length_in_steps_is_no_budget() -> None:
    recipe = load_recipe("image/vae-mlp")
    assert budget_of(replace_train(recipe, budget="90s")) == 90.0
    assert budget_of(replace_train(recipe, budget=None, steps=None, epochs=None)) == 600.0
    assert budget_of(replace_train(recipe, steps=5)) is None and budget_of(replace_train(recipe, budget="auto")) is None


def replace_train(recipe: maquette.core.recipe.Recipe, **changes: object) -> maquette.core.recipe.TrainConfig:
    return recipe.train.model_copy(update=changes)


@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        (Adam, torch.optim.Adam, {"betas": (0.0, 0.99), "fused": True}),
        (AdamW, torch.optim.AdamW, {"weight_decay": 0.1, "fused": True}),
        (Adamax, torch.optim.Adamax, {}),
        (SGD, torch.optim.SGD, {"momentum": 0.9}),
    ],
)
def test_an_optimizer_does_what_torchs_own_does(ours: type, theirs: type, settings: dict[str, object]) -> None:
    ends = []
    for kind in (ours, theirs):
        torch.manual_seed(0)
        x = torch.nn.Parameter(torch.randn(5))
        optimizer = kind([x], lr=0.1, **settings)
        for _ in range(3):
            x.grad = None
            (x**4).sum().backward()
            optimizer.step()
        ends.append(x.detach())
    assert torch.equal(*ends)


STARTS = """
import sys
import maquette
maquette.train({recipe!r}, "digits", out={out!r}, steps=1, quiet=True, trackers=())
slow = {{"torch._dynamo", "sympy", "torch._inductor", "matplotlib", "tensorboard", "datasets"}} & {{*sys.modules}}
assert not slow, slow
"""


@pytest.mark.parametrize("recipe", ["image/flow", "image/vae"])
def test_a_training_does_not_wait_for_what_it_does_not_need(tmp_path: Path, recipe: str) -> None:
    code = STARTS.format(recipe=recipe, out=str(tmp_path / "run"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
