"""Sentences about measures."""

from __future__ import annotations

from maquette.evaluation.results import Metric
from maquette.evaluation.wording import against_floor


def test_a_distance_is_not_divided_by_a_floor_that_may_be_nothing() -> None:
    def said(floor: float, low: float, high: float) -> str:
        return against_floor(
            Metric(name="frechet", title="d", value=23.4, low=21.4, high=25.8, floor=floor, floor_low=low,
                   floor_high=high, better="lower", unit="", n_real=9, n_fake=9)
        )  # fmt: skip

    assert said(2.0, 1.5, 3.0).endswith("11.7 times as far.")
    assert "times" not in said(5e-13, 0.0, 1.8)
