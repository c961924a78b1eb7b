"""Made-up data: specifications without a dataset, and batches of them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.find import find_modality
from maquette.core.spec import BOS, SPECIALS, ClassSpec, ColumnSpec, DataSpec, TokenSpec


def column_spec(kind: str, *shape: int, classes: int = 3, **facts: Any) -> ColumnSpec:
    """The specification of a column of any kind, with made-up facts where none are named.

    shape: of one canonical item: (C, *grid) of a grid, (tokens,) of a sequence; nothing of a class or a number
    classes: how many, of a kind that has classes      facts: fields of the kind's Spec, e.g. framed=False
    """
    form = find_modality(kind).Spec
    if issubclass(form, ClassSpec):
        facts = {"classes": tuple(f"class {i}" for i in range(classes)), **facts}
    if issubclass(form, TokenSpec):
        framed = facts.get("framed", True)
        made_up = {
            "vocab": 20, "start": BOS if framed else len(SPECIALS), "mean_length": shape[0] * (0.75 if framed else 1.0),
        }  # fmt: skip
        facts = {**made_up, **facts}
    return form(shape=shape, **facts)


def data_spec(*target: ColumnSpec, **given: ColumnSpec) -> DataSpec:
    """p(target | given). Targets are named after their kinds, given columns by keyword."""
    columns = {column.kind.rpartition(".")[2]: column for column in target}
    if len(columns) < len(target) or columns.keys() & given.keys():
        raise ValueError("two columns of one name")
    return DataSpec(columns={**columns, **given}, target=tuple(columns), given=tuple(given))


def made_up_batch(spec: DataSpec, items: int, seed: int = 0) -> Batch:
    """Canonical tensors of a specification, as each modality makes them up."""

    def column(name: str) -> Tensor:
        return find_modality(spec.columns[name].kind).made_up(spec.columns[name], items, seed)

    return Batch({n: column(n) for n in spec.target}, {n: column(n) for n in spec.given}, items)
