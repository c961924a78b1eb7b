"""Texts, the whole way, with the commands of the README: on small texts that are made here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import fails_clearly, maquette, process

pytestmark = pytest.mark.e2e
SMALL = ("model.width=32", "model.layers=1", "train.trackers=[]", "train.preview_items=2", "-q")
PLACES = ("the sea", "a hill", "the old town", "a green field", "the river", "our garden", "the market", "a far land")
BEASTS = {"cat": "Katze", "dog": "Hund", "horse": "Pferd", "bird": "Vogel", "fish": "Fisch", "wolf": "Wolf"}
DOES = {"sleeps": "schläft", "runs": "rennt", "eats": "frisst", "waits": "wartet", "sings": "singt"}


def succeeds(*args: str | Path, **kwargs: object) -> str:
    done = maquette(*args, **kwargs)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long text of simple sentences."""
    path = tmp_path_factory.mktemp("texts") / "story.txt"
    lines = [
        f"The {beast} {does} by {PLACES[(3 * i + 5 * j + k) % len(PLACES)]}."
        for k in range(12) for i, beast in enumerate(BEASTS) for j, does in enumerate(DOES)
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parallel files: a sentence in English, and in German."""
    folder = tmp_path_factory.mktemp("texts") / "pairs"
    folder.mkdir()
    said = [(f"{n} {b} {d}", f"{n} {BEASTS[b]} {DOES[d]}") for n in range(1, 9) for b in BEASTS for d in DOES]
    for language, k in (("en", 0), ("de", 1)):
        (folder / f"train.{language}").write_text("".join(f"{p[k]}\n" for p in said[:200]), encoding="utf-8")
        (folder / f"test.{language}").write_text("".join(f"{p[k]}\n" for p in said[200:]), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def lm(story: Path) -> Path:
    run = story.parent / "lm"
    succeeds("train", "text/lm", "--data", story, "-o", run, "--steps", "40", "data.text.context=32",
             "train.batch_size=8", "model.heads=2", *SMALL)  # fmt: skip
    return run


@pytest.fixture(scope="session")
def translator(pairs: Path) -> Path:
    run = pairs.parent / "de"
    succeeds("train", "text/seq2seq", "--data", pairs, "--given", "en", "--target", "de", "-o", run, "--steps", "30",
             "train.batch_size=8", "data.text.vocab=300", *SMALL)  # fmt: skip
    return run


def test_a_language_model_continues_a_prompt_and_the_seed_decides(lm: Path) -> None:
    ask = ("sample", lm, "--prompt", "The cat", "--temperature", "0.8", "--top-p", "0.95", "--max-tokens", "40")
    first, again = succeeds(*ask), succeeds(*ask)
    assert first == again and first.startswith("The cat") and len(first) == len("The cat") + 40 + 1
    assert succeeds(*ask, "--seed", "1") != first
    assert succeeds(*ask, "--stream") == first
    fails_clearly(*ask, "--stream", "--format", "txt", says="leave out -o and --format")


def test_several_texts_go_to_files_that_say_where_they_come_from(lm: Path, tmp_path: Path) -> None:
    succeeds("sample", lm, "-n", "3", "--max-tokens", "20", "-o", tmp_path / "out")
    files = sorted((tmp_path / "out").glob("*.txt"))
    assert len(files) == 3 and all(f.read_text(encoding="utf-8") for f in files)
    about = json.loads(next((tmp_path / "out").glob("*.json")).read_text())
    assert about["Source"] == "AI-generated" and about["run"] == "lm"


def test_a_text_ends_before_a_stop_word(lm: Path) -> None:
    out = succeeds("sample", lm, "-n", "1", "--prompt", "The", "--stop", "e", "--max-tokens", "60")
    assert "e" not in out[len("The") :]


def test_evaluation_and_report(lm: Path) -> None:
    succeeds("evaluate", lm, "-q")
    metrics = {m["name"]: m for m in json.loads((lm / "metrics.json").read_text())["metrics"]}
    assert metrics["nats_per_token"]["low"] <= metrics["nats_per_token"]["value"] <= metrics["nats_per_token"]["high"]
    succeeds("report", lm)
    assert "<img" not in (lm / "report.html").read_text(encoding="utf-8").split("Samples")[0]


def test_lines_in_lines_out(translator: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.en"
    source.write_text("1 cat sleeps\n\n3 dog runs\n", encoding="utf-8")
    succeeds("translate", translator, "--input", source, "-o", tmp_path / "out.de", "--beam", "3")
    lines = (tmp_path / "out.de").read_text(encoding="utf-8").split("\n")
    assert len(lines) == 4 and lines[1] == "" and lines[3] == ""
    about = json.loads((tmp_path / "out.json").read_text())
    assert about["Source"] == "AI-generated" and (about["items"], about["run"]) == ("3", "de")
    piped = process("translate", translator, "--beam", "3", input=source.read_text(encoding="utf-8"))
    assert piped.stdout.split("\n") == lines, piped.stderr
    greedy = succeeds("summarise", translator, "--input", source, "--beam", "1")
    assert len(greedy.split("\n")) == 4


def test_a_named_split_is_evaluated(translator: Path) -> None:
    succeeds("evaluate", translator, "--data", "test", "-q")
    names = {m["name"] for m in json.loads((translator / "metrics.json").read_text())["metrics"]}
    assert {"bleu", "chrf", "nats_per_token"} <= names


def test_what_cannot_be_done_is_said(lm: Path, translator: Path, story: Path, pairs: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.txt"
    long.write_text("1 cat\n" + "cat " * 3000 + "\n", encoding="utf-8")
    fails_clearly("translate", translator, "--input", long, says="Line 2 has")
    fails_clearly("translate", lm, "--input", long, says="not trained on pairs")
    fails_clearly("sample", translator, says="maquette translate")
    fails_clearly("sample", lm, "--prompt", "中", says="中")
    fails_clearly("sample", lm, "--prompt", "cat " * 100, says="the model sees 32 at once")
    fails_clearly("sample", lm, "--temperature", "-1", says="temperature")
    fails_clearly("sample", lm, "--infill", "a [gap] b", says="has no option --infill")
    fails_clearly("train", "text/seq2seq", "--data", pairs, "--given", "en", "--target", "fr", says="fr")
    fails_clearly("train", "image/gan", "--data", story, "-o", tmp_path / "no", says="holds no pictures")
