"""Samples as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from maquette.core.about import About
from maquette.core.samples import Samples
from maquette.modalities import number
from maquette.testing import column_spec, data_spec


def test_a_kind_need_not_make_the_folder_that_it_writes_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two functions of a user's own kind, written as they are first."""

    def write(item: Tensor, path: Path, spec: Any, about: About) -> Path:
        path.write_text(json.dumps([item.item(), about.fields]))
        return path

    def preview(items: Tensor, path: Path, spec: Any, captions: Any, about: About) -> Path:
        path.write_text(json.dumps(items.tolist()))
        return path

    monkeypatch.setattr(number, "write", write)
    monkeypatch.setattr(number, "preview", preview)
    spec = data_spec(column_spec("number"))
    samples = Samples({spec.only_name: torch.tensor([1.0, 2.0])}, {}, spec, 3, About("Maquette"))
    one, _ = samples.save(tmp_path / "new" / "folder")
    assert json.loads(one.read_text())[0] == 1.0
    assert json.loads(samples.write_preview(tmp_path / "other" / "all.txt").read_text()) == [1.0, 2.0]
