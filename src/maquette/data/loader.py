"""Batches in an order that is derived from (seed, epoch), never saved: step s is the same in every run."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np

from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.rng import derive
from maquette.core.spec import DataSpec
from maquette.core.table import Table

AHEAD = 3  # batches that the thread keeps ready
POOL = 50  # batches within which rows are sorted by length: little padding, and still another order each epoch
SLOW_SECONDS = 1e-3  # a batch that takes less is gathered on the spot: a thread would only compete for the core
WARM = 10  # batches before which one slow one says little


class Loader:
    """Batches of a table by step.

    The items of global step s are the positions s*B .. (s+1)*B of the endless concatenation of one
    permutation of the table an epoch; each process takes its own contiguous share of them. Where rows differ
    in length, the permutation keeps rows of like length together; those of an endless table show something else
    in each epoch. Where a batch is slow to gather, one thread prepares the next steps; it changes nothing but the
    waiting.
    """

    def __init__(
        self, table: Table, spec: DataSpec, batch_size: int, seed: int, share: tuple[int, int] = (0, 1)
    ) -> None:
        """batch_size: items over all processes; share: (rank, world)."""
        if not len(table):
            raise UserError("There is nothing to train on: the table is empty.", "See `maquette data inspect`.")
        rank, world = share
        self._table, self._spec, self._size, self._seed = table, spec, batch_size, seed
        self._first, self._last = batch_size * rank // world, batch_size * (rank + 1) // world
        self._lengths = table.lengths(spec)
        self._order = lru_cache(maxsize=3)(self._permutation)
        self._ready: dict[int, Future[Batch]] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._batches = 0
        self.waited_seconds = 0.0  # in all, in `batch`: the time for which training stood still

    def rows(self, step: int) -> np.ndarray:
        """Rows of the table that make our share of a step: i64."""
        first, last = step * self._size + self._first, step * self._size + self._last
        epoch, start = divmod(first, len(self._table))
        new = len(self._table) * self._table.endless  # rows further in each epoch
        if start + last - first <= len(self._table):  # nearly always: within one epoch
            return self._order(epoch)[start : start + last - first] + epoch * new
        places = np.arange(first, last)
        epochs, within = np.divmod(places, len(self._table))
        made = np.empty(len(places), np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            made[here] = self._order(int(epoch))[within[here]] + int(epoch) * new
        return made

    def batch(self, step: int) -> Batch:
        """Our share of the batch of a step, on the CPU. Any step may be asked for; steps in order are quick."""
        started = time.perf_counter()
        ahead = self._ready.pop(step, None)
        made = ahead.result() if ahead else self._gather(step)
        seconds = time.perf_counter() - started
        self.waited_seconds += seconds
        self._batches += 1
        # By the mean: a thread shares Python with the training, and one slow moment is no reason for it.
        slow = self.waited_seconds > SLOW_SECONDS * max(self._batches, WARM)
        if self._thread is None and slow:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="maquette-loader")
        if self._thread is not None:
            for past in [s for s in self._ready if not step < s <= step + AHEAD]:
                self._ready.pop(past).cancel()
            for coming in range(step + 1, step + 1 + AHEAD):
                if coming not in self._ready:
                    self._ready[coming] = self._thread.submit(self._gather, coming)
        return made

    def close(self) -> None:
        """Stops the thread; `batch` may still be called afterwards."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
        self._thread, self._ready = None, {}

    def _gather(self, step: int) -> Batch:
        return self._table.batch(self.rows(step), self._spec)

    def _permutation(self, epoch: int) -> np.ndarray:
        chance = np.random.default_rng(derive(self._seed, "order", epoch))
        order = _spread(chance.permutation(len(self._table)), self._table.overlap)
        return order if self._lengths is None else _bucketed(order, self._lengths, self._size, chance)


def _spread(order: np.ndarray, overlap: int) -> np.ndarray:
    """The same rows, so that all of the sequences is read once before any of it is read again.

    overlap: as of a Table: so many neighbouring rows begin within what one of them shows
    """
    return order[np.argsort(order % overlap, kind="stable")] if overlap > 1 else order


def _bucketed(order: np.ndarray, lengths: np.ndarray, size: int, chance: np.random.Generator) -> np.ndarray:
    """The same rows, batch by batch of like length: pools of some batches are sorted, and the batches shuffled.

    The last, smaller batch of an epoch stays last, so that every other batch begins where a step begins. (From
    the second epoch on, steps begin within batches unless the size divides the rows: harmless, as neighbours are
    shuffled.)
    """
    pools = [order[i : i + POOL * size] for i in range(0, len(order), POOL * size)]
    ordered = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    whole = len(ordered) // size
    batches = ordered[: whole * size].reshape(whole, size)
    return np.concatenate([batches[chance.permutation(whole)].reshape(-1), ordered[whole * size :]])
