"""Runs a job over many tasks on all cores, and yields the results in the order of the tasks."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from maquette.core.errors import MaquetteError

T = TypeVar("T")
R = TypeVar("R")

_job: Callable[[Any], Any] | None = None


def in_order(job: Callable[[T], R], tasks: Iterable[T], many: bool) -> Iterator[R]:
    """job(task) for each task. many: whether the work is worth starting workers for.

    Small files cost more Python than decoding, so threads would queue for the interpreter's lock:
    on Linux the workers are forked processes (twice as fast on two cores, measured). Only a few tasks are
    under way at a time, so that memory stays flat.
    """
    workers = min(8, _cores())
    if not many or workers == 1:
        yield from map(job, tasks)
        return
    pool = _pool(job, workers)
    waiting: deque[Future[R]] = deque()
    tasks = iter(tasks)
    try:
        for task in itertools.islice(tasks, 4 * workers):
            waiting.append(_submit(pool, task))
        while waiting:
            done = waiting.popleft().result()
            for task in itertools.islice(tasks, 1):
                waiting.append(_submit(pool, task))
            yield done
    except BrokenProcessPool:
        raise MaquetteError(
            "A process that prepares data was killed, most likely for want of memory.",
            "Close other programs, or prepare fewer or smaller items.",
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: Executor, task: Any) -> Future[Any]:
    with warnings.catch_warnings():
        # Forking beside other threads is announced as risky: ours decode files and touch no lock or torch.
        warnings.simplefilter("ignore", DeprecationWarning)
        return pool.submit(_call, task)


def _pool(job: Callable[[Any], Any], workers: int) -> Executor:
    if sys.platform == "linux" and not multiprocessing.current_process().daemon:
        fork = multiprocessing.get_context("fork")
        return ProcessPoolExecutor(workers, fork, initializer=_start, initargs=(job, os.getpid()))
    global _job
    _job = job
    return ThreadPoolExecutor(workers)


def _start(job: Callable[[Any], Any], parent: int) -> None:
    """In a worker: keeps the job (inherited, never pickled), leaves Ctrl-C to the parent, and ends where that does."""
    global _job
    _job = job
    threading.Thread(target=_outlive, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # not the bar's: its lock may have been held at the fork
    warnings.simplefilter("ignore")  # remarks of decoders on odd files: what matters is reported


def _outlive(parent: int) -> None:
    """Of a parent that was killed nothing is heard: each worker holds the other ends of its pipes."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _call(task: Any) -> Any:
    assert _job is not None
    return _job(task)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
