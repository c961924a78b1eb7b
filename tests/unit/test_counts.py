"""Sentences agree with how many there are."""

from __future__ import annotations

from maquette.core.counts import counted


def test_one_is_singular_and_all_else_plural() -> None:
    assert [counted(n, "row has", "rows have") for n in (0, 1, 2000)] == ["0 rows have", "1 row has", "2,000 rows have"]
