"""Data that has changed since a run began: what was held out stays held out."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import maquette
from maquette.core.errors import UserError
from maquette.core.lock import sole_owner
from maquette.core.table import Table
from trained import QUICK


def pictures(folder: Path, numbers: range) -> Path:
    """Pictures that all differ, and a few that nearly equal the one before."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    for i in numbers:
        shade = np.random.default_rng(i - 1 if i % 10 == 9 else i).integers(0, 256, (8, 8)).astype(np.uint8)
        shade[0, 0] ^= i % 10 == 9
        Image.fromarray(shade).save(folder / f"{i}.png")
    return folder


def items(table: Table, column: str) -> set[bytes]:
    return {table.columns[column].stored(row).tobytes() for row in range(len(table))}


def sides(run: maquette.Run, column: str = "image") -> tuple[set[bytes], set[bytes]]:
    data = run.dataset()
    return items(data.train, column), items(data.test, column)


def test_what_was_held_out_stays_so_as_the_data_grows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = pictures(tmp_path / "set", range(100))
    run = maquette.train("image/vae-mlp", data, out=tmp_path / "run", steps=3, quiet=True, settings=QUICK, given="none")
    learned, held = sides(run)
    pictures(data, range(100, 260))  # in the same place
    with pytest.raises(UserError, match="not, or no more, what this run began with") as error:
        maquette.load(run.folder.path).resume(quiet=True, steps=5)
    assert "--data" in error.value.remedy
    with pytest.raises(UserError, match="finished"):
        maquette.load(run.folder.path).resume(quiet=True, data=data)
    asked = iter([False, True])
    maquette.load(run.folder.path).resume(data=data, steps=9, stop=lambda: next(asked))
    assert "The data has changed" in capsys.readouterr().err
    again = maquette.load(run.folder.path)
    more, kept = sides(again)
    assert len(more) > 1.8 * len(learned) and not more & held and not kept & learned
    again.resume(quiet=True)  # finds the same data in the same place
    assert again.finished and len(again.folder.data()["before"]) == 1
    shutil.rmtree(data)
    pictures(data, range(50, 320))  # some are gone, others came
    last = maquette.load(run.folder.path).resume(quiet=True, data=data, steps=12)
    final, rest = sides(last)
    assert not final & (held | kept) and not rest & (learned | more) and len(last.folder.data()["before"]) == 2
    assert maquette.load(run.folder.path).evaluate(samples=8, quiet=True)


def test_a_text_that_grew_at_its_end_keeps_its_old_end_held_out(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    words = ["".join(draw.choice(list("abcdefghijklmnop"), draw.integers(2, 8))) for _ in range(400)]
    story = " ".join(words[i] for i in draw.integers(0, 400, 9000))
    file = tmp_path / "story.txt"
    file.write_text(story)
    settings = [*QUICK, "train.batch_size=4", "model.width=32", "model.layers=1", "model.heads=2"]
    run = maquette.train("text/lm", file, out=tmp_path / "run", steps=2, quiet=True, settings=settings)
    tokens = np.concatenate([run.dataset().test.columns["text"].stored(row) for row in range(2)])
    file.write_text(story + " " + " ".join(words[i] for i in draw.integers(0, 400, 9000)))
    run = maquette.load(run.folder.path).resume(quiet=True, data=file, steps=3)
    data = run.dataset()
    ours = [data.train.columns["text"].stored(row).astype(np.int32).tobytes() for row in range(len(data.train))]
    for start in range(40, len(tokens) - 140, 20):  # no stretch of it stands in a window that is learned from
        stretch = tokens[start : start + 100].astype(np.int32).tobytes()
        assert not any(stretch in window for window in ours)
    before = maquette.load(run.folder.path).folder.data()
    assert len(data.test) > 0 and len(data.train) > 100 and before["fingerprint"] != before["before"][0]["fingerprint"]


def test_where_a_run_cannot_go_on_no_other_data_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    data = pictures(tmp_path / "set", range(60))
    run = maquette.train("image/vae-mlp", data, out=tmp_path / "run", steps=2, quiet=True, settings=QUICK, given="none")
    before = run.folder.data_file.read_bytes()
    pictures(data, range(60, 90))
    with pytest.raises(UserError, match="number of all of them"):
        maquette.load(run.folder.path).resume(quiet=True, data=data, steps=2)
    with sole_owner(run.folder.lock_file), pytest.raises(UserError, match="is being trained by"):
        maquette.load(run.folder.path).resume(quiet=True, data=data, steps=5)
    assert run.folder.data_file.read_bytes() == before
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "emptied"))
    with pytest.raises(UserError, match="not known on this machine"):
        maquette.load(run.folder.path).resume(quiet=True, data=data, steps=5)
    assert run.folder.data_file.read_bytes() == before
