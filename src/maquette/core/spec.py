"""What the data is: typed columns, and which of them is learned from which.

A dataset is a table of typed columns; a model learns p(target | given).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

KINDS = ("image", "audio", "video", "text", "label")


class ColumnSpec(BaseModel):
    """One typed column.

    kind:    the modality ("image", "label", ...; see KINDS)
    shape:   of one canonical item: (C, H, W) for an image, () for a label
    classes: names of the classes of a label, in the order of their numbers
    shares:  share of each class in the training split, summing to 1 (labels only)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    shape: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _known_kind(self) -> ColumnSpec:
        if self.kind not in KINDS:
            raise ValueError(f"unknown modality {self.kind!r}; known: {', '.join(KINDS)}")
        return self

    @property
    def num_classes(self) -> int:
        return len(self.classes)


class DataSpec(BaseModel):
    """The columns a run uses, which are made (`target`) and on which they depend (`given`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, ColumnSpec]
    target: tuple[str, ...] = Field(min_length=1)
    given: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _columns_exist(self) -> DataSpec:
        for name in (*self.target, *self.given):
            if name not in self.columns:
                raise ValueError(f"column {name!r} is not in the data; it has {', '.join(self.columns)}")
        return self

    @property
    def x(self) -> ColumnSpec:
        """The one target of a single-target model."""
        (name,) = self.target
        return self.columns[name]

    @property
    def label(self) -> str | None:
        """Name of the label column among the given, if there is one."""
        return next((name for name in self.given if self.columns[name].kind == "label"), None)

    @property
    def num_classes(self) -> int:
        """Classes of the given label; 0 for a model that is not conditional on one."""
        return self.columns[self.label].num_classes if self.label else 0
