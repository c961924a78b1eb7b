"""What a run of texts can do beyond sampling: `run.translate(lines)`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from maquette.core.spec import TokenSpec

if TYPE_CHECKING:
    from torch import Tensor

    from maquette.core.generator import Generator


def translate(run: Any) -> Callable[..., Iterator[str]]:
    """The target of each source text, in order: see translation.translate."""
    from maquette.modalities.text import translation

    return functools.partial(translation.translate, run.generator, notify=run.notify)


TOOLS = {"translate": translate}


def best(generator: Generator) -> Callable[[dict[str, Tensor]], Tensor] | None:
    """From given tensors to the best targets; None for a model that has no source to write from."""
    from maquette.core.model import Streams
    from maquette.modalities.text import translation

    if not isinstance(generator.model, Streams) or not generator.spec.givens(TokenSpec):
        return None
    return functools.partial(translation.best, generator)
