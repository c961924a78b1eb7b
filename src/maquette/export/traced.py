"""A graph as torch.export sees it, and inputs that it is tried with."""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from maquette.core.errors import MaquetteError
from maquette.core.graph import Graph, Port, Sizes
from maquette.core.rng import derive

_MORE = (5, 1, 9)  # sizes of axes that a graph says nothing about


class _Whole(nn.Module):
    """A graph as a module that has the model's weights."""

    def __init__(self, model: nn.Module, graph: Graph) -> None:
        super().__init__()
        self.model, self.graph = model, graph

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.graph.run(*inputs))


def trace(model: nn.Module, graph: Graph) -> torch.export.ExportedProgram:
    """The graph in torch's operations, of any size where its axes have names."""
    names = dict.fromkeys(axis for port in graph.inputs for axis in port.shape if isinstance(axis, str))
    axes = dict.fromkeys(names, torch.export.Dim.DYNAMIC)
    shapes = tuple({i: axes[axis] for i, axis in enumerate(port.shape) if isinstance(axis, str)}
                   for port in graph.inputs)  # fmt: skip
    with quiet():
        # Strict: only so does it follow len() of a tensor.
        return torch.export.export(
            _Whole(model, graph).eval(), examples(graph, 0), dynamic_shapes=(shapes,), strict=True
        )


def sizes(graph: Graph) -> list[dict[str, int]]:
    """Of all named axes, for each time that the graph is tried."""
    names = dict.fromkeys(axis for port in graph.inputs for axis in port.shape if isinstance(axis, str))
    told = []
    for i, known in enumerate(graph.sizes):
        others = [name for name in names if name not in known]
        told.append({**known, **{name: _MORE[i % len(_MORE)] + 2 * j for j, name in enumerate(others)}})
    return told


def examples(graph: Graph, number: int, **more: int) -> tuple[Tensor, ...]:
    """Inputs of one of its sizes. more: sizes of axes, instead."""
    chosen = {**sizes(graph)[number], **more}
    known = graph.example(chosen, number) if graph.example else {}
    source = torch.Generator().manual_seed(derive(number, "export", graph.name))
    return tuple(known[port.name] if port.name in known else _drawn(port, chosen, source) for port in graph.inputs)


def _drawn(port: Port, chosen: Sizes, source: torch.Generator) -> Tensor:
    shape = [chosen[axis] if isinstance(axis, str) else axis for axis in port.shape]
    if port.dtype == "int64":
        return torch.randint(int(port.low or 0), int(port.high or 0) + 1, shape, generator=source)
    if port.low is None or port.high is None:
        return torch.randn(shape, generator=source)
    return port.low + (port.high - port.low) * torch.rand(shape, generator=source)


def distance(made: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """The greatest difference of two answers, over their greatest value where that is above 1."""
    found = [0.0]
    for one, other in zip(made, wanted, strict=True):
        if one.shape != other.shape:
            return math.inf
        if other.numel():
            off = (one.double() - other.double()).abs().max() / other.double().abs().max().clamp(min=1)
            found.append(math.inf if off.isnan() else off.item())
    return max(found)


def refuse(distance: float, allowed: float, what: str) -> None:
    """MaquetteError where what was made would not compute what the model does."""
    if distance > allowed:
        raise MaquetteError(
            f"{what} disagrees with the model, by {distance:.2g} where {allowed:g} is allowed: it was not written.",
            "This is a fault of ours; please report it.",
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what torch says of its own ways."""
    loggers = [logging.getLogger(name) for name in ("", "torch.onnx", "torch.export", "torch._dynamo", "onnxscript")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
