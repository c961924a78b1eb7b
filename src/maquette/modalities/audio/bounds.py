"""Between what bounds sounds are: what says to be beyond them is damaged, or a slip."""

from __future__ import annotations

SLOWEST, FASTEST = 1000, 384_000  # samples a second
SHORTEST, LONGEST = 0.01, 3600.0  # seconds of an item
