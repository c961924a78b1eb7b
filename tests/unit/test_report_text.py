"""The report, the comparison and the model card of models of text, on fake runs."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toy_text_family as toy
from maquette.core.about import About
from maquette.core.batch import Batch
from maquette.core.data_config import DataConfig
from maquette.core.find import find_modality
from maquette.core.generator import Generator
from maquette.core.recipe import Recipe, TrainConfig
from maquette.core.run import RunFolder
from maquette.core.table import Dataset
from maquette.evaluation import evaluate
from maquette.modalities.text import RULE
from maquette.modalities.text.report.alignment import alignment_maps
from maquette.modalities.text.report.passages import nearest_passages
from maquette.modalities.text.report.tiles import preview_texts
from maquette.modalities.text.report.tokens import coloured, named, percent, shade
from maquette.report import compare, write_report
from maquette.report.card import write_card
from maquette.report.facts import trained_at
from maquette.report.log import read_log
from maquette.report.page import language
from maquette.report.previews import previews, stages, uncaption

NASTY = "</script><script>alert(1)</script> {{ 7*7 }} <b>&"
WORDS = ("sea", "hill", "town", "field", "river", "garden", "road", "wood")


def sentence(i: int) -> str:
    a, b, c = (WORDS[j] for j in np.random.default_rng(i).integers(8, size=3))
    return f"from the {a} to the {b} they went by the {c}."


POEM = "床前明月光，\n疑是地上霜。\n舉頭望明月，\n低頭思故鄉。"  # noqa: RUF001
TRAIN, TEST = [*map(sentence, range(120)), NASTY], [*map(sentence, range(500, 560)), NASTY]


def data_of(kind: str) -> tuple[Dataset, tuple[str, ...]]:
    if kind == "windows":
        return toy.windows("\n".join(TRAIN), "\n".join(TEST), context=32), ()
    if kind == "label":
        y = [i % 2 for i in range(len(TRAIN))]
        return toy.lines(TRAIN, TEST, labels=(y, y[: len(TEST)])), ("label",)
    if kind == "source":
        return toy.lines(TRAIN, TEST, sources=(TRAIN, TEST)), ("source",)
    return toy.lines(TRAIN, TEST), ()


def fake_run(
    path: Path, kind: str = "lines", measured: bool = True, **config: Any
) -> tuple[RunFolder, Generator, Dataset]:
    """A finished run of the toy family, as the engine leaves it."""
    data, given = data_of(kind)
    folder = RunFolder(path)
    path.mkdir(parents=True)
    model, spec = toy.trained(data, toy.Config(**config), given)
    folder.write_recipe(
        Recipe(about="Bigrams, for tests", family="toy_text_family", target=("text",), given=given,
               data=DataConfig(source="lines"), model=dict(config), train=TrainConfig(steps=100, batch_size=8))
    )  # fmt: skip
    folder.write_spec(spec)
    folder.write_data({"source": "lines", "fingerprint": data.fingerprint, **data.summary})
    folder.write_weights(model.state_dict(), step=0)
    log = [{"step": s, "seconds": s / 10, "items": 8 * s, "lm/loss": 3 - s / 60, "preview/held_out_nats": 3 - s / 80}
           for s in range(0, 101, 10)]  # fmt: skip
    folder.log_file.write_text("".join(json.dumps(line) + "\n" for line in log))
    folder.samples.mkdir()
    for step in (0, 20, 50, 80, 100):
        (folder.samples / f"preview-{step:08d}.txt").write_text(f"at step {step} {NASTY}\n")
    generator = Generator(model, spec)
    if measured:
        folder.write_metrics(evaluate(generator, data, samples=25).model_dump(mode="json"))
    return folder, generator, data


def page_of(folder: RunFolder, generator: Generator, data: Dataset | None, **options: Any) -> str:
    return write_report(folder, generator, data, **options).read_text(encoding="utf-8")


def parts(page: str) -> set[str]:
    return {name for name in ("samples", "classes", "metrics", "tokens", "agents", "alignment", "neighbours",
                              "reconstructions", "plane", "walks", "previews")
            if f'<section id="{name}">' in page}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "config", "more"),
    [("lines", {}, {"neighbours"}), ("windows", {}, {"neighbours"}), ("label", {}, {"neighbours", "classes"}),
     ("source", {}, {"alignment"}), ("lines", {"agents": True}, {"neighbours", "agents"}),
     ("source", {"aligns": False}, set())],
)  # fmt: skip
def test_the_page_has_what_the_model_can_do_and_no_more(
    kind: str, config: dict[str, Any], more: set[str], tmp_path: Path
) -> None:
    page = page_of(*fake_run(tmp_path / "run", kind, **config))
    assert parts(page) == {"samples", "metrics", "tokens", "previews", *more}
    assert "could not be made" not in page and "pictures" not in page.partition("<body>")[2].partition("<script>")[0]
    assert ("<script>alert" not in page and "{{ 7*7 }}" in page) or kind == "windows"
    assert "&lt;/script&gt;" in page
    assert "at step 0" in page and "at step 50" in page and "at step 100" in page and "at step 20" not in page
    assert "Bits per character" in page and "nats/character" in page and 'class="p0"' in page
    assert f'href="#{min(more | {"tokens"})}"' in page
    if "agents" in config:
        assert "even &lt;one&gt;" in page and 'class="run-1"' in page


def test_without_data_or_numbers_it_says_so(tmp_path: Path) -> None:
    folder, generator, _ = fake_run(tmp_path / "run", measured=False)
    page = page_of(folder, generator, None)
    assert "Not measured yet" in page and "which was not at hand" in page and "What it wrote" in page
    folder, generator, _ = fake_run(tmp_path / "pairs", "source", measured=False)
    assert "What to make something from is in the data" in page_of(folder, generator, None)


@pytest.mark.parametrize("kind", ["lines", "windows", "source"])
def test_no_text_of_the_data_is_in_a_report_for_sharing(kind: str, tmp_path: Path) -> None:
    folder, generator, data = fake_run(tmp_path / "run", kind)
    known = (*TRAIN[:-1], *TEST[:-1])
    page = page_of(folder, generator, data)
    seen = re.sub("<[^>]+>", "", page)
    assert "Not for sharing as it is." in page and (kind == "windows" or any(text in seen for text in known))
    page = page_of(folder, generator, data, for_sharing=True)
    seen = re.sub("<[^>]+>", "", page)
    assert "Made for sharing." in page and (kind == "source" or not any(text in seen for text in known))
    assert kind != "source" or not parts(page) & {"samples", "alignment", "previews"}  # this model repeats its source
    assert parts(page) >= {"metrics", "tokens"} and "Held-out text</h3>" not in page


def test_a_broken_model_costs_its_sections_only(tmp_path: Path) -> None:
    folder, generator, data = fake_run(tmp_path / "run", measured=False)
    generator.model.config.broken = True
    page = page_of(folder, generator, data)
    assert "shapes &lt;cannot&gt; be multiplied" in page and '<section id="training">' in page


def test_the_search_is_used_for_translations(tmp_path: Path) -> None:
    folder, generator, data = fake_run(tmp_path / "run", "source", measured=False)
    known = data.train.columns["text"].take(np.array([3]))
    page = page_of(folder, generator, data, best=lambda given: known.expand(len(given["source"]), -1))
    assert page.count(f'<p class="written" dir="auto" lang="">{TRAIN[3]}</p></figure></dd>') == 12


def test_colours_are_those_of_the_probabilities() -> None:
    assert [shade(float(np.log(p))) for p in (0.9, 0.5, 0.3, 0.1, 0.02, 0.005, 1e-5)] == [
        "p0", "p0", "p1", "p2", "p3", "p4", "p5"]  # fmt: skip
    assert percent(float(np.log(0.5))) == "50 %" and percent(float(np.log(0.012))) == "1.2 %"
    data = toy.lines(["ab", "ab"], ["ab"])
    model, spec = toy.trained(data)
    (text,) = coloured(Generator(model, spec), model, "text", data.test.columns["text"].values, {})
    assert [piece.text for piece in text.pieces] == ["a", "b", "¶"]
    score = model.token_log_prob(Batch({"text": data.test.columns["text"].values}))[0].detach()
    assert text.nats == pytest.approx(-float(score[:3].mean())) and f"{-score[1]:.2f} nats" in text.pieces[1].says


def test_maps_are_of_the_source_and_the_target() -> None:
    data = toy.lines(["abc"], ["ab", "c"], sources=(["abc"], ["ab", "c"]))
    model, spec = toy.trained(data, given=["source"])
    second, first = alignment_maps(Generator(model, spec), model, data.test.batch(np.array([0, 1]), spec))
    assert first.source == ["a", "b", "¶"] == first.target and second.target == ["c", "¶"]
    assert {(c.x, c.y, c.weight) for c in first.cells} == {(0, 0, 1.0), (1, 1, 1.0), (2, 2, 1.0)}


def test_the_nearest_passage_is_the_one_that_was_copied() -> None:
    data = toy.lines(TRAIN, TEST)
    mixed = "xyzzy " + TRAIN[17][5:40] + " plugh"
    data_x = toy.lines([*TRAIN, "xyzzy plugh"], TEST)
    found = nearest_passages([mixed, "qqqqqqqqqq"], data_x, "text", TEST[:5])
    row = found.rows[0]
    assert TRAIN[17][5:40] in "".join(part.text for part in row.sample if part.shared)
    assert row.longest >= 35 and 0 < row.share < 1 and "".join(part.text for part in row.sample) == mixed
    assert any(part.shared for part in row.passage) and found.rows[1].share == 0 and found.rows[1].passage == []
    assert 0 < found.typical <= 1
    assert nearest_passages([TRAIN[17]], data, "text").rows[0].share == 1


def test_a_poem_keeps_its_lines_and_long_text_its_places() -> None:
    data = toy.lines([POEM, "春眠不覺曉\n處處聞啼鳥。"], [POEM])
    (row,) = nearest_passages(["白日依山盡。\n明月光疑是地上"], data, "text").rows
    passage = "".join(part.text for part in row.passage)
    assert POEM.startswith(passage) and "\n" in passage and row.longest == 7
    assert [part.text for part in row.sample if part.shared] == ["明月光疑是地上"]
    assert [part.text for part in row.passage if part.shared] == [POEM[2:11]]
    text = "\n".join(TRAIN)
    (row,) = nearest_passages([TRAIN[60]], toy.windows(text, text, context=32), "text").rows
    assert re.search(r"(?<! token 0), line \d+, character \d+$", row.where)


def test_texts_say_their_language_where_their_script_tells() -> None:
    assert [language(text) for text in ("五绝", "ひらがな", "word", "")] == ["zh", "ja", "", ""]


def test_logged_values_of_members_have_their_names(tmp_path: Path) -> None:
    folder, *_ = fake_run(tmp_path / "run", measured=False)
    members = {"members": ["/x/lm", {"run": "/y/rnn"}]}
    folder.write_recipe(Recipe(about="", family="cooperative", target=("text",), model=members))
    keys = ("gate/member_0", "gate/member_1", "critic/accuracy", "critic/nats")
    folder.log_file.write_text(json.dumps({"step": 1, "seconds": 1, **dict.fromkeys(keys, 0.5)}) + "\n")
    notes = {curve.key: curve.note for curve in read_log(folder).curves}
    assert "of lm alone" in notes["gate/member_0"] and "of rnn alone" in notes["gate/member_1"]
    assert "0.5 is guessing" in notes["critic/accuracy"] and "0.69" in notes["critic/nats"]


def test_what_it_means_that_a_critic_chose() -> None:
    agents, how = named(["lm", "critic"], {"way": "critic", "candidates": 8, "block": 4})
    assert agents == ["lm, first draft", "lm, a draft that the critic preferred"]
    assert "8 drafts of 4 tokens" in how and "in 88 % of them" in how
    assert named(["a", "b"], {"way": "experts"})[0] == ["a", "b"] and "chose it" in named(["a", "b"], {})[1]


def test_the_date_of_training_is_no_date_of_a_file(tmp_path: Path) -> None:
    folder, *_ = fake_run(tmp_path / "run", measured=False)
    assert trained_at(folder, read_log(folder)) is None and "| Trained |" not in write_card(folder).read_text()
    tracked = folder.path / "tracking"
    tracked.mkdir()
    (tracked / "events.out.tfevents.1700000000.host.1.0").touch()
    assert trained_at(folder, read_log(folder)) == datetime.fromtimestamp(1_700_000_000)
    with folder.log_file.open("a") as log:
        log.write(json.dumps({"step": 101, "time": 1_700_000_500.0}) + "\n")
    assert trained_at(folder, read_log(folder)) == datetime.fromtimestamp(1_700_000_500)


def test_stages_are_the_first_the_middle_and_the_last(tmp_path: Path) -> None:
    folder, generator, _ = fake_run(tmp_path / "run", measured=False)
    spec = generator.spec
    assert [stage.step for stage in stages(folder, spec, "text")] == [0, 50, 100]
    for step in (1, 2, 3, 4):  # by step, not by number
        (folder.samples / f"preview-{step:08d}.txt").write_text(f"one\n{RULE}\ntwo\n{RULE}\n" + "x" * 2000)
    assert [stage.step for stage in stages(folder, spec, "text")] == [0, 50, 100]
    (folder.samples / "preview-00000000.txt").unlink()
    assert "two" in stages(folder, spec, "text")[0].html
    assert preview_texts(previews(folder, spec, "text")[0][1], captioned=False) == [("", "one"), ("", "two")]
    assert stages(RunFolder(tmp_path / "none"), spec, "text") == []


def test_cards_show_text_safely_and_how_to_get_more(tmp_path: Path) -> None:
    for kind, command in (("lines", "maquette sample . -n 4"), ("source", "maquette translate . --input FILE"),
                          ("label", "--label 'class 0'")):  # fmt: skip
        folder, *_ = fake_run(tmp_path / kind, kind)
        card = write_card(folder).read_text(encoding="utf-8")
        assert command in card and "at step 100" in card and "Bits per character" in card
        assert "can be untrue" in card and "pictures" not in card


def test_runs_of_unlike_tokens_are_compared_by_the_character(tmp_path: Path) -> None:
    from maquette.evaluation.results import Evaluation

    a, *_ = fake_run(tmp_path / "a")
    b, *_ = fake_run(tmp_path / "b")
    found = Evaluation.load(b.metrics_file)
    settings = found.settings.model_copy(update={"network": "bpe-300-0000", "fingerprint": "other"})
    b.write_metrics(found.model_copy(update={"settings": settings}).model_dump(mode="json"))
    amounts = {"columns": {"text": {"characters": 500, "train_characters": 400, "unit": "char"}}, "train": 40}
    a.write_data({"source": "lines", "fingerprint": "one", **amounts})
    b.write_data({"source": "lines", "fingerprint": "other", **amounts})
    comparison = compare([a, b])
    verdicts = {row.name: row.verdict for row in comparison.metrics}
    assert verdicts["nats_per_token"] == verdicts["perplexity"] == "unlike"
    assert verdicts["bits_per_char"] == verdicts["nats_per_char"] == "overlap" and comparison.same_data
    assert any("different tokenizers" in note for note in comparison.notes)
    page = compare([a, b]).save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "at step 100" in page and "<script>alert" not in page


def test_no_source_is_in_what_is_given_away(tmp_path: Path) -> None:
    folder, generator, data = fake_run(tmp_path / "run", "source")
    other, _, _ = fake_run(tmp_path / "other", "source")
    column, source = data.test.columns["text"], "a secret [source]\nof two lines"
    for path in folder.samples.glob("preview-*.txt"):
        modality = find_modality(column.spec.kind)
        modality.preview(column.take(np.arange(3)), path, column.spec, [source] * 3, About())
    card = write_card(folder).read_text(encoding="utf-8")
    assert "two lines" not in card and sentence(500) in card and "--for-sharing" in card
    page = compare([folder, other]).save(tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "two lines" not in page and sentence(500) in page
    assert any("two lines" in path.read_text(encoding="utf-8") for path in folder.samples.iterdir())
    uncaption(folder)
    assert not any("two lines" in path.read_text(encoding="utf-8") for path in folder.samples.iterdir())
    assert next(text for _, text in preview_texts(next(folder.samples.glob("preview-*100.txt")), True)) == sentence(500)
    write_report(folder, generator, data, for_sharing=True)
