"""WaveNet (van den Oord et al. 2016): a sound sample by sample, each drawn given all before it.

Here stand its settings, and how it sounds from arrays alone: torch takes most of the time from the command to the first
sound, so it is left out where it can be. The model, and what it minimises, is in _wavenet.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from maquette.core.bounds import VALUES, Depth, Width
from maquette.core.cache import cache_folder
from maquette.core.errors import UserError
from maquette.core.option import Option, above
from maquette.core.rng import uniform_of
from maquette.core.spec import FORMS, ClassSpec, DataSpec, GridSpec
from maquette.models._learning import Learning, Muon, Warmup
from maquette.nets import sounding
from maquette.nets.sounding import Array, Sizes, Voice, Weights

if TYPE_CHECKING:
    from maquette.models._wavenet import WaveNetModel

SUPPORTS = (GridSpec,)
GIVEN = FORMS
OPTIONS = (
    Option("temperature", float, 1.0, "Below 1, likelier samples: cleaner, and less varied.", above(0)),
    Option("int8", bool, False, "Weights of 8 bits: 1.3 times as fast, and 0.0002 nats a sample worse."),
)
SLOWLY = "without numba, with which it is some 25 times as fast: pip install 'maquette[fast]'"
CODES = 256


class Config(Learning):
    """Settings of a WaveNet."""

    blocks: Depth = Field(4, le=16, description="times that the dilations 1, 2, 4, ... are gone through")
    layers: Depth = Field(10, le=14, description="layers of a block: with each of them it hears twice as far back")
    residual: Width = Field(32, le=1024, description="numbers that go from layer to layer; multiples of 16 are fast")
    skip: Width = Field(256, le=4096, description="numbers that the last layers read; multiples of 16 are fast")
    condition: Width = Field(64, description="numbers that describe what is given")
    output: Literal["mu-law", "logistics"] = Field(
        "mu-law",
        description="how a sample is drawn: mu-law: of 256 values, finer where it is quiet; logistics: of all that 16 "
        "bits have, by a mixture of logistic distributions (Salimans et al. 2017)",
    )
    mixtures: int = Field(10, ge=1, le=64, description="logistic distributions of the mixture")
    crop: int = Field(
        2**14,
        ge=16,
        le=VALUES,
        description="samples of a clip that are learned in a step; what is before them is heard",
    )
    mel: bool = Field(
        False, description="hear what a sound is like in mel bands, and so make sounds of these: a vocoder"
    )
    label_dropout: float = Field(0.1, ge=0, le=1, description="share of items that each given column is hidden of")

    muon: Muon = 0.0
    warmup: Warmup = 0.02

    @property
    def codes(self) -> int:
        """Values of a sample that are told apart; 0: all that 16 bits have."""
        return CODES if self.output == "mu-law" else 0

    @property
    def sizes(self) -> Sizes:
        """Of the network."""
        outputs = CODES + 1 if self.codes else 3 * self.mixtures + 1
        return Sizes(self.codes, outputs, self.blocks, self.layers, self.residual, self.skip)


def build(config: Config, spec: DataSpec) -> WaveNetModel:
    """The model for this specification.

    Raises UserError for what is no sound of one channel.
    """
    from maquette.models._wavenet import WaveNetModel

    return WaveNetModel(config, spec)


def light(config: Config, spec: DataSpec, arrays: Mapping[str, Array]) -> Light:
    """What sounds without torch, given nothing but classes. arrays: the weights of a run; UserError where they are
    others."""
    arrays = {name.removeprefix("net."): array for name, array in arrays.items()}
    classes = [column.num_classes for column in spec.givens(ClassSpec).values()]
    if config.mel:
        raise UserError("Frames take torch.", "")
    wanted = sounding.shapes(config.sizes, classes, config.condition)
    if wanted != {name: array.shape for name, array in arrays.items()}:
        raise UserError("These weights do not fit.", "Use those that were trained.")
    return Light(config, spec, arrays)


class Light:
    """Makes one item, piece by piece, by numpy or by what numba has compiled."""

    options, needs = OPTIONS, ()

    def __init__(self, config: Config, spec: DataSpec, arrays: Mapping[str, Array]) -> None:
        self.config, self.arrays, self.weights = config, arrays, Weights.of(arrays, config.sizes)
        _, self.length = spec.only(GridSpec).shape

    @property
    def remark(self) -> str:
        """As core.model.Model.remark."""
        return remark()

    def unfold(
        self, given: Sequence[int], seed: int, item: int, temperature: float = 1.0, int8: bool = False
    ) -> Iterator[Array]:  # fmt: skip
        """Pieces f32[1, n] of an item. given: the class of each given column, -1 of one that is not given"""
        voice = voice_of(self.config, self.weights, int8)
        uniform = uniform_of(seed, item, self.length, 1 if self.config.codes else 2)
        state = voice.begin(sounding.steering(self.arrays, given)[None])
        return sounding.unfolded(voice, state, sounding.drawn_by(uniform[None]), temperature)


def voice_of(config: Config, weights: Weights, int8: bool, threads: int = 1) -> Voice:
    """What makes samples of these weights."""
    values = sounding.mu_law_values(config.codes) if config.codes else sounding.NO_CODES
    kept = cache_folder("compiled", "numba")
    mixtures = 0 if config.codes else config.mixtures
    return Voice(weights.rounded() if int8 else weights, values, mixtures, kept, threads=threads)


def remark() -> str:
    """What people are told before it sounds; empty: nothing."""
    return "" if sounding.compiled_loop(cache_folder("compiled", "numba")) else f"Sounding {SLOWLY}"
