"""The alarms that any training has, and which alarms a training was too short for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from maquette.core.model import Watch

DIVERSITY, HELD_OUT = "preview/diversity", "preview/held_out_nats"
# Derived from what is logged: see engine/alarms.History.
OVER_FITTING, SPIKE_KEY = "preview/over_fitting", "loss_spike"
FEWEST = 20  # logged losses before one of them can be a spike
# Every model looks collapsed before it has learned anything; no run is judged by its first steps.
SOONEST_STEP = 300

# True of any generator, so they live here; those of a family or a modality come with them.
COLLAPSE = Watch(
    name="mode collapse",
    key=DIVERSITY,
    below=0.35,
    patience=0.05,
    after=0.2,
    saw="samples of the same class hardly differ, compared with the real ones (ratio of spreads)",
    advice="a lower learning rate, a stronger penalty, or a more stable recipe (maquette recipes)",
)
SPIKE = Watch(
    name="loss spike",
    key=SPIKE_KEY,
    above=3.0,
    patience=0.0,
    after=0.0,
    saw="a loss jumped far above all that it had been for a while (times its running median)",
    advice="a lower learning rate, a longer warm-up, or gradient clipping",
)
WATCHES = (COLLAPSE, SPIKE)


def exploding(phase: str, above: float) -> Watch:
    """Of a network that is trained by its gradient alone: its norm stays above what such networks have."""
    return Watch(
        name="exploding gradient",
        key=f"{phase}/grad_norm",
        above=above,
        patience=0.02,
        after=0.02,
        saw="the gradient stays far larger than that of a network that learns",
        advice="a smaller model.lr, a longer model.warmup, or model.clip=1",
    )


def too_short_for(watches: Sequence[Watch], lines: Iterable[Mapping[str, Any]], total: int) -> list[Watch]:
    """Those that could not have been raised, whatever happened: there were too few steps, or too few values.

    lines: of the log.    A watch whose value was never logged does not apply, and is not among them.
    """
    logged: dict[str, list[int]] = {}
    for line in lines:
        for key in line:
            logged.setdefault(key, []).append(line["step"])

    def could(watch: Watch, steps: Sequence[int]) -> bool:
        soonest = max(watch.after * total, SOONEST_STEP)
        judged = [step for step in steps if step >= soonest]
        fewest = FEWEST if watch is SPIKE else 0
        return bool(judged) and judged[-1] - judged[0] >= watch.patience * total and len(steps) > fewest

    found = []
    for watch in watches:
        key = HELD_OUT if watch.key == OVER_FITTING else watch.key
        keys = [name for name in logged if name.endswith("/loss")] if watch is SPIKE else [key]
        known = [logged[name] for name in keys if name in logged]
        if known and not any(could(watch, steps) for steps in known):
            found.append(watch)
    return found
