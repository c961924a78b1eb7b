"""How the networks of a family learn: the settings that families share, and the optimizer that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from maquette.core.bounds import Share

if TYPE_CHECKING:  # with torch, which settings can do without
    from maquette.core.model import Optim

# Types of fields, so that a family with other defaults need not say anew what they mean.
Muon = Annotated[float, Field(ge=0, description="learning rate of Muon, for weight matrices, over `lr`; 0: no Muon")]
Warmup = Annotated[Share, Field(description="share of the run in which the learning rate grows")]


class Learning(BaseModel):
    """Settings of a family's optimizer, after which come its own."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    lr: float = Field(2e-3, gt=0)
    muon: Muon = 3.0
    beta1: Share = 0.9
    beta2: Share = 0.99
    schedule: Literal["constant", "cosine", "linear"] = "linear"
    warmup: Warmup = 0.01
    constant_until: float = Field(0.0, ge=0, le=1, description="share of the run after which the rate falls")
    clip: float = Field(1.0, ge=0, description="largest gradient norm; 0: any")

    def optim(self, name: Literal["adam", "adamw"] = "adam", **more: Any) -> Optim:
        """more: fields of Optim that are not among these settings."""
        from maquette.core.model import Optim

        return Optim(
            name, self.lr, (self.beta1, self.beta2), schedule=self.schedule, warmup=self.warmup,
            constant_until=self.constant_until, clip=self.clip, muon=self.muon, **more,
        )  # fmt: skip
