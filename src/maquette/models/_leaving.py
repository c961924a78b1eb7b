"""What families have in common of what leaves for other runtimes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.graph import Graph, Port, given_ports, item_port
from maquette.core.model import Exports, Given
from maquette.core.spec import ColumnSpec


def decoder(
    make: Callable[[Tensor, Given], Tensor], dim: int, columns: Mapping[str, ColumnSpec], shape: Sequence[int]
) -> Graph:
    """z and what is given -> an item. make: of codes f32[B, dim] and given columns."""
    ports = given_ports(columns, ("z", "item"))

    def run(z: Tensor, *given: Tensor) -> tuple[Tensor]:
        return (make(z, dict(zip(columns, given, strict=True))),)

    z = Port("z", ("batch", dim), "the latent code, drawn from N(0, 1)")
    return Graph("decoder", run, (z, *ports), (item_port(shape),))


def graphs_of(prior: Any, name: str, asked: Mapping[str, Any]) -> tuple[Graph, ...]:
    """Those of a model of another family, called `name` in the recipe; UserError where it cannot leave."""
    if not isinstance(prior, Exports):
        raise UserError(
            f"This run learned with the family {name}, which cannot leave.", "docs/export.md lists what can."
        )
    return prior.graphs(**asked)


def then(graph: Graph, make: Callable[[Tensor], Tensor], made: Port) -> Graph:
    """A graph whose one output is made into another."""
    return replace(graph, run=lambda *inputs: (make(*graph.run(*inputs)),), outputs=(made,))
