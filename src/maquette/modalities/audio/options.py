"""What can be asked of sounds: of how data is prepared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from maquette.core.option import Option, above, between
from maquette.modalities.audio.config import FASTEST, SLOWEST

if TYPE_CHECKING:
    from maquette.core.spec import ColumnSpec, DataSpec

# Of the recipe's section data.audio, by the names they have there.
DATA_OPTIONS = (
    Option("rate", int, None, "Samples a second of sounds: 8000 of speech, 16000, 22050, ... [default: that of most]",
           between(SLOWEST, FASTEST)),
    Option("seconds", float, None, "Length of a sound; longer recordings are read in windows of it. [default: that of "
           "the clips]", above(0)),
    Option("trim", float, None, "Cut off what is quieter than the loudest moment by so many dB, at both ends of a "
           "sound. [default: nothing]", above(0)),
)  # fmt: skip
SLOWEST_SHOWN = 8000  # samples a second of what is proposed for a first look


def first_recipe(given: Sequence[type[ColumnSpec]]) -> str:
    """What to begin with. given: forms of the columns that sounds are made from."""
    return "audio/wavenet"


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
    return f"sample {run} -n 8"
