"""What the data is: typed columns, and which of them is learned from which.

A dataset is a table of typed columns; a model learns p(target | given).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

KINDS = ("image", "audio", "video", "text", "label")

# Tokens that every tokenizer reserves, whatever its vocabulary. The last three frame a gap to be filled:
# PREFIX what stands before it, SUFFIX what stands after it, MIDDLE what is to be written (Bavarian et al. 2022).
SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>", "<prefix>", "<suffix>", "<middle>")
PAD, BOS, EOS, UNK, PREFIX, SUFFIX, MIDDLE = range(len(SPECIALS))


class ColumnSpec(BaseModel):
    """One typed column.

    kind:    the modality ("image", "label", ...; see KINDS)
    shape:   of one canonical item: (C, H, W) for an image, () for a label, (most tokens,) for a text
    classes: names of the classes of a label, in the order of their numbers
    shares:  share of each class in the training split, summing to 1 (labels only)

    Of a text, i64[L] tokens padded with PAD:

    vocab:       number of tokens, the reserved ones included
    unit:        what a token is: "char", "bpe" or "unigram"
    tokenizer:   the trained tokenizer as the JSON of the `tokenizers` library
    framed:      whether an item is BOS ... EOS (a line, a cell of a table) or a window of one long text
    start:       the token that a text without a prompt begins with
    mean_length: mean number of tokens of an item of the training split
    chars_per_token: characters of the training split over its tokens (reserved ones left out)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    shape: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    vocab: int = 0
    unit: Literal["", "char", "bpe", "unigram"] = ""
    tokenizer: str = Field("", repr=False)
    framed: bool = True
    start: int = BOS
    mean_length: float = 0.0
    chars_per_token: float = 1.0

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
    def source(self) -> str | None:
        """Name of the text column among the given (what is translated or summarised), if there is one."""
        return next((name for name in self.given if self.columns[name].kind == "text"), None)

    @property
    def num_classes(self) -> int:
        """Classes of the given label; 0 for a model that is not conditional on one."""
        return self.columns[self.label].num_classes if self.label else 0
