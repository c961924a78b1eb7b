"""What the data is: typed columns, and which of them is learned from which.

A dataset is a table of typed columns; a model learns p(target | given). A column's `kind` is its modality, which alone
knows its files. Models see tensors, and of these there are four forms, whatever they stand for:

    GridSpec    f32[C, *grid] in [-1, 1], on a grid of one, two or three dimensions
    TokenSpec   i64[L], tokens of a vocabulary, padded with PAD in a batch
    ClassSpec   i64[], the number of a class
    NumberSpec  f32[], a real number
"""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar, cast, overload

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    SerializeAsAny,
    field_validator,
    model_validator,
)

from maquette.core.bounds import CLASSES, LONGEST, SIDE, VALUES, VOCABULARY
from maquette.core.errors import UserError

# Tokens that every vocabulary reserves. The last three frame a gap to be filled:
# PREFIX what stands before it, SUFFIX what stands after it, MIDDLE what is to be written (Bavarian et al. 2022).
SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>", "<prefix>", "<suffix>", "<middle>")
LARGEST = 1e30  # a float32 holds up to 3e38, and its square is to be finite in float64
PAD, BOS, EOS, UNK, PREFIX, SUFFIX, MIDDLE = range(len(SPECIALS))

Side = Annotated[int, Field(gt=0, le=SIDE)]
Real = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]


def plain(name: str) -> str:
    """The name of a column, class or file as names are compared: in the one form (NFC) of what looks the same, without
    blanks around it."""
    return unicodedata.normalize("NFC", name).strip()


class ColumnSpec(BaseModel):
    """One typed column. Modalities extend one of the four forms below with facts of their own.

    kind:   the modality, by the name it is found by ("my_package.molecule")
    shape:  of one canonical item: (C, *grid) of a grid, (most tokens,) of a sequence, () of a class or number
    assets: names of the fields, of type str, that a run folder keeps as files of their own, such as a tokenizer
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    assets: ClassVar[tuple[str, ...]] = ()

    kind: str
    shape: tuple[Side, ...] = ()

    if TYPE_CHECKING:
        # What a column has beyond this is its form's and its modality's: known to who reads it, not to mypy.
        def __getattr__(self, name: str) -> Any: ...


class GridSpec(ColumnSpec):
    """Values f32[C, *grid] in [-1, 1]: (C, N) of sound, (C, H, W) in the plane, (C, T, H, W) of video.

    levels: values that a file has between -1 and 1, which likelihoods take into account; 0: as many as there are
    """

    levels: int = Field(0, ge=0, le=2**16)

    @model_validator(mode="after")
    def _is_a_grid(self) -> Self:
        if not 2 <= len(self.shape) <= 4 or math.prod(self.shape) > VALUES:
            raise ValueError(f"shape: channels and one to three sides, of at most {VALUES:,} values in all")
        return self

    @property
    def channels(self) -> int:
        """C."""
        return self.shape[0]

    @property
    def grid(self) -> tuple[int, ...]:
        """Cells along each dimension."""
        return self.shape[1:]


class TokenSpec(ColumnSpec):
    """Sequences of tokens, i64[L], L up to shape[0].

    vocab:       number of tokens, the reserved ones (SPECIALS) included
    framed:      whether an item is BOS ... EOS, or a window of a long sequence
    start:       the token that an item without a prompt begins with
    mean_length: mean number of tokens of an item of the training split
    """

    vocab: int = Field(0, ge=0, le=VOCABULARY)
    framed: bool = True
    start: int = Field(BOS, ge=0)
    mean_length: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _has_tokens(self) -> Self:
        if len(self.shape) != 1 or self.shape[0] > 2 * LONGEST:
            raise ValueError(f"shape: the most tokens of a sequence, {2 * LONGEST:,} at most")
        if not len(SPECIALS) < self.vocab or not self.start < self.vocab:
            raise ValueError(f"vocab: more than the {len(SPECIALS)} tokens that are reserved, and `start` among them")
        return self

    def same_tokens(self, other: ColumnSpec) -> bool:
        """Whether a token number means the same in both columns."""
        return isinstance(other, TokenSpec) and (self.kind, self.vocab) == (other.kind, other.vocab)


class ClassSpec(ColumnSpec):
    """Classes, i64[].

    classes: their names, in the order of their numbers      shares: of each in the training split, summing to 1
    """

    classes: tuple[str, ...] = Field(min_length=1, max_length=CLASSES)
    shares: tuple[NonNegativeFloat, ...] = ()

    @model_validator(mode="after")
    def _each_has_a_share(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes: two of one name")
        alike = len(self.shares) == len(self.classes) and math.isclose(sum(self.shares), 1, abs_tol=0.01)
        if self.shares and not alike:
            raise ValueError("shares: one for each class, and 1 in all")
        return self

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)


class NumberSpec(ColumnSpec):
    """Real numbers, f32[], in their own unit.

    mean, std: of the training split      low, high: its smallest and its largest
    """

    mean: Real = 0.0
    std: Real = Field(1.0, gt=0)
    low: Real = 0.0
    high: Real = 0.0


FORMS = (ClassSpec, NumberSpec, TokenSpec, GridSpec)
S = TypeVar("S", bound=ColumnSpec)


class DataSpec(BaseModel):
    """The columns a run uses, which are made (`target`) and on which they depend (`given`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, SerializeAsAny[ColumnSpec]]
    target: tuple[str, ...] = Field(min_length=1)
    given: tuple[str, ...] = ()

    @field_validator("columns", mode="before")
    @classmethod
    def _of_their_kinds(cls, columns: Any) -> Any:
        """JSON -> specifications: each kind has its own."""
        from maquette.core.find import find_modality

        if not isinstance(columns, dict):
            return columns
        return {
            name: find_modality(str(column.get("kind"))).Spec.model_validate(column)
            if isinstance(column, dict)
            else column
            for name, column in columns.items()
        }

    @model_validator(mode="after")
    def _columns_exist(self) -> DataSpec:
        for names in (self.target, self.given):
            if len(set(names)) < len(names):
                raise ValueError(f"a column stands twice among {', '.join(names)}")
        for name in (*self.target, *self.given):
            if name not in self.columns:
                raise ValueError(f"column {name!r} is not in the data; it has {', '.join(self.columns)}")
        return self

    @overload
    def only(self) -> ColumnSpec: ...
    @overload
    def only(self, form: type[S]) -> S: ...
    def only(self, form: type[Any] = ColumnSpec) -> Any:
        """The one target of a model that makes one column; UserError where there are several, or it is of another form.

        form: what the target must be, e.g. GridSpec
        """
        column = self.columns[self.only_name]
        if not isinstance(column, form):
            raise UserError(
                f"'{self.only_name}' is {column.kind}, which this cannot make.", "`maquette recipes` lists what can be."
            )
        return column

    @property
    def only_name(self) -> str:
        """The name of the one target; UserError where there are several."""
        if len(self.target) > 1:
            raise UserError(
                f"There are {len(self.target)} targets ({', '.join(self.target)}), and this takes one.",
                "Name one target.",
            )
        return self.target[0]

    def givens(self, form: type[S]) -> dict[str, S]:
        """The given columns of a form, by name."""
        return {name: cast(S, self.columns[name]) for name in self.given if isinstance(self.columns[name], form)}
