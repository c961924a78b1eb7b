"""Turns of phrase that sentences about several measures share.

`{items}` stands for the word of the kind, see core/measure.py.
"""

from __future__ import annotations

from maquette.evaluation.results import Metric


def against_floor(m: Metric) -> str:
    """How a distance stands to its floor."""
    v, f = m.show(m.value), m.show(m.floor)
    if m.floor is None:
        return f"It is {v}; no floor could be measured."
    start = f"It is {v}, where real training {{items}} score {f}"
    least = m.floor if m.floor_low is None else m.floor_low  # a floor that may be 0 is nothing to divide by
    if least > 0 and m.value > 1.2 * m.floor and above_floor(m):
        return start + f": {m.value / m.floor:.3g} times as far."
    return start + "."


def above_floor(m: Metric) -> bool:
    """Whether the value's interval lies above the floor's."""
    return m.low is not None and m.floor_high is not None and m.low > m.floor_high


def two_sample_words(m: Metric) -> str:
    """What a two-sample test found, e.g. `in 93% of cases (p < 0.001): there are differences that it can see`."""
    p = "p < 0.001" if (m.p_value or 0) < 0.001 else f"p = {m.p_value:.3f}"
    told = (m.p_value if m.p_value is not None else 1.0) < 0.05
    end = "there are differences that it can see" if told else "it cannot tell them apart"
    return f"in {m.show(m.value)} of cases ({p}): {end}"
