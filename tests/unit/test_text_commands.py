"""What the commands do and say of texts: notes before training, remedies that help, files that come out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from maquette import api, training
from maquette.cli import resume, train
from maquette.cli.main import cli
from maquette.cli.watch import describe
from maquette.core.errors import UserError
from maquette.core.generator import build_model
from maquette.modalities.text import RULE

SMALL = ("model.layers=1", "model.width=16", "model.embedding=16", "model.attention=none", "data.text.tokenizer=char")
GERMAN = [f"{n} Mädchen größer als der Bär über dem Fluß" for n in range(40)]
ENGLISH = [f"{n} girls taller than the bear above the river" for n in range(40)]


def lines(texts: list[str]) -> str:
    return "".join(f"{text}\n" for text in texts)


def trained(data: Path, out: Path, *settings: str, said: list[str] | None = None, **asked: Any) -> Path:
    """A run as training leaves it, its weights as they began. said: takes up what people are told."""
    asked.setdefault("given", "none")
    recipe = api.resolve_recipe("text/seq2seq", data, settings=[*SMALL, *settings], **asked)
    folder, _ = training.prepare(recipe, out, [].append if said is None else said.append)
    folder.write_weights(build_model(folder.recipe(), folder.spec()).state_dict(), step=0)
    return out


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Pairs in Latin-1, of which one row lacks a cell."""
    rows = ["en\tde", *("\t".join(pair) for pair in zip(ENGLISH, GERMAN, strict=True)), "alone"]
    (tmp_path / "pairs.tsv").write_bytes(lines(rows).encode("latin-1"))
    return tmp_path / "pairs.tsv"


@pytest.fixture
def poems(tmp_path: Path) -> Path:
    """A run of a model of text given its form."""
    rows = [{"text": text, "form": ("long", "short")[i % 2]} for i, text in enumerate(ENGLISH * 2)]
    (tmp_path / "poems.jsonl").write_text(lines([json.dumps(row) for row in rows]))
    return trained(tmp_path / "poems.jsonl", tmp_path / "poems", given="form")


@pytest.fixture
def story(tmp_path: Path) -> Path:
    """A run of a language model."""
    (tmp_path / "story.txt").write_text(lines(ENGLISH))
    return trained(tmp_path / "story.txt", tmp_path / "story", "data.text.context=16")


@pytest.fixture
def translator(tmp_path: Path) -> Path:
    """A run of a model from German to English, whose data names splits."""
    (tmp_path / "pairs").mkdir()
    for split, part in (("train", slice(30)), ("val", slice(30, 35)), ("test_2016_flickr", slice(35, 40))):
        (tmp_path / "pairs" / f"{split}.en").write_text(lines(ENGLISH[part]))
        (tmp_path / "pairs" / f"{split}.de").write_text(lines(GERMAN[part]))
    return trained(tmp_path / "pairs", tmp_path / "en", given="de", target="en")


def asked(*args: str | Path, text: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, [str(arg) for arg in args], input=text)


def refused(*args: str | Path) -> UserError:
    error = asked(*args).exception
    assert isinstance(error, UserError), error
    return error


# -- before training -----------------------------------------------------------------------------------


def test_training_says_what_was_guessed_and_left_out_before_it_names_the_run(table: Path, tmp_path: Path) -> None:
    said: list[str] = []
    trained(table, tmp_path / "a", said=said, given="en", target="de")
    told = "\n".join(said)
    assert "de given en: " in told and said[-1] == f"Run folder: {tmp_path / 'a'}"
    assert "Note: 1 of 41 left out: 'pairs.tsv:42' (1 cell, where the table has 2 columns)." in told
    assert "Note: 'pairs.tsv' is read as Windows-1252, as it seems: not UTF-8." in told
    shown = asked("data", "inspect", table).output
    assert "--target de --given en" in shown and "is read as Windows-1252" in shown


@pytest.mark.parametrize("wrong", [{"data": "nowhere"}, {"recipe": "text/lm", "target": "fr"}])
def test_what_is_refused_leaves_and_names_no_folder(table: Path, tmp_path: Path, wrong: dict[str, str]) -> None:
    out = tmp_path / "runs" / "a"
    words = ("train", wrong.get("recipe", "text/lm"), "--data", wrong.get("data", str(table)), "-o", str(out))
    done = asked(*words, *(("--target", wrong["target"]) if "target" in wrong else ()))
    assert isinstance(done.exception, UserError) and "Run folder" not in done.output
    assert not out.parent.exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    assert "other files" in str(refused("train", "text/lm", "--data", "nowhere", "-o", tmp_path / "full"))


def test_data_in_the_folder_of_data_is_named_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tinyshakespeare").mkdir()
    monkeypatch.setenv("MAQUETTE_DATA", str(tmp_path))
    for name in ("tinyshakespeare", "tinyshakspeare"):
        remedy = refused("data", "inspect", name).remedy
        assert f"Did you mean '{tmp_path / 'tinyshakespeare'}'?" in remedy and remedy.count("fashion-mnist") == 1
    assert "Did you mean 'mnist'?" in refused("data", "inspect", "mnits").remedy


def test_one_of_several_processes_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "load", lambda run: type("Run", (), {"resume": lambda self, **how: None})())
    assert train.leads() and "Trained: a" in CliRunner().invoke(resume.command, ["a"]).output
    assert "Trained" not in CliRunner().invoke(resume.command, ["a", "--processes", "2"]).output
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, says in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        assert ("Trained: a" in CliRunner().invoke(resume.command, ["a"]).output) is says


def test_losses_of_text_are_shown_in_their_unit() -> None:
    line = {"step": 10, "items_per_s": 5.0, "seconds": 2.0, "nll/loss": 2.5, "nll/nats_per_token": 1.25}
    assert describe(line, None) == "step 10  nll 1.250 nats per token  5 items/s"
    assert describe({"step": 10, "items_per_s": 5.0, "d/loss": 2.5, "g/loss": 1.0}, None).count("nats") == 0


# -- remedies ------------------------------------------------------------------------------------------


def test_members_that_cannot_write_together_are_named_both(story: Path, translator: Path, tmp_path: Path) -> None:
    def error(*members: Path) -> UserError:
        named = ", ".join(map(str, members))
        return refused("train", "text/cooperative", "--data", "x", "-o", tmp_path / "b", f"model.members=[{named}]")

    lost = error(story, tmp_path / "nosuch")
    assert "There is no run at" in lost.problem and "model.members=[" in lost.remedy and "image" not in lost.remedy
    other = error(story, translator)
    assert str(story) in other.problem and str(translator) in other.problem and "data.text" in other.remedy


def test_a_critic_of_a_translator_is_told_to_give_the_source(translator: Path, tmp_path: Path) -> None:
    error = refused("train", "text/writer-critic", "--data", tmp_path / "pairs", "--target", "en",
                    "-o", tmp_path / "b", f"model.members=[{translator}]")  # fmt: skip
    assert "needs the column 'de'" in error.problem and "--given de" in error.remedy


def test_what_is_asked_of_the_wrong_run(story: Path, translator: Path, poems: Path) -> None:
    for more in ((), ("--unconditional",), ("--stream",)):
        assert "maquette translate RUN" in refused("sample", translator, *more).remedy
    assert "knows no labels" in refused("sample", story, "--pattern", "form").problem
    assert "form is that of a label" in refused("sample", poems, "--pattern", "form", "--unconditional").problem
    assert "unconditional" in refused("sample", story, "--unconditional").remedy
    assert "surrogate" in refused("sample", story, "--prompt", "a\udced").problem
    error = refused("evaluate", translator, "--data", "test_2016")
    assert "Did you mean 'test_2016_flickr'?" in error.remedy and "(test_2016_flickr, val)" in error.remedy


@pytest.mark.parametrize("option", [["--grid"], ["--steps", "3"]])
def test_options_of_pictures_are_refused_for_texts(story: Path, option: list[str]) -> None:
    done = asked("sample", story, *option)
    assert done.exit_code == 2 and option[0] in done.output and "makes texts" in done.output


# -- what comes out ------------------------------------------------------------------------------------


def test_several_texts_in_one_file_have_lines_between_them_and_say_where_they_come_from(
    poems: Path, tmp_path: Path
) -> None:
    for name in ("all.txt", "some.txt.gz"):
        assert asked("sample", poems, "-n", "3", "--max-tokens", "9", "-o", tmp_path / name).exit_code == 0
        data = (tmp_path / name).read_bytes()
        made = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
        assert made.count(f"\n{RULE}\n") == 2 and made.startswith("[")
        about = json.loads((tmp_path / name.partition(".")[0]).with_suffix(".json").read_text())
        assert about["Source"] == "AI-generated" and (about["items"], about["seed"]) == ("3", "0")
    assert asked("sample", poems, "-n", "3", "--max-tokens", "9", "--stream").output.count(RULE) == 2
    error = refused("sample", poems, "-o", tmp_path / "x.png")
    assert "x.png" in error.problem and ".txt" in error.remedy and not (tmp_path / "x.png").exists()


def test_translating_names_the_encoding_that_was_read_and_packs_what_it_writes(
    translator: Path, tmp_path: Path
) -> None:
    source, note = tmp_path / "in.de", "is read as Windows-1252"
    source.write_bytes(lines(GERMAN[:2]).encode("latin-1"))
    done = asked("translate", translator, "--input", source, "-o", tmp_path / "out.gz", "--beam", "1")
    assert f"'in.de' {note}" in done.output
    assert gzip.decompress((tmp_path / "out.gz").read_bytes()).count(b"\n") == 2
    done = asked("translate", translator, "--beam", "1", text=lines(GERMAN[:2]).encode("latin-1"))
    assert f"'standard input' {note}" in done.output


def test_a_verb_gives_any_given_column(tmp_path: Path) -> None:
    """Beside --label, which is one of a class: by the column's name, checked as `maquette sample` checks it."""
    rows = [
        {"de": de, "en": en, "form": ("long", "short")[i % 2], "year of print": 1900 + i * 1.5}
        for i, (de, en) in enumerate(zip(GERMAN, ENGLISH, strict=True))
    ]
    (tmp_path / "rows.jsonl").write_text(lines([json.dumps(row) for row in rows]))
    run = trained(tmp_path / "rows.jsonl", tmp_path / "run", given=["de", "form", "year of print"], target="en")
    (tmp_path / "in.de").write_text(lines(GERMAN[:2]))
    ask = ("translate", run, "--input", tmp_path / "in.de", "--beam", "1")
    asked(*ask, "--given", "form=short", "--given", "year of print=1910", "-o", tmp_path / "out.en")
    about = json.loads((tmp_path / "out.json").read_text())
    assert (about["form"], about["year of print"]) == ("short", "1910")
    for wrong, says in {
        "form": "names no column", "form=tall": "no class 'tall'", "year of print=x": "not a number",
        "forn=long": "without forn", "de=x": "is what is translated",
    }.items():  # fmt: skip
        assert says in refused(*ask, "--given", wrong).problem
    assert "twice" in refused(*ask, "--given", "form=long", "--given", "form=short").problem
    said = " ".join(asked("sample", run, "--help").output.split())
    assert "made from. [required]" in said and "[default: not known]" in said
