"""The order of batches is derived: exact on resume, shared exactly, whatever the thread does."""

from __future__ import annotations

import functools
import operator
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from maquette.core.errors import UserError
from maquette.core.spec import ColumnSpec, DataSpec
from maquette.core.table import Table
from maquette.data import Loader
from maquette.modalities.image import Spec as ImageSpec


@dataclass
class Numbers:
    """A column whose items are their own row numbers; as slow as asked."""

    n: int
    seconds: float = 0.0

    @property
    def spec(self) -> ColumnSpec:
        return ImageSpec(shape=(1, 1, 1))

    def __len__(self) -> int:
        return self.n

    @property
    def lengths(self) -> np.ndarray | None:
        return None

    def take(self, rows: np.ndarray) -> torch.Tensor:
        time.sleep(self.seconds)
        return torch.from_numpy(rows.astype(np.float32)).reshape(-1, 1, 1, 1)


def loader(
    n: int, size: int, seed: int = 0, share: tuple[int, int] = (0, 1), seconds: float = 0.0, overlap: int = 1
) -> Loader:
    column = Numbers(n, seconds)
    spec = DataSpec(columns={"image": column.spec}, target=("image",))
    return Loader(Table({"image": column}, range(n), overlap), spec, size, seed, share)  # type: ignore[arg-type]


def rows(made: Loader, steps: range) -> list[list[int]]:
    return [made.batch(step).target["image"].flatten().int().tolist() for step in steps]


def test_each_epoch_is_a_permutation_of_its_own() -> None:
    flat = np.concatenate(rows(loader(10, 4), range(15)))
    epochs = flat.reshape(6, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6
    assert rows(loader(10, 4, seed=1), range(15)) != rows(loader(10, 4), range(15))


def test_rows_of_an_endless_table_are_others_in_each_epoch() -> None:
    made = loader(10, 4)
    made._table = replace(made._table, endless=True)
    epochs = np.concatenate(rows(made, range(15))).reshape(6, 10)
    assert np.array_equal(np.sort(epochs), np.arange(60).reshape(6, 10))


def test_rows_that_overlap_are_read_only_after_all_else() -> None:
    passes = np.concatenate(rows(loader(40, 5, overlap=4), range(8))).reshape(4, 10)
    assert all((np.diff(np.sort(one)) == 4).all() for one in passes)
    assert sorted(passes.flatten()) == list(range(40))
    assert len({tuple(one // 4) for one in passes}) == 4  # in an order of its own each time


def test_a_batch_may_be_larger_than_the_table() -> None:
    (batch,) = rows(loader(3, 10), range(1))
    assert np.bincount(batch).tolist() in ([3, 3, 4], [3, 4, 3], [4, 3, 3])


@pytest.mark.parametrize("seconds", [0.0, 0.003])
def test_resume_in_mid_epoch_is_exact(seconds: float) -> None:
    straight = rows(loader(50, 8, seconds=seconds), range(20))
    resumed = loader(50, 8, seconds=seconds)
    assert rows(resumed, range(13, 20)) == straight[13:]
    assert rows(resumed, range(3, 6)) == straight[3:6]  # backwards, past what was made ready
    resumed.close()
    assert rows(resumed, range(2)) == straight[:2]


@pytest.mark.parametrize(("size", "world"), [(8, 2), (7, 2), (9, 4)])
def test_the_shares_make_up_the_whole(size: int, world: int) -> None:
    whole = rows(loader(50, size), range(12))
    shares = [rows(loader(50, size, share=(rank, world)), range(12)) for rank in range(world)]
    assert [functools.reduce(operator.iadd, (share[step] for share in shares), []) for step in range(12)] == whole


def test_a_slow_table_is_read_ahead_and_the_waiting_is_counted() -> None:
    slow = loader(50, 8, seconds=0.01)
    for step in range(20):
        slow.batch(step)
        time.sleep(0.02)  # training
    assert 0.01 < slow.waited_seconds < 0.12  # about 0.2 without reading ahead
    slow.close()


def test_a_quick_table_needs_no_thread() -> None:
    quick = loader(50, 8)
    rows(quick, range(1))
    assert quick._thread is None


def test_an_error_in_the_thread_reaches_the_caller() -> None:
    made = loader(50, 8, seconds=0.005)
    rows(made, range(3))
    time.sleep(0.05)
    made._table.columns["image"].take = None  # type: ignore[assignment, method-assign]
    with pytest.raises(TypeError):
        rows(made, range(3, 12))
    made.close()


def test_an_empty_table() -> None:
    with pytest.raises(UserError, match="nothing to train on"):
        loader(0, 4)
