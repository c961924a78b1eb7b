"""Words of a received run, whatever they are, do nothing to a terminal, a page or the name of a file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import maquette
from PIL import Image

from maquette.core.shown import cleaned

RUNS = Path(__file__).parents[1] / "fixtures" / "run-format-1"
# What moves a cursor, sets a title, makes a link; turns the direction of writing; is not seen; ends a line elsewhere.
MARKS = (
    "\x1b[2J", "\x1b]0;title\x07", "\x1b]8;;http://e.vil\x1b\\", "\x9b31m", "\x00\x08\r\x7f", "\u202egnp.exe\u202c",
    "\u2066a\u2069\u200e\u200f\u061c", "a\u200bb\u2060\ufeff", "\u2028\u2029\x85", "\U000e0041", "\u3164",
    "[red]x[/red]",
    "[link=http://e.vil]y[/link]", "<script>alert(1)</script>", "](http://e.vil)", "$\\frac{1}{2}$",
    "=cmd|' /C calc'!A0",
    "../../../x", "CON", "a/b\\c", "$(touch pwned)`touch pwned`", "n" * 300,
)  # fmt: skip
EVERY = "".join(MARKS)


def of_words(path: Path) -> str:
    """What a person may read of a file that was written. What a model wrote is there as it wrote it."""
    if path.suffix == ".png":
        with Image.open(path) as picture:
            return "\n".join(map(str, picture.info.items()))
    return "" if path.suffix in (".webp", ".gif", ".safetensors", ".lock", ".txt") else path.read_bytes().decode()


def check(words: str) -> None:
    assert cleaned(words) == words, ascii(words)


@pytest.fixture(params=["grid", "tokens"])
def received(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A run folder in which every word that can be is hostile."""
    folder = Path(shutil.copytree(RUNS / request.param, tmp_path / "runs" / "a\x1b[31m\u202eb"))
    spec: dict[str, Any] = json.loads((folder / "spec.json").read_text())
    if "label" in spec["columns"]:
        spec["columns"]["label"]["classes"] = [f"{i}{EVERY}" for i in range(3)]
    (folder / "spec.json").write_text(json.dumps(spec, ensure_ascii=False))
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["about"] = recipe["data"]["source"] = EVERY
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    data = json.loads((folder / "data.json").read_text())
    (folder / "data.json").write_text(json.dumps(hostile(data), ensure_ascii=False))
    alarm = {"alarm": EVERY, "step": 3, "saw": EVERY, "advice": EVERY}
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps(alarm, ensure_ascii=False) + "\n")
    return folder


def hostile(value: Any) -> Any:
    """The same structure with hostile words in it."""
    if isinstance(value, dict):
        return {key: hostile(part) for key, part in value.items()}
    if isinstance(value, list):
        return [hostile(part) for part in value]
    return f"{value}{EVERY}" if isinstance(value, str) and "/" not in value and len(value) < 12 else value


def test_a_received_run(received: Path, tmp_path: Path) -> None:
    before = {*tmp_path.rglob("*")}
    out = tmp_path / "out"
    for verb in (
        ["sample", received, "-n", "2", "-o", out / "items/"], ["sample", received, "-n", "2", "-o", out / "one.txt"],
        ["sample", received, "--help"], ["sample", received, "--label", EVERY], ["sample", received, EVERY],
        ["report", received], ["watch", received, "--once"], ["compare", received, received, "-o", out / "c.html"],
        ["runs", tmp_path], ["runs", tmp_path, "--json"], ["evaluate", received], ["resume", received],
        ["sample", tmp_path / EVERY], ["train", EVERY, "--data", EVERY], ["data", "inspect", EVERY], [EVERY],
    ):  # fmt: skip
        done = maquette(*(str(word).replace("\0", "") for word in verb), cwd=tmp_path)
        check(done.stdout + done.stderr)
        assert "fault of ours" not in done.stderr, done.stderr
        assert done.returncode == 0 or verb[0] not in ("report", "watch", "compare", "runs"), done.stderr
        if "--json" in verb:
            assert json.loads(done.stdout)[0]["data"] == EVERY
    written = [path for path in tmp_path.rglob("*") if path not in before and path.is_file()]
    assert any(path.name == "report.html" for path in written)
    for path in written:
        name = path.relative_to(received if path.is_relative_to(received) else tmp_path)
        check(str(name))
        assert len(path.name.encode()) < 200 and path.name[0] != "-"
        check(of_words(path))
    assert not [*tmp_path.rglob("pwned")]
