"""What keeps a training to its time on a machine that gets busier, or quieter: how many steps there can still be."""

from __future__ import annotations

LOOKS = 50  # at the clock, over the time there is
SOONEST = 0.25  # seconds between looks
GRACE = 0.02  # of the time: what a run that is late may take to end well, and what is not worth a change
ASIDE = 0.08  # of the time, that previews may take; the plan, where it knows them, means them to take less
TELLING = 20  # steps from which on their mean is worth remembering
LEAST = 1.0  # seconds that are not worth a change in a short run


class Pace:
    """How long steps take of late. Clocks are in seconds of training, over the whole run.

    until: when it should end; None: whenever      step, clock: where this session is as it begins
    The first step of a session is not counted: compiling or a cold cache make it long.
    """

    def __init__(self, until: float | None, step: int, clock: float) -> None:
        self.until = until
        self._span = (until or 0.0) - clock
        self._first, self._began = step + 1, clock
        self._counted = self._looked = clock
        self._at = step
        self._step_seconds: float | None = None
        self._asides: dict[str, float] = {}  # the last of each kind
        self._aside = self._aside_since = 0.0  # seconds of all of them, and of those since the last look

    def aside(self, kind: str, seconds: float) -> None:
        """Notes time that is not a step's: of a preview, a checkpoint, the log."""
        self._asides[kind] = seconds
        self._aside += seconds
        self._aside_since += seconds

    def affords(self, kind: str, clock: float) -> bool:
        """Whether there is time for one more of a kind before the last: they are no more than a share of it."""
        spent = self._aside + self._asides.get(kind, 0.0)
        return self.until is None or spent <= ASIDE * (clock - self._began)

    def last(self, kind: str) -> float | None:
        """Seconds of the last of a kind."""
        return self._asides.get(kind)

    def step_seconds(self, step: int, clock: float) -> float | None:
        """Of a step of this session, on average; None where there were few."""
        steps = step - self._first
        return max(clock - self._counted - self._aside, 1e-9) / steps if steps >= TELLING else None

    def due(self, step: int, clock: float) -> bool:
        """Whether it is time to look."""
        if step == self._first:
            self._counted = self._looked = clock
            self._at, self._aside, self._aside_since = step, 0.0, 0.0
        return self.until is not None and step > self._first and clock - self._looked > max(self._span / LOOKS, SOONEST)

    def steps(self, step: int, clock: float, total: int) -> int:
        """How many steps the whole run should have: `total`, unless another number keeps the time better."""
        assert self.until is not None
        new = max((clock - self._looked - self._aside_since) / (step - self._at), 1e-9)
        self._step_seconds = new if self._step_seconds is None else 0.5 * (self._step_seconds + new)
        self._looked, self._at, self._aside_since = clock, step, 0.0
        each = self._step_seconds + self._aside / (step - self._first)
        left = self.until - clock - sum(self._asides.values())  # one more of each comes after the last step
        grace = GRACE * self._span
        if left < grace:  # late: no more steps than there would be, and only a few
            return min(total, step + int(max(min(grace, left + 2 * grace), 0.0) / each))
        planned = (total - step) * each
        if abs(planned - left) < max(grace, LEAST, 0.1 * left):
            return total
        # What is seen of one moment may be wrong by much: not more than by half, or twofold, at a time.
        return step + max(1, int(min(max(left, 0.5 * planned), 2 * planned) / each))
