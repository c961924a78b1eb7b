"""What of music can be set in a recipe, and what is known of a column of it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from maquette.core.bounds import Length
from maquette.core.spec import TokenSpec

Grid = Literal[12, 24]


class Config(BaseModel):
    """data.music: on what grid notes lie, and how long a tune may be."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    grid: Grid = Field(
        12, description="places of a quarter note at which notes begin and end; 12: sixteenths and triplets, 24: "
        "also thirty-seconds"
    )  # fmt: skip
    relative: bool = Field(
        True, description="pitches are counted from the tonic, so that a tune is the same in every key"
    )
    repeats: bool = Field(False, description="of ABC: repeated parts twice, as they are played, and not once")
    longest: Length = Field(
        1024, ge=64, description="most tokens of a tune; one that is longer is cut, at bar lines, into several"
    )


class Spec(TokenSpec):
    """BOS, key, tempo, metre, then bars of notes, EOS; what each token stands for follows from the grid.

    grid: places of a quarter note      relative: whether pitches are counted from the tonic
    """

    kind: str = "music"
    vocab: int = 487
    grid: Grid = 12
    relative: bool = True

    @model_validator(mode="after")
    def _has_the_tokens_of_its_grid(self) -> Self:
        from maquette.modalities.music.tokens import vocabulary  # numpy, which listing recipes can do without

        if self.vocab != vocabulary(self.grid).size or not self.framed:
            raise ValueError(f"vocab: {vocabulary(self.grid).size} tokens, of whole tunes")
        return self

    def same_tokens(self, other: object) -> bool:
        return isinstance(other, Spec) and (self.grid, self.relative) == (other.grid, other.relative)
