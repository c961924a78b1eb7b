"""What recipes need: before the first step, after the last one, and in the report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import maquette
from maquette.cli.train import command
from maquette.core import needs
from maquette.core.errors import UserError
from maquette.core.find import recipe_names
from maquette.core.model import Watch
from maquette.core.recipe import load_recipe
from maquette.core.run import RunFolder
from maquette.core.spec import DataSpec, GridSpec
from maquette.core.watches import COLLAPSE, SPIKE, too_short_for
from maquette.modalities.image.config import Spec as Picture
from maquette.modalities.text.config import Spec as Text
from trained import QUICK, Trained

TABLE = {
    "image/gan": {"instead": ["image/vae", "image/flow"], "by_extent": {8: [1e3, 4e3, 1], 32: [4e3, 16e3, 16]}},
    "image/vae": {"by_extent": {8: [500, 4e3, 1], 32: [2e3, 16e3, 4]}},
    "image/flow": {"by_extent": {8: [8e3, 16e3, 1], 32: [32e3, 64e3, 16]}},
    "text/lm": {"by_extent": {100: [2e3, 8e3, 1], 200: [1e3, 4e3, 2]}},
}


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "_table", lambda: TABLE)


def pictures(height: int, width: int | None = None) -> DataSpec:
    return DataSpec(columns={"image": Picture(shape=(3, height, width or height))}, target=("image",))


def test_what_ships_is_in_order() -> None:
    """Of every recipe in the table: a first look comes first, and larger items cost more."""
    table = needs._table()
    assert {"image/gan", "image/vae", "image/flow", "text/lm"} <= set(table) <= set(recipe_names())
    for entry in table.values():
        rows = [entry["by_extent"][extent] for extent in sorted(entry["by_extent"])]
        assert all(0 < first < worth for first, worth, _ in rows)
        assert [work for *_, work in rows] == sorted(work for *_, work in rows)
        assert set(entry.get("instead", ())) <= set(table)
        assert set(entry.get("estimated", ())) <= set(entry["by_extent"])


def test_needs_lie_between_the_sizes_that_were_measured_and_on_beyond_them(table: None) -> None:
    recipe = load_recipe("image/gan")
    found = [needs.need_of(recipe, pictures(side)) for side in (8, 16, 32, 64)]
    assert [round(need.first_look) for need in found if need] == [1000, 2000, 4000, 8000]
    assert [round(need.work) for need in found if need] == [1, 4, 16, 64]
    assert needs.need_of(recipe, pictures(16, 64)) == needs.need_of(recipe, pictures(32))
    texts = DataSpec(columns={"text": Text(shape=(500,), vocab=100, mean_length=400.0)}, target=("text",))
    lm = needs.need_of(load_recipe("text/lm"), texts)
    assert lm and round(lm.first_look) == 500  # of twice as many tokens half as many


def test_nothing_is_claimed_of_what_nobody_measured(table: None) -> None:
    recipe, spec = load_recipe("image/gan"), pictures(32)
    assert needs.need_of(load_recipe("image/dcgan"), spec) is None
    assert needs.need_of(recipe.model_copy(update={"about": "My own"}), spec) is None
    assert needs.need_of(recipe.model_copy(update={"family": "my_family"}), spec) is None
    two = DataSpec(columns={"a": Picture(shape=(3, 8, 8)), "b": Picture(shape=(3, 8, 8))}, target=("a", "b"))
    assert needs.need_of(recipe, two) is None
    own = DataSpec(columns={"x": GridSpec(kind="label", shape=(1, 8))}, target=("x",))
    assert needs.need_of(recipe, own) is None
    with pytest.raises(UserError, match="was not measured"):
        needs.enough(load_recipe("image/dcgan", ["train.budget=auto"]), spec)


def test_what_is_too_short_is_said_with_what_is_not(table: None) -> None:
    recipe, spec = load_recipe("image/gan", ["train.batch_size=64"]), pictures(64)
    said = needs.outlook(recipe, spec, 1, 2.0, lambda: 64 * 0.09)  # 8,000 items of 90 ms
    assert said == (
        "1 step of 64 at 64x64 will not teach image/gan anything on this machine: a first look takes about 12 minutes;"
        " --size 32 about 90 seconds, `image/vae` about 50 seconds."
    )
    # What fits into the time that was given is named before what is quickest.
    assert "--size 16 about 20 seconds" in needs.outlook(recipe, spec, 5, 2.0, lambda: 64 * 0.09)
    assert "--size 32 about 90 seconds" in needs.outlook(recipe, spec, 60, 2.0, lambda: 64 * 0.09)
    assert "5 steps of 64 at 64x64 (0.3 passes over the data) will" in needs.outlook(recipe, spec, 5, 0.3, lambda: 1.0)
    assert needs.outlook(recipe, spec, 200, 2.0, lambda: 64 * 0.09).startswith("Enough for a first look; image/gan is")
    assert not needs.outlook(recipe, spec, 500, 2.0, lambda: pytest.fail("there is nothing to measure for"))
    assert needs.enough(load_recipe("image/gan", ["train.budget=auto", "train.batch_size=64"]), spec).steps == 500
    assert needs.enough(recipe, spec) == recipe.train


def test_a_first_look_takes_longer_than_a_budget_that_is_too_short_for_it(table: None) -> None:
    recipe, spec = load_recipe("image/gan", ["train.batch_size=64"]), pictures(64)
    # 7,680 of the 8,000 items it takes fit into 77 of 90 seconds: in words, 13 more beside them.
    said = needs.outlook(recipe, spec, 120, 2.0, lambda: 64 * 0.01, budget=90.0)
    assert "a first look takes about 100 seconds" in said
    # What is named as quicker fits into the time, with what else it is spent on.
    assert "--size 32 about 30 seconds" in said


def test_times_and_counts_are_no_more_exact_than_they_are_known() -> None:
    words = {4: "10 seconds", 14.8: "20 seconds", 60.2: "60 seconds", 100: "100 seconds", 144: "2.4 minutes"}
    words |= {720: "12 minutes", 4000: "67 minutes", 5 * 3600 + 900: "5.3 hours"}
    assert {s: needs.duration(s) for s in words} == words
    assert [needs.rounded(n) for n in (3.4, 96.4, 12_345, 0.1)] == [3, 96, 12_000, 1]


def test_an_undertrained_run_is_not_called_trained(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "run"
    asked = ["image/vae", "--data", "digits", "--steps", "5", "-o", str(out), *QUICK]
    done = CliRunner().invoke(command, asked, catch_exceptions=False)
    assert "5 steps of 128 at 8x8" in done.output and "a first look takes about" in done.output
    assert "Undertrained: it saw 640 items, and a first look takes about" in done.output
    assert f"maquette resume {out} --steps 47\n" in done.output
    assert "Trained:" not in done.output
    run = maquette.load(out)
    assert run.undertrained.startswith("Undertrained: it saw 640 items")
    card = run.folder.card_file.read_text()
    assert card.splitlines()[2].startswith("**Undertrained")
    page = run.report().read_text()
    assert page.index("Undertrained: it saw") < page.index('<p class="lede">')
    assert not re.search(r'<li class="good">', page)
    assert "too short for" in page and "mode collapse" in page
    # Of a family of one's own nothing is claimed.
    own = tmp_path / "own.yaml"
    own.write_text((out / "recipe.yaml").read_text().replace(run.recipe.about, "My own"))
    own_run = trained(str(own), "digits", steps=5)
    assert not maquette.load(own_run).undertrained and not needs.undertrained(RunFolder(tmp_path / "nothing"))


def test_alarms_that_a_training_was_too_short_for() -> None:
    late = Watch("late", "g/x", "saw", "try", above=1.0, patience=0.1, after=0.5)
    other = Watch("other", "no/such", "saw", "try", above=1.0)
    watches = (late, other, COLLAPSE, SPIKE)

    def names(total: int, every: int) -> list[str]:
        lines = [{"step": s, "g/x": 0.0, "g/loss": 1.0, "preview/diversity": 1.0} for s in range(0, total + 1, every)]
        return [watch.name for watch in too_short_for(watches, lines, total)]

    assert names(5, 1) == ["late", "mode collapse", "loss spike"]  # one that was never logged does not apply
    assert names(305, 5) == ["late", "mode collapse"]
    assert names(2000, 400) == ["loss spike"]
    assert names(2000, 10) == []
