"""What leaves for other runtimes computes what the model does; what would not is not written."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from maquette.core.about import About
from maquette.core.errors import MaquetteError, UserError
from maquette.core.find import find_family
from maquette.core.graph import Graph
from maquette.core.hardware import whole_precision
from maquette.core.model import Exports, Model
from maquette.core.rng import ItemRng
from maquette.core.spec import DataSpec
from maquette.export import export, options
from maquette.models import clustered
from maquette.models.transformer import TransformerModel
from maquette.testing import column_spec, data_spec
from specs import image_spec, text_spec

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

ABOUT = About("Maquette 0", "a-run", "a family")
FLOW = {"family": "flow", "width": 16, "deep": 16, "blocks": 1, "deep_blocks": 1, "condition": 16, "steps": 2}
CODEC = {"network": "codec", "width": 32, "encoder_blocks": 1, "decoder_blocks": 1, "likelihood": "gaussian"}
LM = {"width": 16, "layers": 2, "heads": 2, "shift": 0.5, "ngrams": 3, "ngram_rows": 64, "ngram_dim": 8}
MEL = {"prior": {"family": "gan", "width": 8, "deep": 16, "blocks": 1, "features": 16, "augment": 0.0}, "dims": 2,
       "voice": {"width": 16, "blocks": 1}}  # fmt: skip
CLIP = {"width": 16, "deep": 16, "deep_blocks": 1, "condition": 8, "seen": 3, "ahead": 2, "prior": FLOW}
PICTURES = image_spec(1, 8, 8, classes=3)
ANY = data_spec(column_spec("image", 1, 8, 8), label=column_spec("label", classes=3), slant=column_spec("number"),
                caption=column_spec("text", 8), like=column_spec("image", 1, 8, 8))  # fmt: skip
SOUNDS = data_spec(column_spec("audio", 1, 2048, rate_hz=8000), label=column_spec("label", classes=3))
CLIPS = data_spec(column_spec("video", 1, 6, 8, 8), label=column_spec("label", classes=3))

MODELS: dict[str, tuple[str, DataSpec, dict[str, Any]]] = {
    "gan": ("gan", ANY, {"width": 8, "deep": 16, "blocks": 1, "features": 16, "augment": 0.0}),
    "vae": ("vae", PICTURES, {"width": 16, "encoder_blocks": 1, "head": 16, "local_temperature": 0.7}),
    "flow": ("flow", PICTURES, {key: FLOW[key] for key in FLOW if key != "family"}),
    "latent": ("latent", image_spec(1, 16, 16), {"codec": {"family": "vae", "model": CODEC, "given": ()},
                                                 "prior": {**FLOW, "data_std": 0.25}}),
    "clustered": ("clustered", image_spec(3, 12, 16), {"prior": FLOW}),
    "spectrogram": ("spectrogram", SOUNDS, MEL),
    "predictor": ("predictor", CLIPS, CLIP),
    "lm": ("transformer", text_spec(framed=False), LM),
    "translation": ("transformer", text_spec(source=True), {**LM, "ngrams": 1, "shift": 0.0}),
}  # fmt: skip


def made(name: str, **settings: Any) -> tuple[Model, DataSpec]:
    """An untrained model, in which nothing is zero any more."""
    family, spec, config = MODELS[name]
    module = find_family(family)
    if family == "clustered":
        config = {**config, **clustered.found(torch.linspace(-1, 1, 8)[:, None].expand(-1, 3 * 16), 3)}
    torch.manual_seed(0)
    model = module.build(module.Config(**config, **settings), spec).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    return model, spec


@pytest.mark.parametrize("name", MODELS)
def test_onnx_says_the_same_and_what_goes_in(name: str, tmp_path: Path) -> None:
    model, spec = made(name)
    found = export(model, spec, ABOUT, "onnx", tmp_path / "m.onnx")
    assert len(found.files) == len(found.said) and sorted(found.files) == sorted(tmp_path.iterdir())
    for file in found.files:
        session = onnxruntime.InferenceSession(file)
        said = session.get_modelmeta().custom_metadata_map
        assert said["Source"] == "AI-generated" and said["run"] == "a-run"
        told = {port["name"]: port for port in json.loads(said["inputs"])}
        assert {*told} >= {one.name for one in session.get_inputs()}
        assert all(one.shape == told[one.name]["shape"] for one in session.get_inputs())
        assert json.loads(said["columns"]).keys() == {*spec.target, *spec.given}


@pytest.mark.parametrize("name", ["vae", "flow", "lm"])
def test_plain_torch_says_the_same(name: str, tmp_path: Path) -> None:
    model, spec = made(name)
    found = export(model, spec, ABOUT, "safetensors", tmp_path / "m.safetensors")
    assert {file.name for file in tmp_path.iterdir()} == {"m.safetensors", "m.py"}
    assert "maquette" not in (tmp_path / "m.py").read_text() and "the same" in found.said[0]


def test_names_of_columns_are_words_in_the_file_and_no_code(tmp_path: Path) -> None:
    names = ['x"""\nraise SystemExit(3)\n"""', "class", "torch", "weights", "1st", "lambda"]
    spec = data_spec(column_spec("image", 1, 8, 8), **{name: column_spec("number") for name in names})
    _, _, settings = MODELS["gan"]
    family = find_family("gan")
    model = family.build(family.Config(**settings), spec).eval()
    found = export(
        model, spec, replace(ABOUT, run='a"""\nraise SystemExit(3)'), "safetensors", tmp_path / "g.safetensors"
    )
    text = (tmp_path / "g.py").read_text()
    assert "the same as the model's" in found.said[0] and text.count('"""') == 4
    assert "class_, torch_, weights_, _1st, lambda_" in text


def test_an_item_is_that_of_a_sample(tmp_path: Path) -> None:
    model, spec = made("flow")
    export(model, spec, ABOUT, "onnx", tmp_path / "f.onnx", steps=3)
    given = {"label": torch.tensor([0, 2])}
    with whole_precision():
        wanted = model.sample(2, given, ItemRng(5, range(2)), steps=3)["image"]
    noise = ItemRng(5, range(2)).normal(2, 1, 8, 8)
    inputs = {"noise": noise.numpy(), "label": given["label"].numpy(),
              "guidance": torch.tensor(model.config.guidance).numpy()}  # fmt: skip
    (item,) = onnxruntime.InferenceSession(tmp_path / "f.onnx").run(None, inputs)
    assert torch.allclose(torch.from_numpy(item), wanted, atol=1e-4)


def test_a_sequence_in_parts_has_the_logits_of_the_whole(tmp_path: Path) -> None:
    """Longer than it sees at once: what is older is left out of what goes in again."""
    model, spec = made("lm")
    assert isinstance(model, TransformerModel)
    export(model, spec, ABOUT, "onnx", tmp_path / "lm.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "lm.onnx")
    tokens = torch.randint(7, 20, (2, 40))
    memory = model.begin(2, {})
    wanted = torch.cat([model.advance(memory, part) for part in tokens.split(5, 1)], 1)
    shapes = {port.name: [size if isinstance(size, int) else {"batch": 2, "past": 0}[size] for size in port.shape]
              for port in session.get_inputs() if port.name not in ("tokens", "position")}  # fmt: skip
    state = {"past": torch.zeros(shapes["past"]), "before": torch.zeros(shapes["before"]),
             "recent": torch.zeros(shapes["recent"], dtype=torch.long)}  # fmt: skip
    read = 0
    for part in tokens.split([5, 1, 7, 1, 1, 14, 10, 1], 1):
        told = {"tokens": part, "position": torch.tensor(read), **state}
        logits, *after = (torch.from_numpy(one) for one in session.run(None, {k: v.numpy() for k, v in told.items()}))
        assert torch.allclose(logits, wanted[:, read : read + part.shape[1]], atol=1e-4)
        state = dict(zip(("past", "recent", "before"), after, strict=True))
        state["past"] = state["past"][..., -(model.context - 1) :, :]
        read += part.shape[1]


def test_weights_of_8_bits_say_what_they_cost(tmp_path: Path) -> None:
    for name, word in (("vae", "on average"), ("lm", "nats a prediction")):
        model, spec = made(name)
        small = tmp_path / f"{name}.onnx"
        found = export(model, spec, ABOUT, "onnx", small, int8=True)
        assert word in found.said[1] and "8 bits" in found.said[1]
        types = {one.data_type for one in onnx.load(small).graph.initializer}
        assert onnx.TensorProto.UINT8 in types


@pytest.mark.parametrize("to", ["onnx", "safetensors"])
def test_what_computes_something_else_is_not_written(
    to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    model, spec = made("vae")
    assert isinstance(model, Exports)
    (graph,) = model.graphs()

    def run(*inputs: Tensor) -> list[Tensor]:
        off = 0.0 if torch.compiler.is_compiling() else 2e-4  # as if tracing had lost something
        return [one + off for one in graph.run(*inputs)]

    monkeypatch.setattr(type(model), "graphs", lambda self: (replace(graph, run=run),))
    with pytest.raises(MaquetteError, match="disagrees"):
        export(model, spec, ABOUT, to, tmp_path / f"m.{to}")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("name", "to", "file", "asked", "said"),
    [
        ("vae", "onx", "m.onnx", {}, "Did you mean 'onnx'"),
        ("vae", "onnx", "m.txt", {}, "ends in .onnx"),
        ("vae", "onnx", "m.onnx", {"steps": 3}, "steps"),
        ("vae", "safetensors", "m.safetensors", {"int8": True}, "--int8 is of onnx"),
        ("vae", "safetensors", "a-b.safetensors", {}, "no name of a Python file"),
        ("flow", "onnx", "m.onnx", {"sampler": "dopri5"}, "finds its steps"),
        ("flow", "onnx", "m.onnx", {"sampler": "hoin"}, "hoin"),
        ("flow", "onnx", "m.onnx", {"steps": 0}, "steps"),
    ],
)
def test_what_is_asked_wrongly(
    name: str, to: str, file: str, asked: dict[str, Any], said: str, tmp_path: Path
) -> None:  # fmt: skip
    model, spec = made(name)
    with pytest.raises(UserError, match=said):
        export(model, spec, ABOUT, to, tmp_path / file, **asked)
    assert not [*tmp_path.iterdir()]


def test_options_are_those_that_are_settled() -> None:
    assert [option.name for option in options(made("flow")[0])] == ["sampler", "steps"]
    assert [option.name for option in options(made("latent")[0])] == ["sampler", "steps"]
    assert options(made("vae")[0]) == ()


def test_a_family_that_cannot_leave_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot leave"):
        export(Model(), PICTURES, ABOUT, "onnx", tmp_path / "m.onnx")


def test_without_onnx_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model, spec = made("vae")
    with pytest.raises(UserError, match=r"maquette\[export\]"):
        export(model, spec, ABOUT, "onnx", tmp_path / "m.onnx")


def test_graph_is_what_a_family_says() -> None:
    (graph,) = made("flow")[0].graphs()  # type: ignore[operator]
    assert isinstance(graph, Graph) and [port.name for port in graph.inputs] == ["noise", "label", "guidance"]
