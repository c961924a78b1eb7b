"""Nothing connects that was not named in the command, and nothing that lies in a folder is executed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from commands import fails_clearly, maquette, process
from PIL import Image

import maquette as face
from maquette.cli.main import verbs
from trained import Trained

pytestmark = pytest.mark.e2e
GUARDED = Path(__file__).parents[1] / "guarded"
HOSTILE = """
torch numpy scipy yaml click typing csv email json zipfile pydantic rich safetensors accelerate PIL queue uuid tempfile
sklearn seaborn matplotlib
"""


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Whatever would start a program or connect is refused, in this process and those that it starts; and it fails the
    test."""
    import guarded.sitecustomize  # noqa: F401

    monkeypatch.syspath_prepend(str(GUARDED))
    monkeypatch.setenv("MAQUETTE_TEST_DEEDS", str(tmp_path / "deeds"))
    monkeypatch.setenv("MAQUETTE_TEST_FOREIGN", str(tmp_path))
    yield tmp_path
    monkeypatch.delenv("MAQUETTE_TEST_DEEDS")
    deeds = tmp_path / "deeds"
    assert not deeds.exists(), deeds.read_text()


@pytest.fixture
def plain(trained: Trained, tmp_path: Path) -> Path:
    return trained.copy(trained("image/vae-mlp"), tmp_path / "run")


def changed(run: Path, **train: object) -> Path:
    """A run as somebody else may have made it."""
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    source = train.pop("source", recipe["data"]["source"])
    recipe["data"]["source"], recipe["train"] = source, recipe["train"] | train
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    return run


def test_the_guard_sees_what_it_must(tmp_path: Path) -> None:
    script = tmp_path / "deed.py"
    environment = {**os.environ, "PYTHONPATH": str(GUARDED), "MAQUETTE_TEST_DEEDS": str(tmp_path / "deeds")}
    for deed in (
        "import socket; socket.create_connection(('192.0.2.1', 80), 1)",
        "import urllib.request; urllib.request.urlopen('http://example.org')",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.system('true')",
    ):
        script.write_text(deed)
        assert subprocess.run([sys.executable, script], env=environment, capture_output=True, check=False).returncode
    assert len((tmp_path / "deeds").read_text().splitlines()) == 4
    with socket.create_server(("127.0.0.1", 0)) as server:
        script.write_text(f"import socket; socket.create_connection(('localhost', {server.getsockname()[1]}))")
        assert not subprocess.run([sys.executable, script], env=environment, check=False).returncode


def test_every_verb_works_without_a_network(guarded: Path, plain: Path, trained: Trained) -> None:
    pairs, lines = guarded / "pairs", guarded / "lines.txt"
    pairs.mkdir()
    for end in ("en", "de"):
        (pairs / f"train.{end}").write_text("".join(f"{n} {end} {n % 7}\n" for n in range(60)))
    lines.write_text("1 en 2\n")
    small = ("model.width=16", "train.batch_size=4", "data.text.vocab=300")
    writer = trained("text/seq2seq", pairs, "target=[de]", "given=[en]", *small, steps=2)
    Image.new("L", (8, 8)).save(guarded / "one.png")
    recipe, new = guarded / "mine.yaml", guarded / "new"
    recipe.write_text(maquette("recipes", "show", "image/vae-mlp").stdout)
    asked = [
        ("demo", "-o", guarded / "demo", "--budget", "10s", "-q"),
        ("data", "inspect", "digits", "-o", guarded / "preview.png"),
        ("recipes",),
        ("train", recipe, "--data", "digits", "--steps", "2", "-o", new, "-q"),
        ("resume", new, "--steps", "3", "-q", "--tracker", "tensorboard"),
        ("resume", new, "--steps", "5", "-q", "--processes", "2"),
        ("watch", new, "--once"),
        ("sample", new, "-n", "2", "-o", guarded / "made"),
        ("edit", new, "variations", guarded / "one.png", "-o", guarded / "varied"),
        ("export", new, "--to", "safetensors", "-o", guarded / "new.safetensors"),
        ("translate", writer, "--input", lines),
        ("summarise", writer, "--input", lines),
        ("evaluate", new, "-n", "60", "-q"),
        ("report", new, "-q"),
        ("report", writer, "-q", "--for-sharing"),
        ("compare", new, plain, "-o", guarded / "compared.html"),
        ("runs", "list", guarded),
        ("cache",),
        ("completion", "zsh"),  # of bash, click asks for its version
    ]
    for words in asked:
        done = maquette(*words)
        assert done.returncode == 0, (words, done.stderr)
    assert {str(words[0]) for words in asked} == {*verbs()} - {"serve"}, (
        "serve answers until it is stopped: tests/serve"
    )


@pytest.mark.parametrize("source", ["fashion-mnist", "hf:somebody/something"])
def test_what_a_received_file_names_is_not_fetched(guarded: Path, plain: Path, source: str) -> None:
    changed(plain, source=source, steps=22)
    for verb in ("evaluate", "resume"):
        assert source in fails_clearly(verb, plain, says="--fetch")
    (guarded / "a.yaml").write_text((plain / "recipe.yaml").read_text())
    assert source in fails_clearly("train", guarded / "a.yaml", "-o", guarded / "b", says="--fetch")
    assert not (guarded / "b").exists()
    with pytest.raises(face.UserError, match=source):
        face.load(plain).dataset()
    for words in (("report", plain, "-q"), ("sample", plain, "-n", "1"), ("compare", plain, plain)):
        assert maquette(*words).returncode == 0


def test_what_is_asked_for_by_name_is_fetched(plain: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each way of asking ends at the server, which is not there."""
    monkeypatch.setenv("MAQUETTE_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MAQUETTE_DATA", raising=False)
    recipe = tmp_path / "a.yaml"
    recipe.write_text((changed(plain, source="mnist", steps=22) / "recipe.yaml").read_text())
    for words in (
        ("evaluate", plain, "--fetch"),
        ("evaluate", plain, "--data", "mnist"),
        ("resume", plain, "--fetch"),
        ("resume", plain, "--data", "mnist"),
        ("train", recipe, "--fetch", "-o", tmp_path / "b"),
        ("train", recipe, "data.source=mnist", "-o", tmp_path / "b"),
        ("train", recipe, "--data", "mnist", "-o", tmp_path / "b"),
    ):
        fails_clearly(*words, says="could not be downloaded")


@pytest.mark.parametrize(
    ("trackers", "says"),
    [
        (["nothere"], "no tracker 'nothere'"),
        (["all"], "no tracker 'all'"),
        (["os.path"], "no tracker 'os.path'"),
        (["tensorboard", "wandb"], "--tracker wandb"),
    ],
)
def test_what_a_received_file_names_is_not_started(guarded: Path, plain: Path, trackers: list[str], says: str) -> None:
    changed(plain, trackers=trackers, steps=22)
    before = (plain / "log.jsonl").read_bytes()
    fails_clearly("resume", plain, says=says)
    shutil.copy(plain / "recipe.yaml", guarded / "a.yaml")
    fails_clearly("train", guarded / "a.yaml", "--data", "digits", "-o", guarded / "b", says=says)
    assert (plain / "log.jsonl").read_bytes() == before and not (guarded / "b").exists()
    assert maquette("resume", plain, "--tracker", "none", "-q").returncode == 0
    assert not (plain / "tracking").exists()


@pytest.mark.parametrize(
    "words", [("resume", ".", "--processes", "2", "-q"), ("sample", ".", "-n", "1"), ("report", ".", "-q")]
)
def test_nothing_that_lies_in_a_run_is_executed(
    plain: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(plain, steps=22)
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", "") + os.pathsep)  # with an empty entry
    for name in HOSTILE.split():
        (plain / f"{name}.py").write_text("open('executed', 'w')\nraise ImportError('executed')\n")
    (plain / "matplotlibrc").write_text("text.usetex: True\nbackend: module://torch\n")
    done = process(*words, cwd=plain)
    assert done.returncode == 0, done.stderr
    assert not (plain / "executed").exists()


def test_a_recipe_does_not_choose_what_is_imported(guarded: Path, plain: Path) -> None:
    words = (plain / "recipe.yaml").read_text().replace("family: vae", "family: antigravity")
    (plain / "recipe.yaml").write_text(words)
    (guarded / "a.yaml").write_text(words)
    fails_clearly("train", guarded / "a.yaml", "--data", "digits", "-o", guarded / "b", says="MAQUETTE_FAMILIES")
    for verb in ("sample", "evaluate", "report", "resume"):
        fails_clearly(verb, plain, says="MAQUETTE_FAMILIES")
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("name", [".owner", "log.jsonl", "samples", "samples/preview-00000000.png"])
def test_nothing_is_written_or_read_through_a_link(plain: Path, name: str) -> None:
    """What a received run holds leads to nothing of the user's."""
    own = plain.with_name("own")
    own.write_text("precious")
    if (plain / name).is_dir():
        shutil.rmtree(plain / name)
    (plain / name).unlink(missing_ok=True)
    (plain / name).symlink_to(own)
    for words in (("resume", plain, "--steps", "22"), ("sample", plain), ("report", plain), ("evaluate", plain)):
        fails_clearly(*words, says="leads out of the run")
    assert own.read_text() == "precious"
    (plain / name).unlink()
    (plain / "alias.yaml").symlink_to("recipe.yaml")
    assert maquette("sample", plain, "-n", "1", "-o", plain.with_name("made")).returncode == 0


@pytest.mark.parametrize("name", ["weights.safetensors", "samples/preview-00000000.png", "README.md", ".lock"])
def test_no_pipe_of_a_received_run_is_waited_for(plain: Path, name: str) -> None:
    """Who reads a pipe that nobody writes into waits for ever."""
    (plain / name).unlink(missing_ok=True)
    os.mkfifo(plain / name)
    for words in (("sample", plain), ("report", plain)):
        fails_clearly(*words, says="is a pipe or a device")
    assert maquette("runs", plain.parent).returncode == 0
