"""Requests on their way: what is computed for each, how far it is, and how it is told to whoever waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from maquette.sampling.together import Draft
from maquette.serve.catalogue import Loaded
from maquette.serve.errors import Refused

State = Literal["queued", "in_progress", "completed", "failed", "cancelled"]


@dataclass(eq=False)
class Job:
    """One request. Whoever computes calls `tell`, from any thread; whoever waits reads `events`.

    size:  items that it asks for     done: those that are made     gone: whether nobody waits any more
    """

    id: str
    model: str
    size: int
    created: float = field(default_factory=time.time)
    state: State = "queued"
    done: int = 0
    gone: bool = False
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Any] = asyncio.Queue()

    @property
    def open(self) -> bool:
        """Whether it is not at its end."""
        return self.state in ("queued", "in_progress")

    @property
    def alike(self) -> Any:
        """What those share that are computed together: here nothing."""
        return self.id

    def tell(self, event: Any) -> None:
        """Something that was made."""
        self._put(event)

    def finish(self, error: BaseException | None = None) -> None:
        """Ends it, once."""
        if self.open:
            self.state = "cancelled" if self.gone else "failed" if error else "completed"
            if self.gone and error is None:
                error = Refused(409, "The request was stopped.", "cancelled")
            self.error = error
            self._put(_End(error))

    def cancel(self) -> None:
        """Whoever asked has left: what is under way for it stops within a step."""
        self.gone = True

    def _put(self, event: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def events(self) -> AsyncIterator[Any]:
        """What is told of it, to its end; raises what it failed with."""
        async for several in self.bundles():
            for event in several:
                yield event

    async def bundles(self) -> AsyncIterator[list[Any]]:
        """The same, as many at a time as there are: who sends slowly sends more at once."""
        while True:
            found = [await self._events.get()]
            while not self._events.empty():
                found.append(self._events.get_nowait())
            last = found.pop() if isinstance(found[-1], _End) else None
            if found:
                yield found
            if last is not None:
                if last.error is not None:
                    raise last.error
                return


def tell_all(events: Sequence[tuple[Job, Any]]) -> None:
    """The same of several jobs, in one go: waking those who wait costs more than what they are told."""

    def put() -> None:
        for job, event in events:
            job._events.put_nowait(event)

    if events and not events[0][0]._loop.is_closed():
        events[0][0]._loop.call_soon_threadsafe(put)


@dataclass(frozen=True)
class _End:
    error: BaseException | None


@dataclass(eq=False)
class Sampling(Job):
    """Items (seed, first + i), each told as (i, its targets by column, what it was given). options: of the family"""

    seed: int = 0
    given: Mapping[str, Tensor] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def alike(self) -> tuple[Any, ...]:
        """Whose items can be made in one pass."""
        return (tuple(sorted(self.given)), repr(sorted(self.options.items())))


@dataclass(eq=False)
class Texts(Job):
    """Texts, each token told as (i, token, logits, whether it is the last, whether it was cut). drafts: one for each"""

    drafts: Sequence[Draft] = ()

    @property
    def alike(self) -> Any:
        """All texts of a run are written together."""
        return None


@dataclass(eq=False)
class Alone(Job):
    """Whatever is computed alone: each thing that `make` yields is told; it can be stopped in between."""

    make: Callable[[Loaded], Iterator[Any]] = lambda loaded: iter(())
