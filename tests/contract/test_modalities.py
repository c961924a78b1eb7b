"""Every modality that ships meets the contract. A new one is tested by existing."""

from __future__ import annotations

import pytest

from maquette.core.find import modality_names
from maquette.testing import Check, Skipped, modality_checks

CASES = [pytest.param(check, id=f"{kind}-{check}") for kind in modality_names() for check in modality_checks(kind)]


@pytest.mark.parametrize("check", CASES)
def test_contract(check: Check) -> None:
    outcome = check.run()
    if isinstance(outcome, Skipped):
        pytest.skip(outcome.reason)
