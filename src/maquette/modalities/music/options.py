"""What can be asked of tunes: of how they are written, and of how data is prepared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from maquette.core.errors import UserError
from maquette.core.option import Lazy, Option, Plan, at_least

if TYPE_CHECKING:
    from torch import Tensor

    from maquette.core.generator import Generator
    from maquette.core.model import Model
    from maquette.core.spec import ColumnSpec, DataSpec


def _within(name: str) -> Lazy:
    """A check against the limits that sampling itself keeps."""

    def limit() -> Any:
        from maquette.sampling.autoregressive import LIMITS

        return LIMITS[name]

    return Lazy(limit)


DRAWING = (
    Option("temperature", float, 1.0, "0 always takes the likeliest token.", _within("temperature")),
    Option("top_k", int, 0, "Choose among the k likeliest tokens; 0: all.", _within("top_k")),
    Option("top_p", float, 1.0, "... among those that make up this share.", _within("top_p")),
    Option("min_p", float, 0.0, "... that have this share of the likeliest one's.", _within("min_p")),
)
PROMPT = Option("prompt", str, None, "A file of MIDI or ABC whose beginning the tune begins with.", file=True)
FULL = 0.9  # of the most tokens of a tune, that a prompt may have
BARS = Option("bars", int, 4, "Bars of the prompt.", at_least(1))


def OPTIONS(model: Model, spec: ColumnSpec) -> tuple[Option, ...]:
    """Those of a model that writes token by token. spec: of the target column"""
    from maquette.core.model import Streams

    return (*DRAWING, PROMPT, BARS) if isinstance(model, Streams) else ()


def plan(
    generator: Generator, column: str, asked: Mapping[str, Any], given: Mapping[str, Tensor], n: int,
    facts: Mapping[str, Any],
) -> Plan:  # fmt: skip
    """How n tunes are written as asked: always such that they can be read."""
    import torch

    from maquette.core.model import Streams
    from maquette.modalities.music.grammar import Grammar
    from maquette.modalities.music.tokens import opening, vocabulary
    from maquette.modalities.music.values import asked as tokens_of

    model, spec = generator.model, generator.spec.columns[column]
    if not isinstance(model, Streams):
        return Plan()
    keywords: dict[str, Any] = {option.name: asked[option.name] for option in DRAWING if option.name in asked}
    keywords["allowed"] = Grammar(vocabulary(spec.grid), spec.shape[0] - 1)
    if asked.get("prompt"):
        tokens = tokens_of(asked["prompt"], spec, lambda note: None).tolist()
        head = opening(tokens, asked.get("bars", BARS.default), spec.grid)
        if len(head) > FULL * spec.shape[0]:
            raise UserError(
                f"The prompt leaves no room: it has {len(head):,} tokens, and a tune {spec.shape[0]:,} at most.",
                "Take fewer bars: --bars 2.",
            )
        keywords["prompt"] = torch.tensor(head)
    return Plan(keywords)


def first_recipe(given: Sequence[type[ColumnSpec]], spec: ColumnSpec | None = None) -> str:
    """What to begin with. given: forms of the columns that tunes are made from."""
    return "music/lm"


def extent(spec: ColumnSpec) -> tuple[float, str]:
    """How large tunes are, as the table of needs counts it: their tokens; there is no other size to speak of."""
    return spec.mean_length or float(spec.shape[0]), ""


def first_command(spec: DataSpec, run: str) -> str:
    """What to try after training."""
    return f"sample {run} -n 4 -o tunes/"
