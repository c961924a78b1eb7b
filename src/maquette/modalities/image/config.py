"""What of pictures can be set in a recipe, and what is known of a column of them."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from maquette.core.bounds import Length
from maquette.core.spec import GridSpec


class Config(BaseModel):
    """data.image: how a picture becomes canonical."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    size: tuple[Length, Length] | None = Field(None, description="height, width in pixels; null: the data's own")
    fit: Literal["crop", "pad", "stretch"] = Field(
        "crop", description="shortest side then centre crop; longest side then pad; or both sides stretched"
    )
    channels: Literal["auto", "grey", "rgb", "rgba"] = "auto"
    black: float | None = Field(None, description="value shown as black, of more than 8 bits; null: found over the set")
    white: float | None = Field(None, description="value shown as white, of more than 8 bits; null: found over the set")
    pages: Literal["auto", "first", "all"] = Field(
        "auto", description="of files that hold several pictures: the first, or each; auto: each of fewer than 5 files"
    )

    @field_validator("white")
    @classmethod
    def _above_black(cls, white: float | None, info: ValidationInfo) -> float | None:
        black = info.data.get("black") or 0.0
        if white is not None and white <= black:
            raise ValueError(f"it must be above black, {black:g}")
        return white


class Spec(GridSpec):
    """f32[C, H, W] in [-1, 1].

    scale: the values that are black and white in pictures of more than 8 bits; None where none are learned from
    """

    kind: str = "image"
    levels: int = Field(256, ge=0, le=2**16)
    scale: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _is_a_picture(self) -> Self:
        if len(self.shape) != 3:
            raise ValueError("shape: channels, height and width")
        if self.scale and not self.scale[0] < self.scale[1]:
            raise ValueError("scale: white must be above black")
        return self

    @model_serializer(mode="wrap")
    def _plain(self, serialised: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As it was before there was a scale, where there is none: older runs know their data by it."""
        plain: dict[str, Any] = serialised(self)
        return {key: value for key, value in plain.items() if key != "scale" or value is not None}
