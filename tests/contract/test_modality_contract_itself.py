"""The contract of modalities must be able to fail: each broken one is caught, by the check that is meant for it."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_kind
from pydantic import BaseModel

from maquette.core.modality import Unreadable
from maquette.core.spec import ColumnSpec
from maquette.testing import ContractError, check_modality, column_spec, data_spec, modality_checks, model_checks


def test_a_modality_of_ones_own_passes_every_check() -> None:
    result = check_modality("toy_kind")
    assert set(result.passed) == {check.name for check in modality_checks("toy_kind")} and not result.skipped
    assert "written_files_are_read_back" in check_modality("toy_kind", toy_kind.Config(points=5))


def test_a_family_is_checked_on_it() -> None:
    spec = data_spec(column_spec("toy_kind", 1, 16))
    checks = {check.name: check for check in model_checks("flow", spec, {"width": 16, "deep": 16, "deep_blocks": 1})}
    for name in ("sample_has_the_spec", "losses_are_finite_and_named"):
        checks[name].run()


class Loose(BaseModel):
    points: int = 8


class Forgetful(toy_kind.Config):
    def model_dump(self, **options: Any) -> dict[str, Any]:
        return {"points": self.points + 1}


class NoForm(ColumnSpec):
    kind: str = "broken_kind"
    high: float = 1.0


seen: list[float] = []


def examine_and_remember(cell: Any, config: Any) -> float:
    seen.append(toy_kind.examine(cell, config))
    return seen[-1]


def of_objects(cells: Any, spec: Any, config: Any) -> Any:
    return [np.array(x, dtype=object) for x in toy_kind.encode(cells, spec, config)]


def all_or_none(cells: Any, spec: Any, config: Any) -> Any:
    made = toy_kind.encode(cells, spec, config)
    bad = [x for x in made if isinstance(x, Unreadable)]
    return bad * len(made) if bad else made


def anything(cell: Any, config: Any) -> float:
    return 1.0


def without_about(items: Any, path: Path, spec: Any, captions: Any, about: Any) -> Path:
    path.write_text("1.0")
    return path


BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("is_complete", {"NOUN": "curve"}),
    ("is_complete", {"Spec": NoForm, "fit": lambda cells, facts, config, known, notes: NoForm(shape=(1, 8))}),
    ("is_complete", {"preview": None}),
    ("config_is_plain", {"Config": Loose}),
    ("config_is_plain", {"Config": Forgetful}),
    ("spec_is_plain", {"fit": lambda cells, facts, config, known, notes: toy_kind.Spec.model_construct(
        kind="broken_kind", shape=(1, 8), high=max(facts), extra=1)}),
    ("encoding_meets_the_spec", {"encode": of_objects}),
    ("encoding_meets_the_spec", {"canonical": lambda stored: 3 * torch.from_numpy(stored)}),
    ("made_up_meets_the_spec", {"made_up": lambda spec, items, seed=0: torch.zeros(8, *spec.shape)}),
    ("broken_cells_are_unreadable", {"values": None, "examine": lambda cell, config: float(cell.read().split()[0])}),
    ("broken_cells_are_unreadable", {"examine": anything, "encode": lambda cells, spec, config: [
        np.zeros((1, 8), np.float32) for _ in cells]}),
    ("broken_cells_are_unreadable", {"examine": anything, "encode": all_or_none}),
    ("fit_reads_training_rows_only", {"examine": examine_and_remember, "fit": lambda cells, facts, config, known, notes:
                                      toy_kind.Spec(kind="broken_kind", shape=(1, 8), high=max(seen))}),
    ("written_files_are_read_back", {"claims": lambda name, head: False}),
    ("written_files_are_read_back", {"write": lambda item, *rest: toy_kind.write(-item, *rest)}),
    ("files_say_where_they_come_from", {"preview": without_about}),
    ("previews_of_any_number", {"preview": lambda items, path, spec, captions, about: toy_kind.preview(
        items / len(items) if len(items) else items[0], path, spec, captions, about)}),
]  # fmt: skip


@pytest.mark.parametrize(("check", "parts"), BROKEN, ids=[f"{name}-{i}" for i, (name, _) in enumerate(BROKEN)])
def test_what_is_broken_is_caught(monkeypatch: pytest.MonkeyPatch, check: str, parts: dict[str, Any]) -> None:
    class Spec(toy_kind.Spec):
        kind: str = "broken_kind"

    def fit(cells: Any, facts: Any, config: Any, known: Any, notes: Any) -> Spec:
        return Spec(shape=(1, config.points), high=max(facts))

    seen.clear()
    module = types.ModuleType("broken_kind")
    own = {name: value for name, value in vars(toy_kind).items() if not name.startswith("__")}
    vars(module).update({**own, "KIND": "broken_kind", "Spec": Spec, "fit": fit, **parts})
    monkeypatch.setitem(sys.modules, "broken_kind", module)
    module.__spec__ = types.SimpleNamespace(name="broken_kind")  # type: ignore[assignment]
    checks = {made.name: made for made in modality_checks("broken_kind")}
    with pytest.raises(ContractError, match=f"^{check}: "):
        checks[check].run()


def test_every_check_has_been_seen_to_fail() -> None:
    assert {name for name, _ in BROKEN} == {check.name for check in modality_checks("any")}
