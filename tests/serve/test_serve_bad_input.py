"""What cannot be served is said in one sentence of OpenAI's shape, before anything is made."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from served import Server, refused

from maquette.core.run import RunFolder

PICTURES, TEXTS = "/v1/images/generations", "/v1/completions"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"guidnce": 2}, "Did you mean 'guidance'?"),
        ({"n": 10**9}, "n = 1000000000 is not possible. It must be a whole number from 1 up to 256."),
        ({"n": 0}, "n = 0"),
        ({"n": "2"}, "n = "),
        ({"n": True}, "n = true"),
        ({"seed": 2**64}, "seed = 18446744073709551616"),
        ({"seed": -1}, "seed = -1"),
        ({"prompt": "x" * 10**6}, "prompt = "),
        ({"prompt": "11"}, "It must be '1', perhaps."),
        ({"size": "1024x1024"}, "It must be one of auto, 8x8."),
        ({"prompt": "3", "label": "4"}, "say the same"),
        ({"steps": 0}, "steps = 0"),
        ({"label": 10}, "label = 10"),
        ({"model": 7}, "'model' is missing"),
    ],
)
def test_fields(server: Server, body: dict[str, Any], says: str) -> None:
    server.refuses(PICTURES, 422, says, **{"model": "flow", **body})


def test_texts(server: Server) -> None:
    server.refuses(TEXTS, 422, "in characters that the model knows", model="lm", prompt="漢")
    server.refuses(TEXTS, 422, "of 32 characters at most", model="lm", prompt="a" * 100)
    assert server.post(TEXTS, model="lm", max_tokens=2, stop=None).status_code == 200
    server.refuses(TEXTS, 422, "max_tokens", model="lm", max_tokens=10**9)
    server.refuses(TEXTS, 422, "0 or a value from 0.001", model="lm", temperature=1e-9)
    server.refuses(TEXTS, 422, "makes pictures, and no texts", model="flow", prompt="a")
    server.refuses(PICTURES, 422, "makes texts, and no pictures", model="lm", prompt="a")


BODIES = (b"", b"{", b"[]", b'{"n": NaN}', b"\xff", b"[" * 10**5, b'{"seed": 1e999}', b'"\\ud800"', b'{"n": 1, "n": 2}')


@pytest.mark.parametrize("body", BODIES)
def test_bodies(server: Server, body: bytes) -> None:
    answer = server.http.post(PICTURES, content=body, headers={"Content-Type": "application/json"})
    refused(answer, answer.status_code, "")
    assert answer.status_code in (400, 422)


def test_a_long_or_deep_body_keeps_nobody_waiting(server: Server) -> None:
    server.refuses(TEXTS, 422, "A list holds 64 values at most here.", model="lm", stop=[0] * 30_000)
    deep: list[Any] = []
    for _ in range(64):
        deep = [deep]
    server.refuses(PICTURES, 400, "nested too deeply", model="flow", label=deep)
    body = b"[ " * 2 + b" " * 10**5  # what looks for depth must not go back and forth in it
    assert server.http.post(PICTURES, content=body, headers={"Content-Type": "application/json"}).status_code == 400


def test_a_whole_number_may_be_written_as_another(server: Server) -> None:
    whole = server.post(PICTURES, model="flow", prompt="", n=2, label=7, seed=3, steps=2)
    point = server.post(PICTURES, model="flow", prompt="", n=2.0, label=7.0, seed=3.0, steps=2.0)
    assert point.status_code == 200 and point.json()["data"] == whole.json()["data"]
    assert server.post(TEXTS, model="lm", max_tokens=2.0, logprobs=2.0).status_code == 200
    server.refuses(PICTURES, 422, "n = 1.5", model="flow", n=1.5)


def test_our_own_fault_has_the_same_shape(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.room.catalogue, "describe", lambda name: 1 / 0)
    server.refuses(PICTURES, 500, "a fault of ours", model="flow", prompt="")


def test_what_is_not_there(server: Server) -> None:
    server.refuses(PICTURES, 404, "Did you mean 'flow'?", model="flaw", prompt="")
    server.refuses(PICTURES, 404, "There is no model", model="../../etc", prompt="")
    refused(server.http.get("/v1/nothing"), 404, "nothing at this path")
    refused(server.http.put("/v1/models"), 405, "does not take that method")
    refused(server.http.post(PICTURES, content=b"a=b"), 415, "must be JSON")
    refused(server.http.post(PICTURES, json={"model": "flow"}, headers={"Host": "evil.example"}), 421, "--allow-host")
    refused(server.http.get("/v1/models", headers={"Origin": "https://evil.example"}), 403, "--origin")


def picture(side: int, colour: int = 90) -> bytes:
    made = io.BytesIO()
    Image.new("L", (side, side), colour).save(made, "PNG")
    return made.getvalue()


def test_files_that_are_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def sent(data: dict[str, str], **files: bytes) -> httpx.Response:
        return server.http.post("/v1/images/edits", data={"model": "flow", **data}, files=list(files.items()))

    good = picture(8)
    refused(sent({}, image=good, mask=picture(9)), 422, "'mask' is 9x9; this model takes 8x8")
    refused(sent({}, image=b"", mask=good), 422, "The file 'image' is empty.")
    refused(sent({}, image=b"no picture", mask=good), 422, "'file 1' cannot be read")
    refused(sent({}, image=good), 422, "'mask' is missing")
    refused(sent({}, mask=good), 422, "'image' is missing")
    refused(sent({"edit": "sharpen"}, image=good), 422, "It can upscale, inpaint, restore")
    refused(sent({"n": "1000000"}, image=good, mask=good), 422, "n = 1000000")
    two = [("image", good), ("image", good)]
    long = {"model": "flow", "edit": "interpolate", "frames": "257"}
    refused(server.http.post("/v1/images/edits", data=long, files=two), 422, "up to 256")
    refused(sent({"steps": "10001"}, image=good, mask=good), 422, "steps = 10001")
    assert sent({"size": "8x8", "prompt": "3", "steps": "2"}, image=good, mask=picture(8, 255)).status_code == 200
    refused(sent({"size": "9x9"}, image=good, mask=good), 422, "It must be one of auto, 8x8.")
    refused(sent({"out": "/etc/passwd"}, image=good, mask=good), 422, "takes no 'out' here")
    refused(sent({"model": "more/gan"}, image=good, mask=good), 422, "It changes no files that are sent.")
    monkeypatch.setenv("MAQUETTE_DECODE_LIMIT", "1MB")
    refused(sent({}, image=picture(3000), mask=good), 422, "once decoded")


def test_runs_that_cannot_be_served_stop_no_other(
    serve: Callable[..., Server], runs: Path, tmp_path: Path
) -> None:  # fmt: skip
    for name in ("whole", "damaged", "newer", "foreign", "begun", "unfit"):
        shutil.copytree(runs / "flow", tmp_path / name)
    weights = tmp_path / "damaged" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    (tmp_path / "begun" / "weights.safetensors").unlink()
    folder = RunFolder(tmp_path / "unfit")
    folder.write_weights({name: value[:1] for name, value in folder.weights().items() if value.ndim}, step=4)
    for name, file, was, now in (("newer", "spec.json", '"format": 1', '"format": 9'),
                                 ("foreign", "recipe.yaml", "family: flow", "family: evil")):  # fmt: skip
        (tmp_path / name / "manifest.json").unlink()
        changed = tmp_path / name / file
        changed.write_text(changed.read_text().replace(was, now))
    server = serve(tmp_path)
    why = {one["id"]: one.get("reason", "") for one in server.http.get("/v1/models").json()["data"]}
    assert why["whole"] == "" and "no weights yet" in why["begun"] and "damaged or was changed" in why["damaged"]
    assert "run of format 9" in why["newer"] and "not part of Maquette" in why["foreign"]
    assert "does not fit the recipe beside it" in why["unfit"] and str(tmp_path) not in str(why)
    server.refuses(PICTURES, 409, "'weights.safetensors' does not fit", model="unfit", prompt="")
    server.refuses(PICTURES, 409, "no weights yet", model="begun", prompt="")
    assert server.post(PICTURES, model="whole", prompt="").status_code == 200
    assert server.room.catalogue.loaded == ["whole"]
