"""The report, the comparison and the model card, on fake runs."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import math
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from PIL import Image

from maquette.core.about import About
from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.run import RunFolder
from maquette.core.section import Markup, Missing
from maquette.core.spec import DataSpec, GridSpec
from maquette.core.table import Dataset, Table
from maquette.evaluation.results import MINUS, NONE, Evaluation, number
from maquette.modalities.image.config import Spec as ImageSpec
from maquette.modalities.image.features import comparable
from maquette.modalities.image.report.tiles import tiles, to_bytes
from maquette.report import compare, write_report
from maquette.report.card import escape, fenced, write_card
from maquette.report.compare import _settings
from maquette.report.figures import figure
from maquette.report.log import read_log
from maquette.report.metrics import View, read_evaluation, tick
from maquette.report.page import duration, fragment, plotly_js
from maquette.report.previews import write_animation
from maquette.report.report import in_order
from maquette.report.sections.latents import between
from maquette.report.sections.neighbours import find_neighbours
from maquette.report.view import RunView
from report_fakes import family
from report_fakes.folder import DIGITS, Rows, digits_data, fake_evaluation, fake_run

NASTY = (*DIGITS[:8], "</script><script>alert(1)</script>", '$5 <b>"猫"</b> {{ 7*7 }}')


class Page(HTMLParser):
    """What a browser would make of the page: ids, links, sources, scripts, pictures, headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.events: list[str] = []
        self.scripts: list[str] = []
        self.text = ""
        self.policy = ""
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.events += [name for name in found if name.startswith("on")]
        if "id" in found:
            self.ids.append(str(found["id"]))
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(found["content"])
        if tag == "a":
            self.links.append(str(found.get("href")))
        self.sources += [str(found[name]) for name in ("src", "srcset") if name in found]
        if tag == "img":
            self.pictures.append(found)
        if tag == "script":
            self.scripts.append("")
        self._script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts[-1] += data
        else:
            self.text += data


@pytest.fixture(scope="module")
def data() -> Dataset:
    return digits_data()


@pytest.fixture(scope="module")
def nasty() -> Dataset:
    return digits_data(NASTY)


def report(folder: RunFolder, dataset: Dataset | None, figures: bool = False) -> Page:
    """The page; without the figures for papers, which take longer than all the rest, unless they are asked for."""
    drawn: Any = contextlib.nullcontext() if figures else mock.patch("maquette.report.report.write_figures")
    with drawn:
        path = write_report(folder, Generator.load(folder), dataset)
    assert path == folder.report_file
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, nasty: Dataset) -> tuple[RunFolder, Page]:
    """A two-dimensional coder without labels, on classes with hostile names."""
    about = "A <script>alert(2)</script> & co"
    folder = fake_run(tmp_path_factory.mktemp("run") / "plane", nasty, "encodes", 2, conditional=False, about=about)
    return folder, report(folder, nasty, figures=True)


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory, nasty: Dataset) -> tuple[RunFolder, Page]:
    folder = fake_run(tmp_path_factory.mktemp("run") / "gan", nasty)
    return folder, report(folder, nasty)


def test_report_has_every_section_that_the_model_allows(plane: Any, gan: Any) -> None:
    always = {"samples", "metrics", "judge", "neighbours", "training", "alarms", "data", "recipe", "again"}
    assert always | {"reconstructions", "plane", "walks", "latent-scatter"} <= set(plane[1].ids)
    assert "classes" not in plane[1].ids  # it is unconditional
    assert always | {"classes"} <= set(gan[1].ids)
    assert not {"reconstructions", "plane", "walks"} & set(gan[1].ids)
    for _, page in (plane, gan):
        assert len(page.ids) == len(set(page.ids))
        assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_what_it_comes_to_stands_on_top_and_in_the_card(gan: Any) -> None:
    words = "Not yet like real pictures: 5 of 8 measures can tell. The worst is"
    assert words in gan[1].text and words in write_card(gan[0]).read_text(encoding="utf-8")
    assert "90.0% → 50.0% → 10.0%" in gan[1].text and "not seen" in gan[1].text
    assert re.search(r"differ a little from the floors\. Not tried:\s\w", gan[1].text)


def test_what_a_number_is_said_with_is_said_once_and_in_words(gan: Any) -> None:
    raw = gan[0].report_file.read_text(encoding="utf-8")
    assert "(p = " not in raw.partition("<script")[0]  # the sentence says it
    assert "<dt>own data</dt><dd>yes</dd>" in raw and "<dd>True</dd>" not in raw


def test_report_asks_nothing_of_a_network(plane: Any) -> None:
    _, page = plane
    assert all(source.startswith("data:image/") for source in page.sources)
    assert not {"iframe", "object", "embed", "video"} & set(page.tags)
    raw = plane[0].report_file.read_text(encoding="utf-8")
    assert "default-src 'none'" in page.policy and page.policy.count("sha256-") == 2
    assert re.findall(r"""<link[^>]*href="(?!data:)""", raw) == []
    assert len(raw) < 8e6


def test_report_escapes_user_text(plane: Any, gan: Any) -> None:
    for folder, page in (plane, gan):
        assert page.tags.count("script") == 3  # the charts' numbers, plotly.js and page.js
        assert page.events == []
        assert '$5 <b>"猫"</b> {{ 7*7 }}' in page.text
        assert "3/<img src=x onerror=alert(1)>.png" in page.text
        assert "</script><script>alert(1)" not in folder.report_file.read_text(encoding="utf-8")
    assert "A <script>alert(2)</script> & co" in plane[1].text


def test_charts_are_json_that_carries_hostile_names(plane: Any) -> None:
    charts = json.loads(plane[1].scripts[0])
    assert charts["latent-scatter"]["names"] == list(NASTY)
    curves = [chart for chart in charts.values() if chart["kind"] == "curve"]
    assert {line["name"] for chart in curves for line in chart["lines"]} == {""}
    assert all(len(line["x"]) <= 200 for chart in curves for line in chart["lines"])
    assert set(charts) <= set(plane[1].ids)


def test_plotly_cannot_end_its_script_early() -> None:
    assert "</script" not in plotly_js().lower()
    assert "<!--" not in plotly_js()


def test_figures_for_papers(plane: Any) -> None:
    names = {path.name for path in plane[0].figures.iterdir()}
    assert names == {"samples.png", "curves.png", "metrics.png", "reconstructions.png", "latent_plane.png"}
    for path in plane[0].figures.iterdir():
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) > 100


def test_metrics_alarms_and_left_out_files_are_shown(gan: Any) -> None:
    text = " ".join(gan[1].text.split())
    assert "Fréchet distance, own features" in text and "12.4" in text and "11.5 to 13.3" in text
    assert "vanishing gradient" in text and "lower the learning rate of d <model.d_lr>" in text
    assert "Only 297 held-out pictures" in text
    assert "truncated at byte 211" in text
    assert "own-1/7a31" in text


def test_missing_parts_say_which_command_makes_them(tmp_path: Path, data: Dataset) -> None:
    folder = fake_run(tmp_path / "run", data, "encodes", 4, measured=False)
    folder.data_file.unlink()
    folder.log_file.unlink()
    for path in folder.samples.iterdir():
        path.unlink()
    text = report(folder, None).text
    assert "maquette evaluate ." in text and "maquette report ." in text and str(tmp_path) not in text
    assert "maquette data inspect" in text
    assert "The log is empty" in text
    assert "No previews were kept" in text


def test_a_broken_ability_costs_only_its_own_section(tmp_path: Path, data: Dataset) -> None:
    page = report(fake_run(tmp_path / "run", data, "broken"), data)
    assert "RuntimeError: shapes <cannot> be multiplied" in page.text
    assert "samples" in page.ids and len(page.pictures) > 64


def test_damaged_files_are_survived(tmp_path: Path, data: Dataset) -> None:
    folder = fake_run(tmp_path / "run", data)
    folder.metrics_file.write_text("{", encoding="utf-8")
    next(folder.samples.glob("preview-*")).write_bytes(b"preview")
    (folder.samples / "training.gif").write_bytes(b"GIF89a")
    with folder.log_file.open("a") as file:
        file.write('[1]\n{"step": 99')
    text = report(folder, None).text
    assert "'metrics.json' is damaged or was changed" in text and "maquette evaluate ." in text


@pytest.mark.parametrize(("text", "problem"), [
    ("{", "'metrics.json' is damaged: Expecting property name enclosed in double quotes"),
    ('[{"name": "fid"}]', "'metrics.json' is not an evaluation: Input should be"),
    ('{"metrics": [{"name": "fid"}]}', "'metrics.json' is not an evaluation: metrics.0.title: Field required."),
])  # fmt: skip
def test_foreign_metrics_are_named_in_one_line(tmp_path: Path, data: Dataset, text: str, problem: str) -> None:
    folder = fake_run(tmp_path / "run", data)
    folder.metrics_file.write_text(text, encoding="utf-8")
    folder.manifest.record([folder.metrics_file])
    read = read_evaluation(folder)
    assert isinstance(read, Missing) and "\n" not in read.why
    assert read.why.startswith(problem) and read.command == "maquette evaluate ."
    other = fake_run(tmp_path / "other", data)
    assert f"run: {read.why} maquette evaluate run" in compare([folder, other]).notes
    card = write_card(folder).read_text(encoding="utf-8")
    assert escape(read.why) in card and str(tmp_path) not in card.split("## Training")[0]


def test_a_report_is_repeatable(tmp_path: Path, data: Dataset) -> None:
    folder = fake_run(tmp_path / "run", data)
    first, second = report(folder, data), report(folder, data)
    assert [p["src"] for p in first.pictures] == [p["src"] for p in second.pictures]


def test_colour_and_odd_channels(tmp_path: Path) -> None:
    colour = digits_data(channels=4)
    page = report(fake_run(tmp_path / "run", colour, "encodes", 2), colour)
    assert "reconstructions" in page.ids and "8 \N{MULTIPLICATION SIGN} 8 colour and transparency" in page.text
    assert len(tiles(torch.zeros(3, 2, 8, 8), ImageSpec(shape=(2, 8, 8)))) == 3


def test_large_pictures_stay_small_in_the_page() -> None:
    (tile,) = tiles(torch.rand(1, 3, 200, 300) * 2 - 1, ImageSpec(shape=(3, 200, 300)))
    assert 'src="data:image/webp' in tile and "px" not in tile.partition("style")[0].rpartition("alt")[2]
    assert 'width="144" height="96"' in tile
    (tile,) = tiles(torch.rand(1, 1, 28, 28) * 2 - 1, ImageSpec(shape=(1, 28, 28)), ['a "caption"'])
    assert 'src="data:image/png' in tile and 'class="px"' in tile and "width:56px" in tile
    assert 'alt="a &#34;caption&#34;"' in tile


def test_neighbours_find_a_copy(data: Dataset) -> None:
    real = data.train.columns["image"].take(torch.tensor([7]).numpy())
    noise = torch.randn(30, 1, 8, 8, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    table = find_neighbours(torch.cat([noise, real]), data, "image", 0, comparable)
    assert table.closest[0].ratio < 1e-3 and table.closest[0].rank == 0
    assert table.suspicious == pytest.approx(1 / 31)
    assert table.searched == 1500


def test_slerp_keeps_norms_and_ends() -> None:
    a, b = torch.randn(2, 64, generator=torch.Generator().manual_seed(1))
    path = between(a.expand(5, -1), b.expand(5, -1), torch.linspace(0, 1, 5))
    assert torch.allclose(path[0], a, atol=1e-4) and torch.allclose(path[-1], b, atol=1e-4)
    assert float(path[2].norm()) == pytest.approx(float(a.norm() + b.norm()) / 2, rel=0.01)
    straight = between(a[None, :2], b[None, :2], torch.tensor([0.5]))
    assert torch.allclose(straight, (a[None, :2] + b[None, :2]) / 2)


def test_log_of_a_resumed_run_counts_steps_once(tmp_path: Path) -> None:
    lines = [{"step": s, "seconds": s / 10, "items": 8 * s, "d/loss": float(s)} for s in (0, 10, 20, 30)]
    lines += [{"step": s, "seconds": s / 5, "items": 8 * s, "d/loss": -float(s)} for s in (20, 30, 40)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    log = read_log(RunFolder(tmp_path))
    (curve,) = log.curves
    assert curve.steps == [0, 10, 20, 30, 40]
    assert curve.mean == [0, 10, -20, -30, -40]
    assert (log.steps, log.seconds, log.items) == (40, 8.0, 320)


def test_non_finite_values_leave_a_gap(tmp_path: Path) -> None:
    text = '{"step": 1, "d/loss": NaN}\n{"step": 2, "d/loss": 1.0}\n'
    (tmp_path / "log.jsonl").write_text(text)
    (curve,) = read_log(RunFolder(tmp_path)).curves
    assert curve.mean[1] == 1.0 and curve.mean[0] != curve.mean[0]


def test_a_value_that_never_changes_is_flat(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    lines = [{"step": s, "a/same": 0.0, "a/moves": s} for s in (1, 2, 3)]
    folder.log_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert {curve.key: curve.flat for curve in read_log(folder).curves} == {"a/same": 0.0, "a/moves": None}


def test_to_bytes_clamps() -> None:
    x = torch.tensor([-9.0, -1, 0, 1, 9, float("nan")]).view(1, 1, 1, 6)
    assert to_bytes(x).ravel().tolist() == [0, 0, 128, 255, 255, 128]


def test_only_finite_numbers_are_shown(tmp_path: Path, data: Dataset) -> None:
    found, path = fake_evaluation(data), tmp_path / "metrics.json"
    frechet, *_, elbo = found.metrics
    odd = (
        frechet.model_copy(update={"floor": math.nan, "high": math.inf}),
        elbo.model_copy(update={"value": math.nan}),
    )
    found.model_copy(update={"metrics": odd}).save(path)
    read = read_evaluation(RunFolder(tmp_path))
    assert isinstance(read, Evaluation)
    (metric,) = read.metrics
    assert (metric.name, metric.floor, metric.high, metric.interval_text) == ("frechet", None, None, "")
    view = View.of(metric)
    assert view.standing == "" and view.scale.floor is None and view.metric.asks


def test_where_a_metric_stands(data: Dataset) -> None:
    views = {metric.name: View.of(metric, "pictures") for metric in fake_evaluation(data).metrics}
    assert {name: view.standing for name, view in views.items()} == {
        "frechet": "7.3 times as far as real", "kernel": "further off than real pictures",
        "precision": "short of real pictures", "recall": "short of real pictures",
        "coverage": "as good as real, within the error",
        "two_sample": "above real pictures", "class_accuracy": "as good as real, within the error",
        "copies": "no difference found, but the error is wide", "elbo": "",
    }  # fmt: skip
    assert (views["precision"].scale.left, views["precision"].scale.right) == (0, 1)
    assert [tick(views["copies"].metric, x) for x in (0.0, 0.2, 0.0125)] == ["0%", "20%", "1.25%"]


def test_a_metric_is_written_the_same_everywhere(tmp_path: Path, data: Dataset) -> None:
    folder, found = fake_run(tmp_path / "a", data), fake_evaluation(data)
    cells = {row.name: row.shown[0] for row in compare([folder, folder]).metrics}
    assert cells == {metric.name: metric.value_text for metric in found.metrics}
    assert found["elbo"].value_text == f"{MINUS}93.20 nats ({MINUS}94.00 to {MINUS}92.40)"
    assert found["precision"].value_text == "83.0% (80.0% to 86.0%)"
    assert found["precision"].show(1.0) == "100%" and found["frechet"].show(1.7) == "1.70"
    page = Page(compare([folder, folder]).save(tmp_path / "page.html").read_text(encoding="utf-8"))
    assert all(metric.interval_text in page.text for metric in found.metrics)


def test_numbers_as_people_write_them() -> None:
    assert [number(x) for x in (0, 1853.2, 57.54, 0.2911, -84.81, 2.1e-5, float("nan"))] == [
        "0", "1,853", "57.5", "0.291", f"{MINUS}84.8", "2.10e-05", NONE,
    ]  # fmt: skip
    assert [duration(x) for x in (4.21, 59.0, 598, 5400, None)] == ["4.2 s", "59 s", "9 min 58 s", "1 h 30 min", NONE]


# -- comparison ------------------------------------------------------------------------------------


def test_compare_tells_better_from_overlap(tmp_path: Path, data: Dataset) -> None:
    a = fake_run(tmp_path / "a", data)
    near = fake_run(tmp_path / "near", data, latent_dim=8, shift=1.0)
    far = fake_run(tmp_path / "far", data, shift=3.0)
    same = compare([a, near])
    assert (same.same_data, same.same_features) == (True, True)
    assert {row.name: row.verdict for row in same.metrics}["frechet"] == "overlap"
    assert dict(same.settings) == {"model.latent_dim": ("16", "8")}
    apart = {row.name: row for row in compare([a, far]).metrics}
    assert (apart["frechet"].verdict, apart["frechet"].best) == ("better", 0)
    assert (apart["precision"].verdict, apart["precision"].best) == ("better", 1)
    assert (apart["two_sample"].verdict, apart["two_sample"].best) == ("better", 0)
    assert all(len(row) == len(same.header) for row in same.rows())
    assert "model.latent_dim (setting)" in str(same)
    titles = [row[0] for row in same.rows()]
    assert titles[0] == same.metrics[0].title and titles.index("family") < titles.index("model.latent_dim (setting)")
    page = same.save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.index("<h2>Numbers") < page.index("<h2>At a glance") < page.index("<h2>Settings that differ")


def test_an_undertrained_run_is_called_so_beside_others(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = fake_run(tmp_path / "a", data), fake_run(tmp_path / "b", data)
    monkeypatch.setattr(
        importlib.import_module("maquette.report.compare"),
        "undertrained",
        lambda folder, run: "Undertrained: it saw 5 items" if folder.path.name == "b" else "",
    )
    assert "b: Undertrained: it saw 5 items" in compare([a, b]).notes


def test_settings_are_compared_within_a_family_and_where_all_have_them() -> None:
    def recipe(family: str, rate: float, **own: object) -> dict[str, object]:
        return {"about": f"of {family}", "family": family, "model": own, "train": {"rate": rate, "seed": 0}}

    gans = recipe("gan", 0.1, width=8, depth=1), recipe("gan", 0.1, width=16, depth=1, extra=2)
    vae = recipe("vae", 0.2, width=32, latent=4)
    assert dict(_settings(gans)) == {"model.width": ("8", "16"), "model.extra": (NONE, "2")}
    assert dict(_settings((gans[0], vae))) == {"train.rate": ("0.1", "0.2")}
    kept_time = {**gans[0], "train": {"rate": 0.1, "seed": 0, "course": [{"step": 0, "steps": 9}]}}
    assert not _settings((gans[0], kept_time))  # nobody set it
    assert dict(_settings((*gans, vae))) == {
        "model.width": ("8", "16", "32"), "model.extra": (NONE, "2", NONE), "train.rate": ("0.1", "0.1", "0.2"),
    }  # fmt: skip


def test_unlike_feature_networks_are_never_compared(tmp_path: Path, data: Dataset) -> None:
    a = fake_run(tmp_path / "a", data)
    b = fake_run(tmp_path / "b", data, shift=5.0, network="inception-fid/1")
    found = compare([a, b])
    assert found.same_features is False
    rows = {row.name: row for row in found.metrics}
    assert rows["frechet"].verdict == "unlike" and rows["frechet"].best is None
    assert rows["elbo"].verdict == "better"  # it needs no feature network
    assert any("feature networks" in note for note in found.notes)


def test_unlike_data_are_never_compared(tmp_path: Path, data: Dataset) -> None:
    a, b = fake_run(tmp_path / "a", data), fake_run(tmp_path / "b", data, shift=5.0)
    b.write_data({**b.data(), "fingerprint": "another"})
    found = compare([a, b])
    assert found.same_data is False and any("trained on different data" in note for note in found.notes)
    evaluation = Evaluation.load(b.metrics_file)
    settings = evaluation.settings.model_copy(update={"fingerprint": "another", "own_data": False})
    b.write_metrics(evaluation.model_copy(update={"settings": settings}).model_dump(mode="json"))
    found = compare([a, b])
    assert {row.verdict for row in found.metrics} == {"unlike"}
    assert any("judged on different data" in note and "not the data that the model" in note for note in found.notes)


def test_an_evaluation_on_another_split_is_no_training_on_other_data(tmp_path: Path, data: Dataset) -> None:
    a, b = fake_run(tmp_path / "a", data), fake_run(tmp_path / "b", data)
    found = Evaluation.load(b.metrics_file)
    settings = found.settings.model_copy(update={"source": "digits: val", "split": "val"})
    b.write_metrics(found.model_copy(update={"settings": settings}).model_dump(mode="json"))
    comparison = compare([a, b])
    assert comparison.same_data is True and not any("trained on" in note for note in comparison.notes)
    assert {row.verdict for row in comparison.metrics} == {"unlike"}
    assert any("b: pictures of the split 'val' of digits" in note for note in comparison.notes)


def test_better_than_real_is_no_better(tmp_path: Path, data: Dataset) -> None:
    """Of two runs beyond the floor neither is called better: blurred pictures lie among real ones more often."""
    a, b = fake_run(tmp_path / "a", data, shift=4.0), fake_run(tmp_path / "b", data, shift=9.0)
    assert {row.name: row.verdict for row in compare([a, b]).metrics}["precision"] == "overlap"
    found = Evaluation.load(b.metrics_file)
    aside = found["precision"].model_copy(update={"missed": ("blurred",)})
    b.write_metrics(found.model_copy(update={"metrics": (aside,)}).model_dump(mode="json"))
    assert {row.name: row.verdict for row in compare([a, b]).metrics}["precision"] == "aside"


def test_comparison_page(tmp_path: Path, nasty: Dataset) -> None:
    name = "<script>alert(3)<"
    a, b = fake_run(tmp_path / "a", nasty), fake_run(tmp_path / name, nasty, measured=False, steps=400)
    page = Page(compare([a, b]).save(tmp_path / "out" / "page.html").read_text(encoding="utf-8"))
    assert page.tags.count("script") == 3 and page.events == []
    assert f"{name}: Not measured yet. maquette evaluate" in page.text
    charts = json.loads(page.scripts[0])
    assert set(charts) <= set(page.ids) and len(charts) == 6
    assert [line["name"] for line in next(iter(charts.values()))["lines"]] == ["a", name]


def test_one_run_is_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two runs"):
        compare([RunFolder(tmp_path)])


def test_runs_of_one_name_are_told_apart(tmp_path: Path, data: Dataset) -> None:
    found = compare([fake_run(tmp_path / "x" / "run", data), fake_run(tmp_path / "y" / "run", data)])
    assert found.names == ("x/run", "y/run")


# -- model card ------------------------------------------------------------------------------------


def test_card_says_what_whence_and_how_well(gan: Any) -> None:
    text = write_card(gan[0]).read_text(encoding="utf-8")
    for part in ("# gan", "## Use it", "## Data", "## How good it is", "## What it is for", "## Training",
                 "AI-generated content", "maquette sample .", "maquette.load",
                 "| Fréchet distance, own features | 12.4",
                 "1.70", "samples/preview-00002000.png", "family: report_fakes.family"):  # fmt: skip
        assert part in text
    assert "\\<script\\>" in text and "<script>" not in text.split("## Training")[0].replace("\\<script\\>", "")


def test_card_of_an_unmeasured_run_and_without_the_owners_paths(tmp_path: Path, data: Dataset) -> None:
    folder = fake_run(tmp_path / "run", data, measured=False)
    recipe = folder.recipe()
    secret = "/home/jane/private/cats"
    folder.write_recipe(recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": secret})}))
    text = write_card(folder).read_text(encoding="utf-8")
    assert "Not measured yet" in text
    assert "jane" not in text and "cats" in text


def test_markdown_is_escaped() -> None:
    assert escape("a|b\n# c <b> [x](y) `z`") == r"a\|b \# c \<b\> \[x\](y) \`z\`"
    assert escape("1. one") == r"1\. one" and escape("- x") == r"\- x" and escape("16.0") == "16.0"
    assert escape("see http://x.y") == r"see http\://x.y"
    assert fenced("a\n````\nb").startswith("`````\n")


# -- any kind, several targets, and what may be given away ------------------------------------------


class Shouting:
    """A user's section, of the column or of the run."""

    id, title, after = "shout", "A section of one's own", "metrics"

    def make(self, run: RunView) -> Markup | None:
        html = fragment("<p>{{ n }} items of {{ kind }}, {{ words }}</p>", n=3, kind=run.target.kind, words="<b>&")
        return Markup(html, points=(("good", "It shouted."),), figures={"shout.png": self._draw})

    def _draw(self, path: Path) -> None:
        with figure(path, 1, 1, About(run="x")) as page:
            page.add_subplot()


@pytest.fixture
def chords(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A kind of somebody's own that knows nothing of pages: notes as real numbers, six of them an item."""
    kind = ModuleType("chords_of_mine")
    module: Any = kind
    module.KIND, module.NOUN, module.Config, module.PREVIEW_SUFFIX = "chords_of_mine", ("chord", "chords"), None, ".txt"

    class Spec(GridSpec):
        kind: str = "chords_of_mine"

    module.Spec = Spec
    module.sheet = lambda items, spec, captions=(): "\n".join(" ".join(f"{x:.1f}" for x in i.flatten()) for i in items)
    monkeypatch.setitem(sys.modules, "chords_of_mine", kind)
    return kind


def chord_run(path: Path, chords: Any) -> tuple[RunFolder, Dataset]:
    data = digits_data()
    spec = chords.Spec(shape=(1, 8, 8))
    tables = [
        Table({"image": Rows(spec, t.columns["image"].values), "label": t.columns["label"]}, t.names)  # type: ignore[attr-defined]
        for t in (data.train, data.test)
    ]
    data = dataclasses.replace(data, train=tables[0], test=tables[1])
    with mock.patch("report_fakes.folder._write_previews"):
        return fake_run(path, data, "encodes", 4, measured=False), data


def test_a_kind_without_tiles_is_shown_as_its_sheet(tmp_path: Path, chords: ModuleType) -> None:
    folder, data = chord_run(tmp_path / "run", chords)
    (folder.samples).mkdir()
    (folder.samples / "preview-00000010.txt").write_text("0.1 0.2\n")
    page = report(folder, data, figures=True)
    card = write_card(folder).read_text(encoding="utf-8")
    assert {"samples", "classes", "reconstructions", "walks", "previews"} <= set(page.ids)
    assert "8 chords as they come" in page.text and "Training chords" in page.text and "0.1 0.2" in page.text
    assert page.pictures == [] and "neighbours" not in page.ids  # nothing says how chords are compared
    said = page.text.partition("Report of a training run")[2].partition("Every setting of this run")[0]
    said += card.partition("## Training")[0].replace("image: chords", "")  # the column is called so
    assert not re.search(r"\b(pictures?|images?|pixels?|texts?)\b", said)
    assert "maquette sample . -n 16 --label 0" in card and "0.1 0.2" in card


def test_a_section_of_ones_own_appears_where_it_says(tmp_path: Path, chords: Any) -> None:
    chords.SECTIONS = (Shouting(),)
    folder, data = chord_run(tmp_path / "run", chords)
    page = report(folder, data, figures=True)
    sections = [name for name in page.ids if name in ("metrics", "shout", "reconstructions")]
    assert sections == ["metrics", "shout", "reconstructions"] and "#shout" in page.links
    assert "3 items of chords_of_mine, <b>&" in page.text and "It shouted." in page.text
    assert (folder.figures / "shout.png").is_file()


def test_sections_follow_one_another_even_in_a_circle() -> None:
    def section(name: str, after: str) -> Any:
        return SimpleNamespace(id=name, after=after)

    found = [section("c", "b"), section("a", ""), section("b", "a"), section("b2", "a"), section("lost", "nowhere"),
             section("x", "y"), section("y", "x")]  # fmt: skip
    assert [part.id for part, _ in in_order([(part, "") for part in found])] == ["a", "b", "c", "b2", "lost", "x", "y"]


class TwoTargets(family.Sampler):
    """Makes two columns of pictures at once: the second is the first, upside down."""

    def _make(self, z: Any, given: Any) -> dict[str, torch.Tensor]:
        made = super()._make(z, given)["image"]
        return {"image": made, "flip side": made.flip(2)}


def test_several_targets_have_their_own_sections(tmp_path: Path, data: Dataset) -> None:
    folder = fake_run(tmp_path / "run", data)
    spec = folder.spec()
    both = DataSpec(
        columns={**spec.columns, "flip side": spec.columns["image"]}, target=("image", "flip side"), given=("label",)
    )
    model = TwoTargets(family.Config(), spec)
    model.load_state_dict(Generator.load(folder).model.state_dict())
    folder.write_spec(both)
    generator = Generator(model, both)
    path = write_report(folder, generator, None)
    page = Page(path.read_text(encoding="utf-8"))
    assert len(page.ids) == len(set(page.ids))
    assert [name for name in page.ids if name.startswith("samples")] == ["samples-image-0", "samples-flip-side-1"]
    assert "Samples (image)" in page.text and "Samples (flip side)" in page.text and "By class (flip side)" in page.text
    assert {"samples-image-0.png", "samples-flip-side-1.png"} <= {file.name for file in folder.figures.iterdir()}
    card = write_card(folder).read_text(encoding="utf-8")
    assert "image: 8 " in card and "flip side: 8 " in card


def test_items_of_the_data_are_announced_and_left_out_for_sharing(tmp_path: Path) -> None:
    data = digits_data()
    folder = fake_run(tmp_path / "cats", data, "encodes", 4)
    open_page = report(folder, data)
    assert "Not for sharing as it is." in open_page.text and "“New, or copied?”, “Reconstructions”" in open_page.text
    rows = data.train.columns["image"].take(torch.arange(1500).numpy())
    real = tiles(rows, ImageSpec(shape=(1, 8, 8)))
    sources = {re.search('src="([^"]+)"', tile)[1] for tile in real}  # type: ignore[index]
    assert sources & {str(picture["src"]) for picture in open_page.pictures}
    write_report(folder, Generator.load(folder), data)
    assert (folder.figures / "reconstructions.png").is_file()

    path = write_report(folder, Generator.load(folder), data, for_sharing=True)
    shared = Page(path.read_text(encoding="utf-8"))
    assert "Made for sharing." in shared.text and "New, or copied?" in shared.text  # named, as left out
    assert not {"neighbours", "reconstructions"} & set(shared.ids) and {"samples", "walks", "metrics"} <= set(
        shared.ids
    )
    assert not sources & {str(picture["src"]) for picture in shared.pictures}
    assert "onerror" not in shared.text and "notes.txt" not in shared.text
    assert not set(re.findall(r"\S+\.png", shared.text)) - {"figures/curves.png", "samples.png"}
    assert "2 items could not be used" in shared.text
    assert not (folder.figures / "reconstructions.png").exists()


def test_no_page_and_no_card_holds_an_absolute_path(tmp_path: Path) -> None:
    home = tmp_path / "home of jane"
    data = digits_data()
    summary = {**data.summary, "source": str(home / "cats"), "notes": [f"'{home / 'cats' / 'a.png'}' was turned."]}
    data = dataclasses.replace(data, source=str(home / "cats"), summary=summary)
    folder, other = (fake_run(home / name, data, measured=name == "a") for name in ("a", "b"))
    recipe = folder.recipe()
    config = recipe.data.model_copy(update={"source": str(home / "cats")})
    folder.write_recipe(recipe.model_copy(update={"data": config}))
    folder.metrics_file.write_text("{", encoding="utf-8")
    pages = [
        write_report(folder, Generator.load(folder), data), write_card(folder),
        compare([folder, other]).save(home / "comparison.html"),
    ]  # fmt: skip
    for path in pages:
        words = path.read_text(encoding="utf-8")
        assert "home of jane" not in words and str(tmp_path) not in words and "cats" in words, path.name


def test_figures_and_animations_say_where_they_come_from(plane: Any, tmp_path: Path) -> None:
    folder = plane[0]
    for path in folder.figures.iterdir():
        with Image.open(path) as picture:
            assert picture.text["Source"] == "AI-generated" and picture.text["run"] == "plane"  # type: ignore[attr-defined]
    (path,) = write_animation(folder, About("Maquette", run="plane", family="x"))
    with Image.open(path) as film:
        assert path.name == "training.gif" and b"AI-generated" in film.info["comment"] and film.n_frames == 11  # type: ignore[attr-defined]
