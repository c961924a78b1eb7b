"""What data.json holds, as types: facts about the data of a run, whoever wrote them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # that of `typing` tells pydantic enough from Python 3.12 on

from maquette.core.errors import UserError
from maquette.core.parse import COPY_OF_RUN, brief

Count = Annotated[int, Field(ge=0, lt=2**53)]


class LeftOut(TypedDict):
    """What could not be used, and why."""

    name: str
    reason: str


class Before(TypedDict):
    """Data that a run began with; rows: as of Summary."""

    fingerprint: str | None
    source: str | None
    rows: dict[str, str] | None


class Column(TypedDict, total=False):
    """What its modality tells of a column. rows: titles and values, for people"""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    rows: list[tuple[str, str | int | float]]


class Summary(TypedDict, total=False):
    """Dataset.summary, and more; any of it may be missing, since a run may come from another version.

    rows:   of each side, those that are used, packed (data/grown.py)
    before: the data that a run had before it went on with this
    splits: rows of each split that the data names; classes: rows to learn from of each class, by column
    """

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    fingerprint: str
    source: str
    rows: dict[str, str] | None
    before: list[Before]
    found: Count
    train: Count
    test: Count
    splits: dict[str, Count]
    columns: dict[str, Column]
    classes: dict[str, dict[str, Count]]
    duplicates: dict[str, Any]
    left_out: list[LeftOut]
    left_out_count: Count
    warnings: list[str]
    notes: list[str]


@functools.cache
def _checks() -> TypeAdapter[Summary]:
    return TypeAdapter(Summary)


def summary_of(plain: object, path: Path) -> Summary:
    """What stands in a data.json; UserError where it says what it cannot. path: of the file, for the error"""
    try:
        return _checks().validate_python(plain)
    except ValidationError as error:
        raise UserError(f"'{path}' is damaged: {brief(error)}.", COPY_OF_RUN) from None
