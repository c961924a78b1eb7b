"""What the user says of data beyond what it holds: columns in the names of files, and what is held out by a column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maquette.core.data_config import DataConfig, data_settings
from maquette.core.errors import UserError
from maquette.core.recipe import data_config
from maquette.data import open_dataset
from maquette.data.fields import take_fields
from maquette.data.raw import Files, RawTable, Values
from maquette.data.sides import take_sides
from maquette.modalities.image.contract import png


def table(names: list[str], **columns: list) -> RawTable:
    files = Files(names, range(len(names)), lambda numbers: [b"" for _ in numbers])
    values = {name: Values(cells) for name, cells in columns.items()}
    return RawTable("folder", {"item": files, **values}, names, [None] * len(names))


def fields(names: list[str], pattern: str) -> dict[str, list]:
    made = table(names)
    take_fields(made, pattern)
    return {name: cells.cells for name, cells in made.columns.items() if isinstance(cells, Values)}


def test_each_field_is_a_column() -> None:
    found = fields(["7_jackson_12.wav", "deep/down/0_theo_3.wav"], "{label}_{speaker}_{take}")
    assert found == {"label": ["7", "0"], "speaker": ["jackson", "theo"], "take": ["12", "3"]}


def test_folders_and_other_signs_stand_in_patterns_too() -> None:
    assert fields(["a/theo/x.1-b.wav"], "{speaker}/{word}.{take}-{more}") == {
        "speaker": ["theo"], "word": ["x"], "take": ["1"], "more": ["b"],
    }  # fmt: skip
    assert fields(["a b+c.wav"], "{x}+{y}") == {"x": ["a b"], "y": ["c"]}


def test_no_name_takes_long() -> None:
    assert fields(["a_b_c_d.wav"], "{x}_{y}") == {"x": ["a"], "y": ["b_c_d"]}
    assert fields(["pre-a.b-post.wav"], "pre-{x}.{y}-post") == {"x": ["a"], "y": ["b"]}
    with pytest.raises(UserError):
        fields([100 * "_" + ".wav"], "_".join(f"{{f{i}}}" for i in range(60)) + "!")


def test_what_is_called_otherwise_has_no_value_and_is_said() -> None:
    made = table(["1_a.wav", "odd.wav"])
    take_fields(made, "{label}_{who}")
    assert made.columns["label"].cells == ["1", None] and made.categories == {"label"}
    assert made.notes == ["1 file is not called as '{label}_{who}' says ('odd.wav'): nothing is known of them."]


@pytest.mark.parametrize("pattern", ["", "label", "{}", "{a}{b}", "{a}_{a}", "{x}-{y}", "{item}_{a}"])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(UserError):
        fields(["1_a.wav"], pattern)


def test_a_pattern_needs_files() -> None:
    values = RawTable("table", {"x": Values(["a"])}, ["row"], [None])
    with pytest.raises(UserError, match="names of files"):
        take_fields(values, "{a}")
    take_fields(values, "{a}", needed=False)


def test_other_data_may_say_by_itself_what_names_told() -> None:
    made = table(["1_a.wav"], who=["b"])
    with pytest.raises(UserError, match="already"):
        take_fields(made, "{label}_{who}")
    take_fields(made, "{label}_{who}", needed=False)
    assert made.columns["who"].cells == ["b"] and made.columns["label"].cells == ["1"]


def sides(rule: dict, **columns: list) -> list[str | None]:
    made = table([f"{i}.wav" for i in range(len(next(iter(columns.values()))))], **columns)
    take_sides(made, DataConfig(**rule))
    return made.splits


def test_what_is_held_out_by_values() -> None:
    takes = ["0", "4", "4.5", "05", "x", None]
    held = sides({"test_where": "take=0..4.5"}, take=takes)
    assert held == ["test", "test", "test", "train", "train", "train"]
    assert sides({"test_where": "take=x, 4"}, take=takes) == ["train", "test", "train", "train", "test", "train"]


@pytest.mark.parametrize("rule", ["take", "take=", "take=9", "take=0..9", "other=1", "item=1"])
def test_rules_that_hold_nothing_out_or_all(rule: str) -> None:
    with pytest.raises(UserError):
        sides({"test_where": rule}, take=["0", "1"])
    made = table(["a", "b"], take=["0", "1"])
    take_sides(made, DataConfig(test_where=rule), needed=False)
    assert made.splits == [None, None]


def test_a_value_is_on_one_side_and_stays_there() -> None:
    people = [f"p{i % 20}" for i in range(200)]
    made = table([f"{i}.wav" for i in range(200)], who=people)
    take_sides(made, DataConfig(split_by="who"), used=("who",))
    of = {person: {side for who, side in zip(people, made.splits, strict=True) if who == person} for person in people}
    assert all(len(found) == 1 for found in of.values())
    assert 0 < made.splits.count("test") < 100 and "are held out" in made.notes[0]
    more = sides({"split_by": "who"}, who=[*people, "new", "newer"])
    assert more[:200] == made.splits  # by the value alone: others change nothing
    with pytest.raises(UserError, match="same 'who'"):
        sides({"split_by": "who"}, who=["a", "a"])


def test_the_column_goes_unless_it_is_used() -> None:
    made = table(["a", "b"], take=["0", "1"])
    take_sides(made, DataConfig(test_where="take=0"))
    assert [*made.columns] == ["item"]


def test_the_settings_as_flags_and_as_written() -> None:
    assert data_settings({"label_pattern": "{label}", "rate": "8000"}) == {
        "label_pattern": "{label}", "audio": {"rate": 8000},
    }  # fmt: skip
    assert data_config({}, ["data.label_pattern={label}"]).label_pattern == "{label}"
    assert data_config({}, ["data.label_pattern={a}_{b}", "data.test_where=b=1"]).test_where == "b=1"
    with pytest.raises(UserError, match="both say"):
        DataConfig(test_where="a=1", split_by="a")


def test_it_holds_for_any_kind_of_file(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    for name in [f"{label}_{who}_{i}" for label in "ab" for who in ("x", "y", "z") for i in range(5)]:
        (tmp_path / f"{name}.png").write_bytes(png(draws.integers(0, 256, (16, 16), np.uint8)))
    config = DataConfig(label_pattern="{label}_{who}_{take}", split_by="who")
    data = open_dataset(tmp_path, config, target=("image",), cache=tmp_path / "cache")
    assert data.train.columns["label"].spec.classes == ("a", "b") and "who" not in data.train.columns
    assert (len(data.train), len(data.test)) == (20, 10)
    assert len({data.test.names[i].split("_")[1] for i in range(10)}) == 1
