"""Layers that can be computed in two ways, of which a machine does one faster.

Which one is measured once (engine/speed.py) and then written into the recipe of the run: what is resumed, or made from
it later, has the same bits whatever another measurement would say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from maquette.core.counts import counted

if TYPE_CHECKING:  # it takes a second to import, which reading recipes can do without
    from torch import Tensor, nn

When = Literal["always", "learning", "sampling", "never"]


@runtime_checkable
class TwoWays(Protocol):
    """fewer: when it takes the way with fewer multiplications; None: by a rule of its own"""

    fewer: str | None
    weight: Tensor

    def faster(self, x: Tensor) -> str | None:
        """When that way is faster here for items like x: a `When`, measured; None: there is nothing to choose."""
        ...


def two_ways(model: nn.Module) -> dict[str, TwoWays]:
    """The layers of a model that have a choice, by name."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, TwoWays)}


def settle(model: nn.Module, fewer: Mapping[str, When] | Literal["auto"]) -> None:
    """Fixes the layers that are named; all others stay as they are."""
    chosen = {} if fewer == "auto" else fewer
    for name, layer in two_ways(model).items() if chosen else ():
        layer.fewer = chosen.get(name, layer.fewer)


def in_words(fewer: Mapping[str, When]) -> str:
    """How many layers learn with fewer multiplications; "" where there was nothing to choose."""
    learning = sum(when in ("always", "learning") for when in fewer.values())
    of = counted(len(fewer), "convolution", "convolutions")
    return f"{learning} of {of} with fewer multiplications" if fewer else ""
