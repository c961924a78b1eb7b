"""Where distances are measured: a network that turns items into features, and which items it may not learn from.

A modality offers such networks in `FEATURES` of its module `features`: name -> `Build`. The first is what is used where
nobody asks for another; if it is a classifier of the label, it stands behind every number about classes. In the
same module, `comparable` makes items comparable number by number (see neighbours.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maquette.core.cache import cache_folder, trim, use
from maquette.core.errors import MaquetteError, UserError
from maquette.core.files import ready
from maquette.core.rng import derive
from maquette.core.table import Column, Dataset
from maquette.core.tensors import read_tensors, write_tensors
from maquette.evaluation.bootstrap import Array

RESERVE = 5000
N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Seen:
    """What a network saw in n items.

    features: f64[n, D]      classes: i64[n], the most likely class, when the network is a classifier
    """

    features: Array
    classes: NDArray[np.int64] | None = None


class FeatureNetwork(Protocol):
    """name: as it is asked for; identity: kind, version and digest, so that numbers can be told apart; dim: D.

    classes: what it tells apart where it is a classifier, in the numbering of the label; () where it is none
    learned: whether it learned from the training items of this data, those of the reserve left out (see `order`)
    """

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def dim(self) -> int: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def learned(self) -> bool: ...

    def see(self, items: Iterator[Tensor]) -> Seen:
        """Chunks of canonical items [B, ...] -> features (and classes) of all of them."""
        ...


Notify = Callable[[str], None]
Build = Callable[[Dataset, str, str | None, torch.device, Path | None, Notify], FeatureNetwork]
"""(dataset, column of the items, column of their labels if any, device, cache folder, notify) -> network."""


def kept(network: N, identity: str, train: Callable[[], N], cache: Path | None, notify: Notify | None) -> N:
    """The network with the weights that are kept under this name; where there are none, what `train` makes, which is
    then kept. cache: the folder for them; None: that of evaluations"""
    path = (cache or cache_folder("evaluation")) / f"{identity}.safetensors"
    if path.is_file():
        try:
            use(path)
            network.load_state_dict(read_tensors(path))
            return network
        except (UserError, RuntimeError):
            pass  # damaged: train it again and replace it
    # enable_grad: whoever judges a generator may well have turned gradients off around us.
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        network = train()
    try:
        write_tensors(ready(path), network.state_dict(), {"maquette": identity})
        use(path)
        trim()
    except (MaquetteError, OSError) as error:
        if notify:
            notify(f"The feature network could not be kept: {str(error).splitlines()[0]}")
    return network


def epochs(rows: NDArray[np.int64], batch: int, steps: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """`steps` batches of rows, shuffled anew each epoch; the last partial batch is left out."""
    per_epoch = len(rows) // batch
    for step in range(steps):
        if step % per_epoch == 0:
            shuffled = rng.permutation(rows)
        start = step % per_epoch * batch
        yield shuffled[start : start + batch]


def order(n: int) -> tuple[NDArray[np.int64], int]:
    """A fixed shuffle of the n training rows, and how many at its start are the reserve.

    No feature network learns from the reserve: floors are measured on it, so that the network knows neither side of a
    floor by heart.
    """
    shuffled = np.random.default_rng(derive(0, "reserve")).permutation(n)
    return shuffled, min(RESERVE, n // 3)


def chunks(column: Column, rows: NDArray[np.int64] | None = None, size: int = 500) -> Iterator[Tensor]:
    """Canonical tensors of these rows (all when None), a few at a time."""
    rows = np.arange(len(column)) if rows is None else rows
    for start in range(0, len(rows), size):
        yield column.take(rows[start : start + size])


def batches(items: Tensor, size: int = 500) -> Iterator[Tensor]:
    """The items, a few at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))
