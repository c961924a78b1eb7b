"""A kind of data that ships nowhere, and a family for it, go the whole way; no file under src/ names either.

Chords are pitches one after the other, in `.chord` files (tests/toy_modality/chord).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import maquette
from PIL import Image

ROOT = Path(__file__).parents[2]
TOY = ROOT / "tests" / "toy_modality"
RECIPE = """\
about: Chords of two and three pitches
family: chord_family
target: {target}
given: {given}
train:
  batch_size: 16
  steps: {steps}
  preview_items: 4
  trackers: []
"""


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    """The user's own modules: named by the environment, found on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAQUETTE_MODALITIES", "chord")
        patch.setenv("MAQUETTE_FAMILIES", "chord_family")
        patch.setenv("PYTHONPATH", str(TOY))
        patch.syspath_prepend(str(TOY))
        yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("chord", "chord_family")]:
        del sys.modules[name]


def triad(i: int) -> list[int]:
    """A major or a minor one, whole or without its fifth."""
    root = 48 + i % 12
    return [root, root + (4 if i % 2 else 3), root + 7][: 2 + i // 24 % 2]


@pytest.fixture(scope="module")
def chords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 of them in two folders, one of them broken, one too long."""
    folder = tmp_path_factory.mktemp("chords")
    for i in range(96):
        path = folder / ("major" if i % 2 else "minor") / f"{i:03d}.chord"
        path.parent.mkdir(exist_ok=True)
        path.write_text(" ".join(map(str, [*triad(i), 30 + i % 60])) + "\n")
    (folder / "major" / "broken.chord").write_text("60 200\n")
    (folder / "minor" / "long.chord").write_text("60 " * 40)
    return folder


@pytest.fixture(scope="module")
def run(chords: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on the chords given their class."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = folder / "chords.yaml"
    recipe.write_text(RECIPE.format(target="[chord]", given="[label]", steps=60))
    done = maquette("train", recipe, "--data", chords, "-o", folder / "a", "data.chord.longest=8")
    assert done.returncode == 0, done.stderr
    return folder / "a"


def test_several_processes_find_it_where_this_one_does(
    chords: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the path of this process alone, as beside a script."""
    monkeypatch.delenv("PYTHONPATH")
    recipe = tmp_path / "chords.yaml"
    recipe.write_text(RECIPE.format(target="[chord]", given="[label]", steps=3))
    done = maquette("train", recipe, "--data", chords, "-o", tmp_path / "a", "--processes", "2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a" / "README.md").is_file()


def pitches(path: Path) -> list[int]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return [int(word) for word in " ".join(lines).split()]


def test_no_file_of_the_project_names_it() -> None:
    for path in (ROOT / "src").rglob("*.*"):
        if path.suffix in (".py", ".yaml", ".j2", ".js") and "music" not in path.parts:  # which has chords of its own
            assert not re.search(r"\bchords?\b", path.read_text(encoding="utf-8"), re.IGNORECASE), path


def test_inspect_tells_what_is_there(chords: Path, tmp_path: Path) -> None:
    done = maquette("data", "inspect", chords, "--json", "-o", tmp_path / "preview.chord")
    facts = json.loads(done.stdout)
    assert facts["columns"]["chord"]["pitches"] > 200 and set(facts["classes"]["label"]) == {"major", "minor"}
    assert {entry["name"]: entry["reason"] for entry in facts["left_out"]} == {
        "major/broken.chord": "'200' is no pitch from 0 to 127",
        "minor/long.chord": "40 pitches, more than data.chord.longest=16",
    }
    assert (tmp_path / "preview.chord").read_text().startswith("# Software: Maquette")
    said = maquette("data", "inspect", chords, "-o", tmp_path / "again.chord").stdout
    assert "pitches" in said and "broken.chord" in said and not re.search(r"\b(picture|text)s?\b", said), said


def test_samples_are_files_that_say_where_they_come_from(run: Path, tmp_path: Path) -> None:
    done = maquette("sample", run, "-n", 6, "--label", "minor", "--seed", 3, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "out").glob("*.chord"))
    assert len(files) == 6 and any(pitches(file) for file in files)
    assert "# Source: AI-generated" in files[2].read_text() and "# item: 2" in files[2].read_text()
    assert "# label: minor" in files[0].read_text() and "# run: a" in files[0].read_text()
    more = maquette("sample", run, "-n", 6, "--label", "minor", "--seed", 3, "--transpose", 12, "-o", tmp_path / "up")
    assert more.returncode == 0, more.stderr
    for low, high in zip(files, sorted((tmp_path / "up").glob("*.chord")), strict=True):
        assert [pitch + 12 for pitch in pitches(low)] == pitches(high)
    refused = maquette("sample", run, "--transpose", 99)
    assert refused.returncode == 2 and "from -24 to 24" in refused.stderr


def test_help_shows_the_options_of_this_run_and_no_others(run: Path) -> None:
    said = maquette("sample", run, "--help").stdout
    assert "--transpose" in said and "--label" in said
    assert not any(flag in said for flag in ("--prompt", "--grid", "--guidance", "--top-k")), said


def test_its_verb_is_a_verb(run: Path) -> None:
    assert "roots" in maquette("--help").stdout
    lines = maquette("roots", run, "-n", 3).stdout.split()
    assert len(lines) == 3


def test_it_is_judged_by_its_own_measure_beside_its_floor(run: Path) -> None:
    done = maquette("evaluate", run, "-q")
    assert done.returncode == 0, done.stderr
    found = {metric["name"]: metric for metric in json.loads((run / "metrics.json").read_text())["metrics"]}
    own = found["consonance"]
    assert 0 <= own["value"] <= 1 and own["floor"] is not None and own["low"] <= own["value"] <= own["high"]
    assert "of the steps of chords are consonant" in own["reading"] and "consonant intervals" in own["asks"]


def test_the_report_and_the_card_speak_of_chords_alone(run: Path) -> None:
    maquette("evaluate", run, "-q")
    done = maquette("report", run)
    assert done.returncode == 0, done.stderr
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Pitch classes" in page and "Consonant steps" in page
    body = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    words = re.sub(r"<[^>]*>", " ", body)
    assert "chords" in words
    assert not re.search(r"\b(picture|image|text|pixel)s?\b", words, re.IGNORECASE), re.findall(
        r".{40}\b(?:picture|image|text|pixel)s?\b.{40}", words, re.IGNORECASE
    )
    card = (run / "README.md").read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", card, flags=re.DOTALL)
    assert "chord" in prose and not re.search(r"\b(picture|image|text)s?\b", prose), prose


def test_runs_are_compared_and_resumed(run: Path, chords: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "more.yaml"
    recipe.write_text(RECIPE.format(target="[chord]", given="[]", steps=20))
    assert maquette("train", recipe, "--data", chords, "-o", tmp_path / "b", "-q").returncode == 0
    maquette("evaluate", run, "-q")
    maquette("evaluate", tmp_path / "b", "-q")
    said = maquette("compare", run, tmp_path / "b").stdout
    assert "Consonant steps" in said and "chord_family" in said
    assert maquette("resume", run, "-q").returncode == 0


def test_other_data_is_read_as_the_run_knows_it(run: Path, tmp_path: Path) -> None:
    for i in range(40):
        path = tmp_path / "other" / ("major" if i % 2 else "minor") / f"{i}.chord"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(" ".join(str(pitch + 1) for pitch in [*triad(i), 50 + i]) + "\n")
    done = maquette("evaluate", run, "--data", tmp_path / "other", "-q")
    assert done.returncode == 0, done.stderr
    assert any("not the data" in text for text in json.loads((run / "metrics.json").read_text())["warnings"])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of chords and pictures: a bright bar whose height is the root, a class and a number."""
    folder = tmp_path_factory.mktemp("mixed")
    lines = ["image_file_name,chord_file_name,mode,root"]
    for i in range(80):
        pixels = np.zeros((16, 16), np.uint8)
        pixels[15 - i % 12 :, 4:12] = 200 + i % 50
        Image.fromarray(pixels).save(folder / f"{i}.png")
        (folder / f"{i}.chord").write_text(" ".join(map(str, [*triad(i), 40 + i % 40])))
        lines.append(f"{i}.png,{i}.chord,{'major' if i % 2 else 'minor'},{i % 12 + i / 1000:.3f}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_jointly_with_pictures_in_one_table_given_any_subset(mixed: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "both.yaml"
    recipe.write_text(RECIPE.format(target="[image, chord]", given="[mode, root]", steps=80))
    done = maquette("train", recipe, "--data", mixed, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    for asked in ([], ["--mode", "major"], ["--root", "9"], ["--mode", "minor", "--root", "2"]):
        out = tmp_path / ("out" + "".join(asked).replace("--", "-"))
        done = maquette("sample", tmp_path / "run", "-n", 3, "-o", out, *asked)
        assert done.returncode == 0, done.stderr
        item = next(out.glob("00001*"))
        assert sorted(path.name for path in item.iterdir()) == ["chord.chord", "image.png"]
        assert "AI-generated" in (item / "chord.chord").read_text()
        assert Image.open(item / "image.png").text["Source"] == "AI-generated"
    done = maquette("evaluate", tmp_path / "run", "-q")
    assert done.returncode == 0, done.stderr
    names = [metric["name"] for metric in json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"]]
    assert "chord: consonance" in names and any(name.startswith("image: frechet") for name in names), names
    done = maquette("report", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "Pitch classes" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_one_asked_of_several_targets_is_told_so(mixed: Path, tmp_path: Path) -> None:
    done = maquette("train", "image/gan", "--data", mixed, "-o", tmp_path / "x", "target=[image, chord]")
    assert done.returncode == 2 and "image" in done.stderr and "fault of ours" not in done.stderr, done.stderr
