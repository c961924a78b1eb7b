"""What there is to say of prepared data: JSON-able facts for people and for the report, every name safe to print.

No item of the data stands in them, and no path: only names, numbers, and what was left out and why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from maquette.core.modality import Examined, Notes, noun
from maquette.core.spec import ClassSpec
from maquette.data import duplicates
from maquette.data.duplicates import Groups
from maquette.data.names import shown
from maquette.data.raw import RawTable
from maquette.data.split import Split
from maquette.data.store import Some
from maquette.data.survey import Survey, kind_of

if TYPE_CHECKING:
    from maquette.data.prepare import Encoded, Plan
    from maquette.data.store import Prepared

KEPT = 1000  # entries of a list; the counts are always whole
FILES = 20  # names of files
COPIES_SHARE = 0.05  # of all rows, from which on copies are warned of


def source_facts(table: RawTable, found: Survey, halves: bool) -> dict[str, Any]:
    """What depends on the source as it was found, and not on the rows that are used."""
    return {
        "kind": table.kind,
        "files": [shown(name) for name in table.files[:FILES]],
        "file_count": len(table.files),
        **found.notes.facts,
        "found": found.found,
        "ignored_count": len(table.ignored),
        "ignored": [shown(name) for name in table.ignored[:FILES]],
        "unused": list(found.use.unused),
        "cut": halves,
        "endless": bool(table.again),
        **_left_out(found.left_out),
        "warnings": found.notes.warnings,
        "notes": found.notes.notes,
    }


def describe(found: Survey, made: Encoded, split: Split, plan: Plan, groups: Groups, notes: Notes) -> dict[str, Any]:
    """What was prepared: split, classes, copies, and what each modality tells of its columns."""
    things = noun(found.use.thing)
    counts, held = dict[str, dict[str, int]](), dict[str, dict[str, int]]()
    for name, spec in made.specs.items():
        if isinstance(spec, ClassSpec):
            codes = made.items[name].values
            counts[shown(name)], held[shown(name)] = (
                dict(zip(spec.classes, np.bincount(codes[rows], minlength=spec.num_classes).tolist(), strict=True))
                for rows in (split.train, split.test)
            )
            notes.warnings += _balance(counts[shown(name)], shown(name), things)
    columns = {shown(name): _column(name, found, made, split, notes) for name in made.specs}
    exact_groups, copies = duplicates.sizes(groups.exact)
    twins: dict[str, Any] = {"exact_groups": exact_groups, "exact_copies": copies}
    if any(column.optional("Likeness") for column in found.columns.values()):
        near_groups, near = duplicates.sizes(groups.near)
        twins["near_groups"] = near_groups - duplicates.only_exact(groups)
        twins["near_copies"] = near - copies
        twins["examples"] = duplicates.examples(groups.near, Some(found.names, made.used))
    twins["dropped_from_train"] = len(split.dropped)
    if copies > COPIES_SHARE * len(made.used):
        are = "is an exact copy of another" if copies == 1 else "are exact copies of others"
        notes.warn(f"{copies:,} of {len(made.used):,} {things} {are}.")
    return {
        "train": len(split.train),
        "test": len(split.test),
        "splits": {name: len(rows) for name, rows in split.named.items()},
        "own_split": plan.own,
        "columns": columns,
        "classes": counts,
        "test_classes": held,
        "duplicates": twins,
        **_left_out(made.left_out),
        "warnings": notes.warnings,
        "notes": notes.notes,
    }


def summary(prepared: Prepared, source: str) -> dict[str, Any]:
    """Facts about the source and about what was prepared of it, as one. source: its name."""
    found, made = prepared.source, prepared.summary
    reasons = Counter(found["left_out_reasons"]) + Counter(made["left_out_reasons"])
    count = found["left_out_count"] + made["left_out_count"]
    return {
        "source": shown(source),
        **found,
        **made,
        "used": found["found"] - count,
        "left_out_count": count,
        "left_out": (found["left_out"] + made["left_out"])[:KEPT],
        "left_out_reasons": dict(reasons.most_common()),
        "warnings": found["warnings"] + made["warnings"],
        "notes": found["notes"] + made["notes"],
    }


def _column(name: str, found: Survey, made: Encoded, split: Split, notes: Notes) -> dict[str, Any]:
    """What the modality of a column has to tell of it."""
    column = found.columns[name]
    known: dict[str, Any] = {"kind": column.kind, "rows": []}
    missing = sum(column.facts[i] is None for i in made.used)
    if missing:
        known["missing"] = missing
    tell = column.optional("describe")
    if tell is None:
        return known
    used, train, test = (
        np.array([i for i in rows if column.facts[i] is not None], np.int64)
        for rows in (made.used, split.train, split.test)
    )
    examined = Examined(
        shown(name), made.specs[name], column.config, _Taken(column.cells), column.facts, _Places(found, name),
        made.items[name].lengths, used, train, test, name in found.use.target, made.reasons[name],
        [spec for other, spec in made.specs.items() if other not in found.use.target],
    )  # fmt: skip
    return known | tell(examined, notes)


class _Taken(Sequence[Any]):
    """Cells one by one."""

    def __init__(self, cells: Any) -> None:
        self._cells = cells

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, row: Any) -> Any:
        return self._cells.take([int(row)])[0]


class _Places(Sequence[str]):
    """Where the cells of a column came from, safe to print."""

    def __init__(self, found: Survey, name: str) -> None:
        self._found, self._name = found, name

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, row: Any) -> Any:
        return shown(self._found.place(int(row), self._name))


def _left_out(entries: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {
        "left_out_count": len(entries),
        "left_out": [{"name": shown(name), "reason": shown(reason)} for name, reason in entries[:KEPT]],
        "left_out_reasons": dict(Counter(shown(kind_of(reason)) for _, reason in entries).most_common()),
    }


def _balance(counts: Mapping[str, int], column: str, things: str) -> list[str]:
    """Warnings about the classes of a column: {class: training rows}."""
    present = {name: n for name, n in counts.items() if n}
    if not present:
        return []
    if len(present) == 1:
        return [f"'{column}' has one class only ('{next(iter(present))}'): it tells the {things} apart in nothing."]
    warnings = []
    absent = [name for name, n in counts.items() if not n]
    if absent:
        warnings.append(f"Classes of '{column}' without a row to learn from: {', '.join(absent[:5])}.")
    most, least = max(present, key=lambda c: present[c]), min(present, key=lambda c: present[c])
    if present[most] >= 10 * present[least]:
        warnings.append(
            f"Classes of '{column}' are unbalanced: {present[most]:,} of '{most}', {present[least]:,} of '{least}'."
        )
    return warnings
