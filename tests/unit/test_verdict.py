"""What an evaluation says of samples: never more than its worst measure, nor than its intervals can carry."""

from __future__ import annotations

import numpy as np
import pytest

from maquette.core.measure import Better, Estimate, Matters, Measure
from maquette.evaluation.bootstrap import difference, mean
from maquette.evaluation.results import Metric
from maquette.evaluation.verdict import Level, level, standing, told_apart, verdict


def metric(value: float, floor: float | None, half: float, better: Better = "higher", **more: object) -> Metric:
    """A share whose difference to its floor is known to within `half`."""
    gap = 0.0 if floor is None else value - floor
    known = {"name": "m", "title": "M", "unit": "share", "matters": 0.05, "gap_low": gap - half, "gap_high": gap + half}
    return Metric(value=value, floor=floor, better=better, **{**known, **more})


@pytest.mark.parametrize(
    ("value", "half", "better", "expected"),
    [
        (0.90, 0.02, "higher", "alike"),
        (0.90, 0.20, "higher", "unclear"),  # the interval includes 0, and would have included anything
        (0.87, 0.01, "higher", "slight"),
        (0.70, 0.05, "higher", "worse"),
        (0.99, 0.02, "higher", "beyond"),
        (0.99, 0.02, "lower", "worse"),
        (0.70, 0.02, "lower", "beyond"),
        (0.91, 0.02, "floor", "alike"),
        (0.99, 0.02, "floor", "worse"),
        (0.70, 0.02, "floor", "worse"),
        (0.91, 0.20, "floor", "unclear"),
        (0.70, 0.02, "no more", "alike"),
        (0.99, 0.02, "no more", "worse"),
    ],
)
def test_the_interval_of_the_difference_decides(value: float, half: float, better: Better, expected: Level) -> None:
    found = metric(value, 0.9, half, better)
    assert level(found) == expected
    assert ("as good as real" in standing(found)) == (expected == "alike" and better != "no more")


def test_no_measure_calls_good_what_another_tells_apart() -> None:
    density, two_sample = metric(0.9, 0.9, 0.01, name="density"), metric(1.0, 0.5, 0.01, "floor", name="two_sample")
    assert told_apart([density, two_sample])
    assert "as good as real" not in standing(density, "pictures", told_apart=True)
    found = verdict([density, two_sample], "pictures")
    assert (found.level, found.worst, found.good) == ("worse", "two_sample", False)
    assert found.words.startswith("Not yet like real pictures: 1 of 2 measures can tell.")


def test_the_summary_is_that_of_the_worst_measure() -> None:
    fine, little, wide = metric(0.9, 0.9, 0.01), metric(0.87, 0.9, 0.01), metric(0.9, 0.9, 0.2)
    assert verdict([fine] * 3).level == "alike" and verdict([fine, fine, little]).level == "slight"
    assert verdict([fine, fine]).level == "unclear" and "by 2 measures alone" in verdict([fine, fine]).words
    assert verdict([fine, little, wide]).level == "unclear" and not verdict([wide]).good
    worse, worst = metric(0.8, 0.9, 0.01, name="a"), metric(0.3, 0.9, 0.01, name="b")
    assert verdict([worst, worse, wide]).worst == "b"


def test_better_than_real_is_not_called_good() -> None:
    fine, beyond = metric(0.9, 0.9, 0.01), metric(0.99, 0.9, 0.01, title="Precision")
    found = verdict([fine, fine, beyond], "pictures")
    assert found.level == "beyond" and not found.good and "As good" not in found.words
    assert "Precision: 99.0%, where real pictures score 90.0%" in found.words


def test_a_measure_that_does_not_see_damage_decides_nothing() -> None:
    aside = metric(0.9, 0.9, 0.01, missed=("blurred",))
    assert level(aside) == "none" and standing(aside) == "set aside: does not see real items blurred"
    assert verdict([aside]).level == verdict([]).level == verdict([metric(0.9, None, 0.1)]).level == "none"


def test_an_evaluation_that_kept_no_difference_is_judged_by_its_intervals_and_never_called_good() -> None:
    old = Metric(name="m", title="M", value=0.9, low=0.88, high=0.92, floor=0.9, floor_low=0.89, floor_high=0.91)
    assert level(old.model_copy(update={"better": "higher"})) == "unclear"
    assert (
        level(old.model_copy(update={"better": "higher", "floor": 0.99, "floor_low": 0.98, "floor_high": 0.995}))
        == "worse"
    )
    assert level(old.model_copy(update={"low": None})) == "none"


def test_what_was_resampled_together_differs_more_surely() -> None:
    draws = np.random.default_rng(0)
    real = draws.random(400) < 0.5
    ours = (real ^ (draws.random(400) < 0.05)).astype(float)
    floor = mean(real.astype(float), np.random.default_rng(1))
    together = difference(mean(ours, np.random.default_rng(1)), floor)
    apart = difference(Estimate(ours.mean(), floor.low, floor.high), floor)
    assert together.value == pytest.approx(ours.mean() - real.mean())
    assert (together.high or 0) - (together.low or 0) < 0.6 * ((apart.high or 0) - (apart.low or 0))
    assert difference(Estimate(1.0), Estimate(0.5, 0.4, 0.6)).low is None


def test_all_of_a_few_is_not_all() -> None:
    found = mean(np.ones(20), np.random.default_rng(0))
    assert (found.low, found.high) == (pytest.approx(0.85), 1.0)
    assert mean(np.zeros(20), np.random.default_rng(0)).high == pytest.approx(0.15)


def test_what_matters_is_said_in_one_place() -> None:
    def measure(unit: str, matters: Matters | None = None) -> Measure:
        return Measure("m", "M", "lower", unit, "", lambda e: None, lambda m: "", matters=matters)

    assert measure("share").least(0.9) == 0.05 and measure("odd unit").least(0.9) is None
    assert measure("", Matters(0.0, times=0.5)).least(3.0) == 1.5
