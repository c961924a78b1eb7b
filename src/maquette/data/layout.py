"""What the arrangement of files says: splits, class folders, and metadata tables beside the pictures.

The convention is that of ImageFolder: train/ and test/ (or validation/) on top, then a folder for each
class, and metadata.csv or metadata.jsonl whose `file_name` is relative to the table's own folder.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence

from maquette.core.errors import UserError
from maquette.core.find import find_modality
from maquette.data.sources import Encoded, Files
from maquette.data.text import shown, some

SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
}  # fmt: skip
TABLES = ("metadata.csv", "metadata.jsonl")


def hidden(part: str) -> bool:
    """Whether a file or folder is a system's own and never anybody's data."""
    return part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini")


def arrange(
    kind: str, files: Files, read: Callable[[int], bytes], is_picture: Callable[[int], bool] | None = None
) -> Encoded:
    """Sorts the names of `files` into pictures with their split, class and further columns.

    read: bytes of a file, for metadata tables; is_picture: a look inside files whose suffix is unknown.
    """
    suffixes = find_modality("image").SUFFIXES
    names = files.names
    pictures, tables, ignored = [], [], []
    for i, name in enumerate(names):
        lower = name.lower()
        if lower.endswith(suffixes) or (is_picture and lower.rpartition("/")[2] not in TABLES and is_picture(i)):
            pictures.append(i)
        elif lower.rpartition("/")[2] in TABLES:
            tables.append(i)
        else:
            ignored.append(name)
    made = Encoded(kind, files, [], [], {}, ignored=ignored)
    paths = [names[i].split("/") for i in pictures]
    paths = _without_wrapper(paths)
    splits, paths = _take_splits(paths, made.notes)
    values = _metadata(tables, files, read, [names[i] for i in pictures], made.notes)
    stray = [False] * len(paths)
    if "label" not in values:
        classes, stray = _classes(paths, bool(tables), made.notes)
        if classes is not None:
            values = {"label": classes, **values}
    made.left_out = [(names[i], "outside the class folders") for i, out in zip(pictures, stray, strict=True) if out]
    keep = [k for k, out in enumerate(stray) if not out]
    made.rows = [pictures[k] for k in keep]
    made.splits = [splits[k] for k in keep]
    made.values = {name: [column[k] for k in keep] for name, column in values.items()}
    return made


def _without_wrapper(paths: list[list[str]]) -> list[list[str]]:
    """Drops folders that merely wrap everything, as archives like to have on top."""
    while paths and len({p[0] for p in paths}) == 1 and all(len(p) >= 3 for p in paths):
        paths = [p[1:] for p in paths]
    return paths


def _take_splits(paths: list[list[str]], notes: list[str]) -> tuple[list[str | None], list[list[str]]]:
    """The split of each path where all top folders are named after one, and the paths below them."""
    tops = {p[0].lower() for p in paths if len(p) > 1}
    known = {SPLITS[top] for top in tops if top in SPLITS}
    if not tops or not tops <= set(SPLITS) or len(known) < 2 or any(len(p) == 1 for p in paths):
        return [None] * len(paths), paths
    splits: list[str | None] = [SPLITS[p[0].lower()] for p in paths]
    if "val" in known:
        becomes = "train" if "test" in known else "test"
        notes.append(f"validation/ is used as the {'held-out' if becomes == 'test' else 'training'} split.")
        splits = [becomes if s == "val" else s for s in splits]
    return splits, [p[1:] for p in paths]


def _classes(paths: list[list[str]], has_table: bool, notes: list[str]) -> tuple[list[str | None] | None, list[bool]]:
    """Class folder of each path (or None for no classes), and which paths lie outside of all of them."""
    nothing = [False] * len(paths)
    inside = [p[0] for p in paths if len(p) > 1]
    kinds = len(set(inside))
    if not inside or (has_table and kinds < 2):
        return None, nothing
    if 2 * len(inside) <= len(paths):
        notes.append(f"{len(inside):,} of {len(paths):,} pictures lie in sub-folders: these are not taken as classes.")
        return None, nothing
    if kinds > 2 and 2 * kinds > len(inside):
        notes.append(f"{kinds:,} sub-folders for {len(inside):,} pictures: these are not taken as classes.")
        return None, nothing
    if any(len(p) > 2 for p in paths):
        notes.append("Folders inside the class folders do not count: the first folder names the class.")
    return [p[0] if len(p) > 1 else None for p in paths], [len(p) == 1 for p in paths]


def _metadata(
    tables: Sequence[int], files: Files, read: Callable[[int], bytes], pictures: Sequence[str], notes: list[str]
) -> dict[str, list[str | None]]:
    """Columns of the metadata tables, one value a picture."""
    number = {name: k for k, name in enumerate(pictures)}
    columns: dict[str, list[str | None]] = {}
    unknown: list[str] = []
    for i in tables:
        name = files.names[i]
        folder = name.rpartition("/")[0]
        for row in _rows(name, read(i)):
            file_name = row.get("file_name")
            if not isinstance(file_name, str):
                raise UserError(f"'{shown(name)}' has a row without 'file_name'.", "Give each row the picture's path.")
            parts = [part for part in f"{folder}/{file_name}".replace("\\", "/").split("/") if part not in ("", ".")]
            k = number.get("/".join(parts))
            if k is None:
                unknown.append(file_name)
                continue
            for key, value in row.items():
                if key in ("file_name", "image", "") or not isinstance(key, str) or isinstance(value, list | dict):
                    continue
                text = None if value is None or value == "" else str(value)
                columns.setdefault(key, [None] * len(pictures))[k] = text
    if unknown:
        notes.append(f"The metadata names {len(unknown):,} pictures that are not there: {some(unknown)}.")
    return columns


def _rows(name: str, data: bytes) -> list[dict[str, object]]:
    text = data.decode("utf-8-sig", "replace")
    try:
        if name.lower().endswith(".csv"):
            return [dict(row) for row in csv.DictReader(io.StringIO(text, newline=""))]
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (csv.Error, ValueError) as error:
        raise UserError(f"'{shown(name)}' is damaged: {error}", "Mend the table or take it away.") from None
    if not all(isinstance(row, dict) for row in rows):
        raise UserError(f"'{shown(name)}' is damaged: a line is not an object.", "Write one {...} a line.")
    return rows
