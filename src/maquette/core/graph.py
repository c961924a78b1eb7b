"""What of a model can leave for other runtimes: computations whole, each with what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from maquette.core.option import identifier
from maquette.core.spec import ClassSpec, ColumnSpec, GridSpec, NumberSpec, TokenSpec

Sizes = Mapping[str, int]  # of axes, by their names


@dataclass(frozen=True)
class Port:
    """An input or an output.

    shape:     a name where an axis may have any size
    means:     what it is, in words, with its range
    dtype:     float32, or int64
    low, high: the least and the most it may be; None: a float is N(0, 1)
    classes:   what whole numbers stand for, from 0 on
    shares:    how often each of these came in training, as samples draw them
    what:      logits: scores of what comes next, of which only their softmax counts; state: what goes in again
    """

    name: str
    shape: tuple[int | str, ...]
    means: str
    dtype: Literal["float32", "int64"] = "float32"
    low: float | None = None
    high: float | None = None
    classes: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    what: Literal["values", "logits", "state"] = "values"


@dataclass(frozen=True)
class Graph:
    """One computation.

    name:    beside the model's others
    run:     tensors of `inputs`, in their order -> those of `outputs`: of a model in eval mode, without gradients, in
             float32; traced, so nothing in it may depend on values
    sizes:   of the named axes, with which it is tried; it is traced with the first, in which none is 0 or 1 and no two
             are alike
    example: inputs of such sizes by name, from a seed; those that it leaves out are drawn within their ranges
    """

    name: str
    run: Callable[..., Sequence[Tensor]]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    sizes: tuple[Sizes, ...] = ({"batch": 3}, {"batch": 1}, {"batch": 7})
    example: Callable[[Sizes, int], Mapping[str, Tensor]] | None = None


def given_ports(columns: Mapping[str, ColumnSpec], taken: Sequence[str] = (), needed: bool = False) -> tuple[Port, ...]:
    """An input for each given column, and how to say that it is not given. taken: names of other ports.

    needed: whether it cannot be left out
    """
    return tuple(_given(name, column, taken, needed) for name, column in columns.items())


def _given(name: str, column: ColumnSpec, taken: Sequence[str], needed: bool) -> Port:
    port = identifier(name)
    port = f"given_{port}" if port in taken else port

    def less(nothing: str) -> str:
        return "" if needed else f"; {nothing}: not given"

    if isinstance(column, ClassSpec):
        means, last = f"number of the class of '{name}'{less('-1')}", column.num_classes - 1
        return Port(port, ("batch",), means, "int64", -1, last, column.classes, column.shares)
    if isinstance(column, NumberSpec):
        low, high = column.low, max(column.high, column.low)
        return Port(port, ("batch",), f"'{name}', in its own unit{less('NaN')}", low=low, high=high)
    if isinstance(column, TokenSpec):
        means = f"tokens of '{name}', filled up with 0{less('0 alone')}"
        return Port(port, ("batch", port), means, "int64", 0, column.vocab - 1)
    assert isinstance(column, GridSpec)
    return Port(port, ("batch", *column.shape), f"'{name}', from -1 to 1{less('NaN')}", low=-1, high=1)


def item_port(shape: Sequence[int], means: str = "what is made, from -1 to 1") -> Port:
    """The output of a model of items on grids, (channels, *grid) each."""
    return Port("item", ("batch", *shape), means, low=-1, high=1)
