"""What families have in common of what leaves for other runtimes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from maquette.core.graph import Graph, Port, given_ports, item_port
from maquette.core.model import Given
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
