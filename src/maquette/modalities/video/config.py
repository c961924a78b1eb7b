"""What of clips can be set in a recipe, and what is known of a column of them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from maquette.core.bounds import Few, Length
from maquette.core.spec import GridSpec

SLOWEST, FASTEST = 0.01, 1000.0  # frames a second
Rate = Annotated[float, Field(ge=SLOWEST, le=FASTEST)]


class Config(BaseModel):
    """data.video: how a clip becomes canonical."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    size: tuple[Length, Length] | None = Field(
        None, description="height, width in pixels; null: 64 x 64 of files, and of arrays their own"
    )
    frames: Annotated[Few, Field(ge=2)] | None = Field(
        None, description="of an item; longer files become several, one after the other; null: 16 of files, and of "
        "arrays all"
    )  # fmt: skip
    fps: Rate | None = Field(
        None,
        description="frames a second; null: the most common rate, at most 30: of faster ones every second frame",
    )
    channels: Literal["auto", "grey", "rgb"] = "auto"
    fit: Literal["crop", "pad", "stretch"] = Field(
        "crop", description="shortest side then centre crop; longest side then pad; or both sides stretched"
    )
    cut: bool = Field(True, description="whether no item goes across a change of scene")


class Spec(GridSpec):
    """f32[C, T, H, W] in [-1, 1].

    fps: frames a second
    """

    kind: str = "video"
    levels: int = Field(256, ge=0, le=2**16)
    fps: Rate = 25.0

    @model_validator(mode="after")
    def _is_a_clip(self) -> Self:
        if len(self.shape) != 4 or self.shape[0] not in (1, 3):
            raise ValueError("shape: one channel or three, frames, height and width")
        return self

    @property
    def frames(self) -> int:
        """T."""
        return self.shape[1]

    @property
    def seconds(self) -> float:
        """How long a clip is."""
        return self.frames / self.fps
