"""Columns of numbers and of classes: what a cell may be, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from maquette.core.modality import Notes
from maquette.core.table import Dataset
from maquette.data import open_dataset
from maquette.modalities import label
from maquette.modalities.label import Config


def opened(path: Path, values: list[str]) -> Dataset:
    rows = [f"sentence {i} is about {i * 7 % 13} things,{value}" for i, value in enumerate(values)]
    path.write_text("\n".join(["text,age", *rows]) + "\n", encoding="utf-8")
    return open_dataset(path, target=("text",), given=("age",), cache=path.parent / "cache")


def test_numbers_that_float32_cannot_hold_are_left_out(tmp_path: Path) -> None:
    data = opened(tmp_path / "a.csv", [f"{i / 2}" for i in range(40)] + ["1e300", "-1e39", "nan", "1e999"])
    assert [entry["reason"].partition(": ")[2] for entry in data.summary["left_out"]] == [
        "larger than 1e+30: 1e+300", "larger than 1e+30: -1e+39", "nan is not a number", "inf is not a number",
    ]  # fmt: skip
    column = data.train.columns["age"]
    assert torch.isfinite(column.take(np.arange(len(data.train)))).all() and 0 < column.spec.std < 20


@pytest.mark.parametrize(("start", "warned"), [(0, False), (1_700_000_000, True)])
def test_numbers_that_float32_cannot_tell_apart_are_spoken_of(tmp_path: Path, start: int, warned: bool) -> None:
    data = opened(tmp_path / "a.csv", [str(start + i) for i in range(120)])
    assert any("too close together" in words for words in data.summary["warnings"]) == warned


def test_classes_of_one_value_have_an_order() -> None:
    found = ["7", "07", "007", "-0", "0", "00"]
    for facts in (found, found[::-1]):
        assert label.fit((), facts, Config(), None, Notes()).classes == ("-0", "0", "00", "007", "07", "7")
