"""What of sounds can be set in a recipe, and what is known of a column of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from maquette.core.spec import GridSpec
from maquette.modalities.audio.bounds import FASTEST, LONGEST, SHORTEST, SLOWEST

Rate = Annotated[int, Field(ge=SLOWEST, le=FASTEST)]


class Config(BaseModel):
    """data.audio: how a sound becomes canonical."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    rate: Rate | None = Field(None, description="samples a second; null: the most common rate, of the training clips")
    mix: Literal["auto", "mono", "stereo"] = Field(
        "auto", description="auto: stereo where the two sides of most clips differ"
    )
    seconds: float | None = Field(
        None, ge=SHORTEST, le=LONGEST, description="length of an item; null: as long as the clips, or as a window"
    )
    windows: bool | None = Field(
        None,
        description="recordings that are longer become several items, one after the other; null: those that are twice "
        "as long, or longer than 20 s",
    )
    longer: Literal["cut", "leave out"] = Field("cut", description="what becomes of clips that are longer than an item")
    trim: float | None = Field(
        None, gt=0, le=120, description="quieter than the loudest moment by so many dB, the ends of a clip are cut off"
    )
    loudness: Literal["peak"] | Annotated[float, Field(ge=-80, le=0)] | None = Field(
        None, description="every item as loud as this, in dBFS (RMS), or as it can be (peak); null: as it is"
    )

    @field_validator("loudness", mode="before")
    @classmethod
    def _yaml_reads_off_as_false(cls, value: Any) -> Any:
        return None if value is False or value == "off" else value


class Spec(GridSpec):
    """f32[C, N] in [-1, 1]; behind the end of a clip all samples are exactly 0.0.

    rate_hz: samples a second
    """

    kind: str = "audio"
    levels: int = Field(2**16, ge=0, le=2**16)
    rate_hz: Rate = 16_000

    @model_validator(mode="after")
    def _is_a_sound(self) -> Self:
        if len(self.shape) != 2 or self.shape[0] > 2:
            raise ValueError("shape: one channel or two, and samples")
        return self

    @property
    def seconds(self) -> float:
        """Of the longest item that there can be."""
        return self.shape[1] / self.rate_hz
