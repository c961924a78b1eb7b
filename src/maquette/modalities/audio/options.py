"""What can be asked of sounds: of how data is prepared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from maquette.core.option import Option, Plan, above, at_least, between
from maquette.modalities.audio.bounds import FASTEST, SHORTEST, SLOWEST

if TYPE_CHECKING:
    from torch import Tensor

    from maquette.core.about import About
    from maquette.core.asking import Asking
    from maquette.core.generator import Generator
    from maquette.core.light import LightGenerator
    from maquette.core.model import Model
    from maquette.core.spec import ColumnSpec, DataSpec

# Of the recipe's section data.audio, by the names they have there.
DATA_OPTIONS = (
    Option("rate", int, None, "Samples a second of sounds: 8000 of speech, 16000, 22050, ... [default: that of most]",
           between(SLOWEST, FASTEST)),
    Option("seconds", float, None, "Length of a sound; longer recordings are read in windows of it. [default: that of "
           "the clips]", at_least(SHORTEST)),
    Option("trim", float, None, "Cut off what is quieter than the loudest moment by so many dB, at both ends of a "
           "sound. [default: nothing]", above(0)),
)  # fmt: skip
STREAM = Option("stream", bool, False, "Give one sound to a pipe as it is made: | ffplay -", only="command")
LIKE = Option("like", str, None, "A sound whose mel bands they are to have. [default: none]", file=True)
SLOWEST_SHOWN = 8000  # samples a second of what is proposed for a first look


def OPTIONS(model: Model | Any, spec: ColumnSpec) -> tuple[Option, ...]:
    """Those of a model that makes a sound from its beginning to its end. spec: of the target column"""
    streams = (STREAM,) if hasattr(model, "unfold") else ()  # Unfolds, which cannot be asked for without torch
    return (*streams, LIKE) if getattr(model, "mel", None) else streams


def plan(
    generator: Generator, column: str, asked: Mapping[str, Any], given: Mapping[str, Tensor], n: int,
    facts: Mapping[str, Any],
) -> Plan:  # fmt: skip
    """What is asked of sounds, in the model's own terms."""
    return Plan(_heard(generator, column, asked))


def _heard(generator: Asking, column: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The sound that is named, as a tensor."""
    if "like" not in asked:
        return dict(asked)
    from maquette.modalities.audio.values import asked as sound_of

    spec = generator.spec.columns[column]
    return {**asked, "like": sound_of(asked["like"], spec, lambda note: click.echo(note, err=True))}


def stream(
    generator: Generator | LightGenerator, column: str, asked: Mapping[str, Any], given: dict[str, Any], seed: int,
    item: int, facts: Mapping[str, Any], about: About,
) -> Iterator[bytes]:  # fmt: skip
    """One sound as a WAV file, piece by piece."""
    from maquette.modalities.audio.streaming import stream as written

    pieces = generator.unfold(given, seed, item, _heard(generator, column, asked))
    return written(pieces, generator.spec.columns[column], about)


def first_recipe(given: Sequence[type[ColumnSpec]], spec: ColumnSpec | None = None) -> str:
    """What to begin with. given: forms of the columns that sounds are made from."""
    from maquette.core.spec import TokenSpec

    return "audio/tts" if any(issubclass(form, TokenSpec) for form in given) else "audio/flow"


def extent(spec: ColumnSpec) -> tuple[float, str]:
    """How large sounds are, as the table of needs counts it: in samples; and in words."""
    return float(spec.shape[0] * spec.shape[1]), f"{spec.seconds:.3g} s at {spec.rate_hz:,} Hz"


def smaller(spec: ColumnSpec) -> dict[str, ColumnSpec]:
    """Sounds of fewer samples, the largest first, by the option that asks for them."""
    channels, length = spec.shape
    found, rate = {}, spec.rate_hz
    while rate >= 2 * SLOWEST_SHOWN:
        rate, length = rate // 2, -(-length // 2)
        found[f"--rate {rate}"] = spec.model_copy(update={"shape": (channels, length), "rate_hz": rate})
    return found


def first_command(spec: DataSpec, run: str) -> str:
    """What to try after training."""
    from maquette.core.option import identifier
    from maquette.core.spec import TokenSpec

    words = next(iter(spec.givens(TokenSpec)), None)
    return f'sample {run} --{identifier(words).replace("_", "-")} "..." -n 4' if words else f"sample {run} -n 8"
