"""The one thread that computes: requests of one run together, those of several in turn, a step at a time."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.model import Joins, Streams
from maquette.core.progress import watching
from maquette.sampling.together import Draft, Writing
from maquette.serve import watch
from maquette.serve.catalogue import Catalogue, Loaded
from maquette.serve.errors import Refused
from maquette.serve.jobs import Alone, Job, Sampling, Texts, tell_all

SWITCH = 0.0005  # seconds that one thread may keep others waiting
LINGER = 0.02  # seconds for which a pass that was shared before waits to be filled
RECENT = 0.2  # seconds for which it counts as so
WIDE = 64  # items in one pass where a model sets no number of its own
log = logging.getLogger("maquette.serve")


class Left(Exception):
    """Nobody waits any more for what is being computed."""


class Engine:
    """Computes jobs. `submit`, `place` and `jobs` may be called from any thread."""

    def __init__(self, catalogue: Catalogue, queue: int, together: int) -> None:
        self.catalogue, self.queue, self.together = catalogue, queue, together
        self.jobs: dict[str, Job] = {}
        self.pace = 0.05  # seconds an item took of late
        self._waiting: deque[Job] = deque()
        self._lines: dict[Any, _Batch | _Writer | _Single] = {}
        self._under_way: list[Job] = []
        self._wake = threading.Condition()
        self._stopping = False
        catalogue.on_load = self._watch_for_leavers
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)

    def start(self) -> None:
        """Begins to compute."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; what is not done by then is refused."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._thread.join(5)

    @property
    def alive(self) -> bool:
        """Whether it computes."""
        return self._thread.is_alive()

    @property
    def depth(self) -> int:
        """Items that are asked for and not made yet."""
        return sum(max(job.size - job.done, 0) for job in list(self.jobs.values()) if job.open)

    def submit(self, job: Job) -> None:
        """Puts a job into the line; refuses it at once where the line is full."""
        with self._wake:
            depth = self.depth
            if self._stopping or (depth and depth + job.size > self.queue):
                after = max(1, round(depth * self.pace))
                raise Refused(
                    429, f"{depth:,} items are asked for already; try again in {after} s.", "queue_full",
                    headers={"Retry-After": str(after)},
                )  # fmt: skip
            self.jobs[job.id] = job
            self._waiting.append(job)
            self._wake.notify_all()

    def leave(self, job: Job) -> None:
        """Forgets a job, and stops what is under way for it."""
        job.cancel()
        self.jobs.pop(job.id, None)
        with self._wake:
            self._wake.notify_all()

    def place(self, job: Job) -> int:
        """How many jobs are before this one; 0: it is under way, or done."""
        if job.state != "queued":
            return 0
        return sum(other.open and other.created < job.created for other in list(self.jobs.values()))

    # -- in the thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        sys.setswitchinterval(SWITCH)  # what is computed must not wait for what is sent, token after token
        with watching([]):  # what an edit tells of its progress is shown to nobody
            while True:
                with self._wake:
                    while not self._waiting and not self._lines and not self._stopping:
                        self._wake.wait()
                    if self._stopping:
                        break
                    arrived, self._waiting = self._waiting, deque()
                for job in arrived:
                    self._line_up(job)
                for key, line in list(self._lines.items()):
                    if not self._step(line):
                        del self._lines[key]
        for job in list(self.jobs.values()):
            job.finish(Refused(503, "The server is shutting down.", "shutting_down"))

    def _line_up(self, job: Job) -> None:
        if job.gone:
            job.finish()
            return
        try:
            loaded = self.catalogue.load(job.model, self._busy)
            kind = _Batch if isinstance(job, Sampling) else _Writer if isinstance(job, Texts) else _Single
            key = (id(loaded), kind, job.alike)
            if key not in self._lines:
                self._lines[key] = kind(self, loaded)
            line: Any = self._lines[key]
            line.add(job)
            if not line.going:
                del self._lines[key]
        except BaseException as error:
            self._failed([job], error)

    def _busy(self, loaded: Loaded) -> bool:
        return any(line.loaded is loaded for line in self._lines.values())

    def _step(self, line: _Batch | _Writer | _Single) -> bool:
        """One step of a line; whether there is more of it."""
        began = time.perf_counter()
        try:
            made = line.step()
        except Left:
            made = 0
            for job in line.under_way:
                job.finish()
        except BaseException as error:
            self._failed(line.under_way, error)
            line.drop()
            made = 0
        if made:
            took = (time.perf_counter() - began) / made
            self.pace += 0.1 * (took - self.pace)
        return line.going

    def _failed(self, jobs: list[Job], error: BaseException) -> None:
        if not isinstance(error, Refused) and getattr(error, "exit_code", 1) != 2:
            log.error("A job failed: %s", type(error).__name__, exc_info=error)
        for job in jobs:
            job.finish(error)

    @contextlib.contextmanager
    def working_for(self, jobs: list[Job]) -> Iterator[None]:
        """While the block is computed for these; Left, within a step of the network, once all of them are gone."""
        self._under_way = jobs
        for job in jobs:
            if job.state == "queued":
                job.state = "in_progress"
        try:
            yield
        finally:
            self._under_way = []

    def _watch_for_leavers(self, loaded: Loaded) -> None:
        def look(*_: Any) -> None:
            if self._under_way and all(job.gone for job in self._under_way):
                raise Left

        for net in loaded.run.generator.model.children():
            net.register_forward_pre_hook(look)

    def wait_for_more(self, seconds: float) -> None:
        """Lets others come, for a moment; who comes is lined up."""
        with self._wake:
            if not self._waiting:
                self._wake.wait(seconds)
            arrived, self._waiting = self._waiting, deque()
        for job in arrived:
            self._line_up(job)


class _Batch:
    """Items of several requests that are made in one pass."""

    def __init__(self, engine: Engine, loaded: Loaded) -> None:
        self.engine, self.loaded = engine, loaded
        self.items: deque[tuple[Sampling, int]] = deque()
        self.under_way: list[Job] = []

    @property
    def going(self) -> bool:
        return bool(self.items)

    def add(self, job: Sampling) -> None:
        self.items.extend((job, i) for i in range(job.size))

    def drop(self) -> None:
        failed = set(map(id, self.under_way))
        self.items = deque(pair for pair in self.items if id(pair[0]) not in failed)

    def step(self) -> int:
        generator = self.loaded.run.generator
        rows = generator.rows or WIDE
        self._fill(rows)
        taken: list[tuple[Sampling, int]] = []
        while self.items and len(taken) < rows:
            job, i = self.items.popleft()
            if job.gone:
                job.finish()
            else:
                taken.append((job, i))
        if not taken:
            return 0
        jobs = self.under_way = list({id(job): job for job, _ in taken}.values())
        given = {name: _stacked([job.given[name][i] for job, i in taken]) for name in taken[0][0].given}
        with self.engine.working_for(jobs):
            made = generator.items([(job.seed, i) for job, i in taken], given, **taken[0][0].options)
        self.loaded.more["shared"] = (len(taken), time.monotonic())
        watch.BATCH.observe(len(taken))
        for row, (job, i) in enumerate(taken):
            job.done += 1
            job.tell((i, {name: value[row] for name, value in made.items()},
                      {name: value[row] for name, value in given.items()}))  # fmt: skip
        for job, count in Counter(job for job, _ in taken).items():
            watch.ITEMS.labels(job.model).inc(count)
            if job.done >= job.size:
                job.finish()
        return len(taken)

    def _fill(self, rows: int) -> None:
        """Waits a moment for as many as shared the pass before: who comes together would else come in two halves."""
        count, when = self.loaded.more.get("shared", (1, 0.0))
        until = time.monotonic() + LINGER
        if until - LINGER - when > RECENT:
            return
        while len(self.items) < min(rows, count) and (left := until - time.monotonic()) > 0:
            self.engine.wait_for_more(left)


def _stacked(rows: list[Tensor]) -> Tensor:
    from maquette.core.generator import stacked

    return stacked(rows)


class _Writer:
    """Texts of several requests that share each token's pass."""

    def __init__(self, engine: Engine, loaded: Loaded) -> None:
        self.engine, self.loaded = engine, loaded
        self.waiting: deque[tuple[Texts, int, Draft]] = deque()
        self.of: dict[Draft, tuple[Texts, int]] = {}
        self.writing = self._begun()

    def _begun(self) -> Writing:
        model: Any = self.loaded.run.generator.model
        assert isinstance(model, Streams)
        if "pool" not in self.loaded.more:
            self.loaded.more["pool"] = model.together() if isinstance(model, Joins) else None
        return Writing(model, self.loaded.more["pool"])

    @property
    def under_way(self) -> list[Job]:
        return list({id(job): job for job, _ in self.of.values()}.values())

    @property
    def going(self) -> bool:
        return bool(self.waiting or self.writing.drafts)

    def add(self, job: Texts) -> None:
        self.waiting.extend((job, i, draft) for i, draft in enumerate(job.drafts))

    def drop(self) -> None:
        self.loaded.more.pop("pool", None)  # whatever it holds now
        self.writing = self._begun()
        self.of.clear()

    def step(self) -> int:
        for draft in [d for d, (job, _) in self.of.items() if job.gone]:
            job, _ = self.of.pop(draft)
            self.writing.leave(draft)
            job.finish()
        while self.waiting and len(self.writing.drafts) < self.engine.together:
            job, i, draft = self.waiting.popleft()
            if job.gone:
                job.finish()
                continue
            try:
                with self.engine.working_for([job]):
                    self.writing.join(draft)
            except Exception as error:
                job.cancel()
                job.finish(error)
                continue
            self.of[draft] = (job, i)
        if not self.writing.drafts:
            return 0
        watch.BATCH.observe(len(self.writing.drafts))
        with self.engine.working_for(self.under_way):
            written = self.writing.step()
        told, over = list[tuple[Job, Any]](), list[tuple[Job, Exception | None]]()
        ended = 0
        for draft, token in written:
            job, i = self.of[draft]
            if draft.failed is not None:
                del self.of[draft]
                job.cancel()
                over.append((job, UserError(f"The model can write nothing there: {draft.failed}.", "Ask otherwise.")))
                continue
            told.append((job, (i, token, draft.logits, draft.ended, draft.cut)))
            if draft.ended:
                del self.of[draft]
                ended, job.done = ended + 1, job.done + 1
                watch.ITEMS.labels(job.model).inc()
                if job.done >= job.size:
                    over.append((job, None))
        tell_all(told)
        for done, why in over:
            done.finish(why)
        return ended


class _Single:
    """What is computed alone."""

    def __init__(self, engine: Engine, loaded: Loaded) -> None:
        self.engine, self.loaded = engine, loaded
        self.under_way: list[Job] = []
        self._pieces: Iterator[Any] | None = None

    @property
    def going(self) -> bool:
        return self._pieces is not None

    def add(self, job: Alone) -> None:
        self.under_way, self._pieces = [job], iter(job.make(self.loaded))

    def drop(self) -> None:
        self._pieces = None

    def step(self) -> int:
        (job,) = self.under_way
        if job.gone or self._pieces is None:
            self.drop()
            job.finish()
            return 0
        with self.engine.working_for([job]):
            for piece in self._pieces:
                job.tell(piece)
                return 0
        self.drop()
        job.done = job.size
        watch.ITEMS.labels(job.model).inc(job.size)
        job.finish()
        return 0
