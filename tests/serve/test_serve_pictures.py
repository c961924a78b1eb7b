"""Pictures over HTTP: OpenAI's client unmodified, and the bytes of `maquette sample`, whoever else asks."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from served import Server

import maquette
from maquette.serve import watch

LABELS = ("0", "3", "7", None)


def sampled(run: Path, to: Path, n: int, seed: int, label: str | None, **asked: Any) -> list[bytes]:
    """The files of `maquette sample`."""
    given = {} if label is None else {"label": label}
    return [p.read_bytes() for p in maquette.load(run).sample(n, seed=seed, quiet=True, **given, **asked).save(to)]


def made(server: Server, model: str, **asked: Any) -> list[bytes]:
    asked = {"prompt": "", **asked}
    return [base64.b64decode(one.b64_json or "") for one in server.openai.images.generate(model=model, **asked).data]


def test_the_bytes_are_those_of_sample_whoever_asks_beside(server: Server, tmp_path: Path) -> None:
    asked = [("flow" if k % 3 else "more/gan", LABELS[k % 4], 1 + k % 5, k % 7) for k in range(48)]
    before = sum(s.value for m in watch.BATCH.collect() for s in m.samples if s.name.endswith("_count"))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(
            lambda one: made(server, one[0], prompt=one[1] or "", n=one[2], extra_body={"seed": one[3]}), asked
        ))  # fmt: skip
    for k, (model, label, n, seed) in enumerate(asked):
        assert answers[k] == sampled(server.runs / model, tmp_path / str(k), n, seed, label), asked[k]
    after = sum(s.value for m in watch.BATCH.collect() for s in m.samples if s.name.endswith("_count"))
    assert after - before < len(asked), "requests share passes"


def test_a_run_s_own_options_are_fields(server: Server, tmp_path: Path) -> None:
    more = {"seed": 2, "steps": 2, "guidance": 1.5, "sampler": "euler"}
    own = {name: more[name] for name in ("steps", "guidance", "sampler")}
    assert made(server, "flow", prompt="5", extra_body=more) == sampled(
        server.runs / "flow", tmp_path, 1, 2, "5", **own
    )
    assert made(server, "flow", extra_body={"label": 5}) == made(server, "flow", prompt="5")


def test_every_answer_says_where_it_comes_from(server: Server) -> None:
    from PIL import Image

    answer = server.openai.images.generate(model="flow", prompt="4", n=2, output_format="webp", extra_body={"seed": 9})
    assert [(one.item, one.seed, one.run, one.source) for one in answer.data] == [  # type: ignore[attr-defined]
        (i, 9, "flow", "AI-generated") for i in range(2)
    ]
    assert answer.data[0].given == {"label": "4"}  # type: ignore[attr-defined]
    png = Image.open(io.BytesIO(made(server, "flow", prompt="4")[0]))
    assert png.info["Source"] == "AI-generated" and png.info["run"] == "flow" and png.info["seed"] == "0"


def test_pictures_of_a_batch_come_as_they_are_made(server: Server) -> None:
    events = list(server.openai.images.generate(model="flow", prompt="", n=3, stream=True, extra_body={"seed": 1}))
    assert [event.type for event in events] == ["image_generation.completed"] * 3
    files = {event.item: base64.b64decode(event.b64_json) for event in events}  # type: ignore[union-attr]
    assert [files[i] for i in range(3)] == made(server, "flow", n=3, extra_body={"seed": 1})


def test_models_are_listed_and_say_what_they_can_be_asked(server: Server) -> None:
    assert [model.id for model in server.openai.models.list()] == ["flow", "lm", "more/gan"]
    found = server.openai.models.retrieve("more/gan").to_dict()
    fields = found["endpoints"]["/v1/images/generations"]["properties"]  # type: ignore[index]
    assert fields["label"]["anyOf"][0]["enum"] == list("0123456789") and "guidance" not in fields
    assert (
        "steps" in server.openai.models.retrieve("flow").to_dict()["endpoints"]["/v1/images/generations"]["properties"]
    )  # type: ignore[index]
