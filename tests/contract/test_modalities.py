"""Every modality that ships meets the contract. A new one is tested by existing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from maquette.core.find import modality_names
from maquette.testing import Check, Skipped, check_modality, modality_checks

CASES = [pytest.param(check, id=f"{kind}-{check}") for kind in modality_names() for check in modality_checks(kind)]


@pytest.mark.parametrize("check", CASES)
def test_contract(check: Check) -> None:
    outcome = check.run()
    if isinstance(outcome, Skipped):
        pytest.skip(outcome.reason)


def test_a_kind_that_ships_nowhere_meets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "toy_modality"))
    monkeypatch.setenv("MAQUETTE_MODALITIES", "chord")
    try:
        assert not check_modality("chord").skipped
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "chord"]:
            del sys.modules[name]
