"""What of pictures can be set in a recipe, and what is known of a column of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from maquette.core.spec import GridSpec

Positive = Annotated[int, Field(gt=0)]


class Config(BaseModel):
    """data.image: how a picture becomes canonical."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    size: tuple[Positive, Positive] | None = Field(None, description="height, width in pixels; null: the data's own")
    fit: Literal["crop", "pad", "stretch"] = Field(
        "crop", description="shortest side then centre crop; longest side then pad; or both sides stretched"
    )
    channels: Literal["auto", "grey", "rgb", "rgba"] = "auto"


class Spec(GridSpec):
    """f32[C, H, W] in [-1, 1]."""

    kind: str = "image"
    levels: int = 256
