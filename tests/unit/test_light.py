"""Streaming without torch: the same item as with it, and nothing that it would refuse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import maquette
from maquette.core.asking import drawn_classes
from maquette.core.errors import UserError
from maquette.core.light import light_run
from maquette.core.rng import ItemRng, uniform_of
from maquette.core.run import RunFolder
from maquette.core.tensors import read_tensors
from maquette.modalities.label import Spec

soundfile = pytest.importorskip("soundfile")
FEW = ["model.blocks=1", "model.layers=4", "model.residual=16", "model.skip=32", "train.preview_items=1",
       "train.precision=fp32", "data.label_pattern={label}_{speaker}_{take}"]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> maquette.Run:
    folder = tmp_path_factory.mktemp("light")
    (folder / "clips").mkdir()
    draws = np.random.default_rng(0)
    for i in range(24):
        name = f"{'abc'[i % 3]}_{'xy'[i // 3 % 2]}_{i}.wav"
        soundfile.write(folder / "clips" / name, 0.3 * draws.standard_normal(1500), 8000)
    made = maquette.train(
        "audio/wavenet", folder / "clips", out=folder / "run", given=["label", "speaker"], steps=2, settings=FEW,
        quiet=True,
    )  # fmt: skip
    with torch.no_grad():  # so that what is given is heard, and a sound lasts
        net = made.generator.model.net
        for parameter in (net.head.weight, net.given.weight, net.condition.together[2].weight):
            torch.nn.init.normal_(parameter, std=0.3)
        net.head.bias[-1] = -8.0
        made.folder.write_weights({f"net.{name}": value for name, value in net.state_dict().items()}, step=2)
    return maquette.load(made.folder.path)


@pytest.mark.parametrize(
    "asks",
    [{}, {"seed": 3}, {"item": 2}, {"label": "b"}, {"label": "c", "speaker": "1", "temperature": 0.5},
     {"unconditional": True}, {"int8": True}],
)  # fmt: skip
def test_an_item_is_the_same_with_torch_and_without(run: maquette.Run, asks: dict[str, object]) -> None:
    light = light_run(run.folder.path, pytest.fail)
    assert light is not None and [o.name for o in light.options] == [o.name for o in run.options]
    ours, theirs = b"".join(light.stream(**asks)), b"".join(run.stream(**asks))  # type: ignore[arg-type]
    assert ours == theirs and len(ours) > 600


@pytest.mark.parametrize(
    "asks", [{"label": "z"}, {"seed": -1}, {"label": "a", "unconditional": True}, {"given": {"x": 1}}]
)
def test_what_is_refused_is_refused_alike(run: maquette.Run, asks: dict[str, object]) -> None:
    light, said = light_run(run.folder.path, pytest.fail), []
    for each in (light, run):
        with pytest.raises(UserError) as refused:
            b"".join(each.stream(**asks))  # type: ignore[union-attr]
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_the_command_takes_no_torch(run: maquette.Run) -> None:
    asked = ["maquette", "sample", str(run.folder.path), "--stream", "--label", "b", "--seed", "4"]
    code = f"""if True:
        import atexit, os, sys
        sys.argv = {asked!r}
        atexit.register(lambda: os.write(2, b"torch" if "torch" in sys.modules else b"none"))
        from maquette.cli.main import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=300)
    assert done.stderr == b"none", done.stderr.decode()
    assert done.stdout == b"".join(run.stream(seed=4, label="b"))


def test_what_is_not_as_it_should_be_is_left_to_who_says_why(run: maquette.Run, tmp_path: Path) -> None:
    import shutil

    def changed(**tensors: torch.Tensor | None) -> Path:
        path = tmp_path / str(len([*tmp_path.iterdir()]))
        shutil.copytree(run.folder.path, path)
        kept = read_tensors(path / "weights.safetensors") | {f"net.{name}.weight": x for name, x in tensors.items()}
        RunFolder(path).write_weights({name: x for name, x in kept.items() if x is not None}, step=2)
        return path

    for path in (changed(skip=None), changed(skip=torch.zeros(3, 3)), changed(skip=torch.full((32, 64), torch.nan)),
                 changed(given=None)):  # fmt: skip
        assert light_run(path, pytest.fail) is None
        with pytest.raises(UserError):
            b"".join(maquette.load(path).stream())
    whole = changed()
    assert light_run(whole, pytest.fail) is not None
    (whole / "weights.safetensors").write_bytes(b"")
    assert light_run(whole, pytest.fail) is None and light_run(tmp_path, pytest.fail) is None


def test_draws_are_those_of_torch() -> None:
    for seed, item, shape in ((0, 0, (5, 2)), (2**62, 7, (1000,)), (3, 1, (2**12, 1))):
        assert np.array_equal(uniform_of(seed, item, *shape), ItemRng(seed, [item]).uniform(1, *shape)[0].numpy())
    column = Spec(classes=("a", "b", "c"), shares=(0.2, 0.5, 0.3))
    shares = np.bincount(drawn_classes(column, range(3000), 1)) / 3000
    assert np.allclose(shares, column.shares, atol=0.04)
