"""How families read what is given: the encoder of any mix of columns, and how each is dropped in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from maquette.core.errors import UserError
from maquette.core.model import Given
from maquette.core.rng import Rng
from maquette.core.spec import FORMS, ClassSpec, ColumnSpec, DataSpec, GridSpec, NumberSpec, TokenSpec
from maquette.nets.condition import Classes, Condition, GridValues, Number, OneHot, Tokens, hide

ANY = FORMS  # what families that read a vector can be given
_LEARNED = 64  # numbers that describe what has no textbook form


def condition(columns: Mapping[str, ColumnSpec], width: int, std: float = 1.0) -> Condition | None:
    """The encoder of these columns as one vector; None where there are none.

    std: of its numbers at first
    """
    return Condition({name: _encoder(column, width, std) for name, column in columns.items()}) if columns else None


def plain_condition(columns: Mapping[str, ColumnSpec]) -> Condition | None:
    """The same side by side as textbook networks read them: classes one-hot, the others learned."""
    if not columns:
        return None
    found = {
        name: OneHot(column.num_classes)
        if isinstance(column, ClassSpec)
        else _encoder(column, _LEARNED, _LEARNED**-0.5)
        for name, column in columns.items()
    }
    return Condition(found, beside=True)


def _encoder(column: ColumnSpec, width: int, std: float) -> nn.Module:
    if isinstance(column, ClassSpec):
        return Classes(column.num_classes, width, std)
    if isinstance(column, NumberSpec):
        return Number(column.mean, column.std, width, std)
    if isinstance(column, TokenSpec):
        return Tokens(column.vocab, width, std)
    assert isinstance(column, GridSpec)
    return GridValues(column.shape, width, std)


def vector(net: Any, given: Given, n: int) -> Tensor | None:
    """What a network with a `condition` reads of n items, f32[n, width]; None where nothing can be given."""
    return None if net.condition is None else net.condition(given, n)


def given_columns(spec: DataSpec) -> dict[str, ColumnSpec]:
    """All columns that are given."""
    return {name: spec.columns[name] for name in spec.given}


def drop(given: Given, names: Mapping[str, Any], n: int, share: float, rng: Rng) -> dict[str, Tensor]:
    """What is given in training: of each column a share of the n items is missing.

    Of several, half of that share are items of which all is missing, as guidance asks for it; else each is dropped by
    itself, so that every subset is seen. names: of all columns, given here or not, so that draws stay in step
    """
    if not share:
        return dict(given)
    alone, nothing = share, None
    if len(names) > 1:
        alone = share / (2 - share)  # (1 - share / 2) (1 - alone) = 1 - share
        nothing = rng.uniform(n) < share / 2
    rows = {name: rng.uniform(n) < alone for name in names}
    if nothing is not None:
        rows = {name: row | nothing for name, row in rows.items()}
    return {name: hide(x, rows[name]) if name in rows else x for name, x in given.items()}


# -- the sequence that another is written from -------------------------------------------------------


def source_name(spec: DataSpec) -> str | None:
    """The first sequence among the given: what is translated or summarised."""
    return next(iter(spec.givens(TokenSpec)), None)


def beside_source(spec: DataSpec) -> dict[str, ColumnSpec]:
    """All that is given but the source."""
    return {name: column for name, column in given_columns(spec).items() if name != source_name(spec)}


def source_of(given: Given, spec: DataSpec) -> Tensor | None:
    """i64[n, S]: the tokens of the source of each item; None for a model without a source."""
    name = source_name(spec)
    if name is None:
        return None
    if name not in given:
        raise UserError(
            f"This model writes '{', '.join(spec.target)}' from '{name}', and was given none.",
            f"Give it the column '{name}'.",
        )
    return given[name]
