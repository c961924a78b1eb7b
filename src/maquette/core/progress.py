"""How far long work is: told by whoever does it, shown by whoever watches. Where nobody watches, nothing happens.

Work is told in stages, one within the other: `with stage("measuring", 14)`, or `for x in track(xs, "measuring")`. Who
watches has the stages that are under way as a list, and looks at it when it likes: telling costs next to nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

_watched: ContextVar[list[Stage] | None] = ContextVar("watched", default=None)


@dataclass(eq=False)
class Stage:
    """A piece of work under way.

    what:  in words, such as "measuring"            state: what else people want to see, such as losses
    total: how much there is, in any unit; None: not known      done: of it so far; first: when the stage began
    even:  whether one unit takes about as long as another, so that the time left can be told
    """

    what: str
    total: int | None = None
    done: int = 0
    even: bool = True
    state: str = ""
    first: int = field(init=False)
    began: float = field(default_factory=lambda: time.monotonic())

    def __post_init__(self) -> None:
        self.first = self.done

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    @property
    def amount(self) -> str:
        """E.g. `120 of 500, ~0:12 left`; the time spent, where that is all there is to say."""
        seconds, done = self.seconds, self.done - self.first
        if not self.total:
            return _clock(seconds)
        known = self.even and done > 0 and self.done < self.total
        left = f", ~{_clock(seconds * (self.total - self.done) / done)} left" if known else ""
        return f"{self.done:,} of {self.total:,}{left}"

    def __str__(self) -> str:
        return f"{self.what}: {self.amount}{f'  {self.state}' if self.state else ''}"


def _clock(seconds: float) -> str:
    """E.g. `0:07`, `12:40`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def stage(what: str, total: int | None = None, even: bool = True) -> Iterator[Stage]:
    """A stage that is under way until the block ends; `done` and `state` are set by the block."""
    made, stages = Stage(what, total, even=even), _watched.get()
    if stages is None:
        yield made
        return
    stages.append(made)
    try:
        yield made
    finally:
        stages.remove(made)


def track(items: Iterable[T], what: str, total: int | None = None, even: bool = True) -> Iterator[T]:
    """The items, as a stage that is as far as they were asked for. total: None: as many as there are, if known"""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with stage(what, total, even=even) as made:
        for item in items:
            yield item
            made.done += 1


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    python = sys.modules.get("IPython")
    return python is not None and getattr(python.get_ipython(), "kernel", None) is not None


def watched() -> bool:
    """Whether anybody watches."""
    return _watched.get() is not None


@contextmanager
def watching(stages: list[Stage] | None) -> Iterator[None]:
    """Keeps the stages that are under way in this list, the innermost last. None: nobody watches, within the block."""
    token = _watched.set(stages)
    try:
        yield
    finally:
        _watched.reset(token)
