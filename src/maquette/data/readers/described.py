"""Files that JSON of its own shape describes: StyleGAN's dataset.json, and annotations like those of COCO.

dataset.json: {"labels": [[file, class], ...]}, beside folders that mean nothing. Annotations: lists of objects, one of
which names files; objects of the others belong to a file by its `id`, or have a name that is referred to by an `id`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from maquette.core.counts import counted
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable, noun
from maquette.data.decode import Decoder, refusal
from maquette.data.names import shown, some
from maquette.data.raw import File, RawTable, Values
from maquette.data.readers import Place
from maquette.data.readers.items import laid_out
from maquette.data.readers.listed import FILE, Finder
from maquette.data.typing import HEAD, column_of

ACCEPTS = "files with StyleGAN's dataset.json, or annotations like COCO's, beside them"
LABEL = "label"
MOST = 100  # of more JSON files, each is about a file of its own
_LABELS = re.compile(rb'\s*\{\s*"labels"\s*:\s*(\[\s*\[|null\s*\})')
_RELATIONS = re.compile(rb'\s*\{.*"(file_name|\w+_id)"', re.DOTALL)

Said = dict[str, list[str]]  # column -> the values that a file has in it


@dataclass
class _Described:
    """What documents say: numbers of these; values by the number of their file; names of files that are not there.

    folders: whether folders may name classes all the same
    """

    documents: list[int]
    of: dict[int, Said] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folders: bool = True


def claims(place: Place) -> float:
    """How surely a place holds files that such JSON describes, in [0, 1]."""
    return 0.85 if place.tree.form != "file" and _described(place) else 0.0


def read(place: Place, columns: Sequence[str]) -> RawTable:
    """The rows of a place that it claims, as cells. Raises UserError for what cannot be read."""
    found = _described(place)
    assert found is not None
    kind = next(iter(place.items))
    names = _one_each(found, noun(kind))
    longer = next((name for name in names if any(len(values.get(name, ())) > 1 for values in found.of.values())), "")
    rows = [
        (number, {name: given[0] for name, given in values.items() if given} | ({longer: one} if one else {}))
        for number in place.items[kind]
        for values in [found.of.get(number, {})]
        for one in (values.get(longer) or [""])
    ]
    table = RawTable("", {}, [""] * len(rows), [None] * len(rows))
    table.columns = {name: Values([values.get(name) for _, values in rows]) for name in names}
    what = f"{place.tree.form} of {noun(kind)} with annotations"
    made = laid_out(place, what, {column_of(kind): [i for i, _ in rows]}, noun(kind), table, found.folders)
    made.files = [place.tree.names[i] for i in found.documents]
    made.ignored = [name for name in made.ignored if name not in made.files]
    made.notes += found.notes
    made.categories |= {LABEL} & {*names}
    if found.unknown:
        files = counted(len(found.unknown), "file that is", "files that are")
        made.notes.append(f"The annotations name {files} not there: {some(found.unknown)}.")
    return made


def _described(place: Place) -> _Described | None:
    """What the JSON of a place says of the files there; None where there is no such JSON. Looked for once."""
    if "described" not in place.memory:
        place.memory["described"] = _looked_for(place)
    made: _Described | None = place.memory["described"]
    return made


def _looked_for(place: Place) -> _Described | None:
    names = place.tree.names
    json_files = [i for i, name in enumerate(names) if name.lower().endswith(".json")]
    heads = {i: place.tree.head(i, HEAD) for i in json_files} if len(json_files) <= MOST else {}
    labels = [i for i, head in heads.items() if _LABELS.match(head)]
    made = _Described(labels or [i for i, head in heads.items() if _RELATIONS.match(head)], folders=not labels)
    if not made.documents or not place.items:
        return None
    said: dict[str, Said] = {}
    used = []
    for i in made.documents:
        found = _parsed(place, i, bool(labels))
        entries = [*(_of_labels(found, made.notes) if labels else _of_relations(found))]
        used += [i] if entries or (labels and found["labels"] is None) else []
        for name, values in entries:
            of = said.setdefault(name, {})
            for column, value in values:
                of.setdefault(column, []).append(value)
    find = Finder(names)
    for name, of in said.items():
        number = find("", name, stems=False)
        if number < 0:
            made.unknown.append(name)
        else:
            made.of[number] = of
    made.documents = used
    return made if made.of or (used and not said) else None


def _parsed(place: Place, number: int, sure: bool) -> Any:
    """What a file of JSON holds; None where it is damaged, or lines of JSON. sure: whether it should be one of ours"""
    name, (payload,) = place.tree.names[number], place.tree.payloads([number])
    try:
        return json.loads(Decoder().decode(File(name, payload).read(), name))
    except Unreadable as error:
        raise refusal(name, error) from None
    except (ValueError, RecursionError) as error:
        if not sure:
            return None
        raise UserError(f"'{shown(name)}' is damaged: {error}.", "Mend the file, or take it away.") from None


def _of_labels(found: Any, notes: list[str]) -> Iterable[tuple[str, list[tuple[str, str]]]]:
    """Each file of a dataset.json, with its class; a class may be written as a row of zeros and a one."""
    vectors = 0
    for entry in found["labels"] or ():
        if not isinstance(entry, list) or len(entry) != 2:
            continue
        name, label = entry
        if isinstance(label, list):
            one_hot = sorted(label)[:-1] == [0] * (len(label) - 1) and max(label, default=0) == 1
            label, vectors = (label.index(1), vectors) if one_hot else (None, vectors + 1)
        yield str(name), [] if label is None else [(LABEL, str(label))]
    if vectors:
        notes.append(f"{counted(vectors, 'label is a vector', 'labels are vectors')} of numbers: not read.")


def _of_relations(found: Any) -> Iterable[tuple[str, list[tuple[str, str]]]]:
    """Each file of annotations, with what is written of it and the names of what is in it."""
    lists = {key: rows for key, rows in found.items() if isinstance(rows, list)} if isinstance(found, dict) else {}
    tables = {key: [row for row in rows if isinstance(row, dict)] for key, rows in lists.items()}
    holder = next((key for key, rows in tables.items() if rows and FILE in rows[0] and "id" in rows[0]), None)
    if holder is None or len(tables) < 2:
        return
    files = {row["id"]: str(row[FILE]) for row in tables[holder] if _has_id(row) and FILE in row}
    own = f"{_singular(holder)}_id"
    names = {f"{_singular(key)}_id": {row["id"]: str(row["name"]) for row in rows if _has_id(row) and "name" in row}
             for key, rows in tables.items() if key != holder}  # fmt: skip
    for name in files.values():
        yield name, []
    for key, rows in tables.items():
        for row in rows if key != holder else ():
            said = {column: value for column, value in row.items() if isinstance(value, int | str)}
            if said.get(own) not in files:
                continue
            written = [(column, value) for column, value in said.items() if isinstance(value, str)]
            named = [(LABEL, names[column][value]) for column, value in said.items() if value in names.get(column, ())]
            yield files[said[own]], written + named


def _has_id(row: dict[str, Any]) -> bool:
    return isinstance(row.get("id"), int | str)


def _singular(name: str) -> str:
    return f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")


def _one_each(found: _Described, items: str) -> list[str]:
    """The columns, in order, that have one value a file; but for one of sentences, which may have several."""
    columns = list(dict.fromkeys(column for values in found.of.values() for column in values))
    for values in found.of.values():
        for column in values:
            values[column] = [*dict.fromkeys(values[column])]
    many = {name: sum(len(values.get(name, ())) > 1 for values in found.of.values()) for name in columns}
    written = [name for name in columns if many[name] and name != LABEL]
    for name in [*written[1:], *([LABEL] if many.get(LABEL) else [])]:
        found.notes.append(f"'{shown(name)}' is not read: there are several of it to some {items} ({many[name]:,}).")
        columns.remove(name)
    return columns
