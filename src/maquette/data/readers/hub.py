"""Data sets of the Hugging Face `datasets` library: saved on disk, .parquet files, or from the hub by explicit name.

Columns of files become files, plain values become values, classes become categories, and a dictionary of strings
(`translation`) becomes a column for each of its keys. Only data is fetched; scripts of a repository are never run.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.core.progress import stage
from maquette.data.decode import Decoder, lone_surrogate
from maquette.data.layout import role, splits_of
from maquette.data.names import digest, shown
from maquette.data.raw import File, Files, Payload, RawTable, Values
from maquette.data.readers import Place
from maquette.data.readers.items import without
from maquette.data.separated import CELL, ROW
from maquette.data.typing import HEAD, column_of, kind_of_file

ACCEPTS = "a `datasets` data set (a folder written by save_to_disk, .parquet files, or hf:NAME)"
_PARQUET = ".parquet"
_PREFIX = "hf:"
_STRINGS = ("string", "large_string")
_BYTES = ("binary", "large_binary")
_PLAIN = (*_STRINGS, "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
          "float32", "float64")  # fmt: skip


def claims(place: Place) -> float:
    """How surely a place holds data sets that are named as hub:NAME, in [0, 1]."""
    if place.path is None:
        return 1.0 if place.name.startswith(_PREFIX) else 0.0
    names = place.tree.names if place.tree.form in ("folder", "file") else ()
    if "dataset_dict.json" in names or "state.json" in names:
        return 0.95
    tables = _tables(place)
    items = next(iter(place.items.values()), ()) if tables else ()
    return 0.85 if tables and sum(map(place.tree.size, tables)) >= sum(map(place.tree.size, items)) else 0.0


def remote(place: Place) -> bool:
    """Whether the set is on the hub."""
    return place.path is None


def key(place: Place) -> str:
    """What tells one state of the source from another, for the cache."""
    return digest([place.name])


def read(place: Place, columns: Sequence[str]) -> RawTable:
    """The rows of a place that it claims, as cells. Raises UserError for what cannot be read."""
    datasets = _library()
    found = _load(datasets, place)
    splits: dict[str, Any] = dict(found) if isinstance(found, dict) else {"train": found}
    splits = {split: _undecoded(data) for split, data in splits.items()}
    made = RawTable("`datasets` data set", {}, (), [], ignored=_others(place))
    places = [(data, i) for data in splits.values() for i in range(len(data))]
    made.names = [f"{split}/{i:06d}" for split, data in splits.items() for i in range(len(data))]
    made.splits = [split if len(splits) > 1 else None for split, data in splits.items() for _ in range(len(data))]
    values: dict[str, list[Any]] = {}
    files: list[str] = []
    done = 0
    for data in splits.values():
        for name, feature in data.features.items():
            if _is_file(feature):
                files += [] if name in files else [name]
                continue
            for key, part in _cells(data, name, feature).items():
                values.setdefault(key, [None] * done).extend(part)
                if getattr(feature, "names", None):
                    made.categories |= {key}
        done += len(data)
        for column in values.values():
            column += [None] * (done - len(column))
    for name in files:
        cells = Files(made.names, range(done), _payloads(places, name, _roots(place)))
        made.columns[_called(cells, name, values) if len(files) == 1 else name] = cells
    decoder, broken = Decoder(), dict[int, str]()
    for name, column in values.items():
        for i, value in enumerate(column):
            if value is not None:
                column[i] = value = decoder.cell(value, made.names[i])
            if value is not None and lone_surrogate([value]):
                broken[i] = "half of a surrogate pair stands alone: no character"
        made.columns[name] = Values(column)
    made.notes += decoder.notes()
    return without(made, broken)


def _load(datasets: Any, place: Place) -> Any:
    """What the library makes of a place: a data set, or several by split."""
    if place.path is not None:
        tables = _tables(place)
        try:
            made = _of_tables(datasets, place, tables) if tables else datasets.load_from_disk(str(place.path))
            size = sum(map(place.tree.size, tables or range(len(place.tree.names))))
            for data in made.values() if isinstance(made, dict) else [made]:
                _check_rows(len(data), len(data.features), size)
            return made
        except limits.TooMuch as error:
            raise error.refusal(shown(place.name)) from None
        except Exception as error:
            raise UserError(
                f"'{place.name}' is not a whole `datasets` data set: {_line(error)}",
                "Write it again, with to_parquet or save_to_disk.",
            ) from None
    name = place.name.removeprefix(_PREFIX)
    place.notify(f"Fetching '{name}' from the Hugging Face hub")
    try:
        with stage(f"fetching {name}"):
            return datasets.load_dataset(name)
    except Exception as error:
        raise UserError(
            f"'{name}' could not be fetched from the Hugging Face hub: {_line(error)}",
            "Check the name and the network; offline, name a folder written by `save_to_disk` instead.",
        ) from None


def _of_tables(datasets: Any, place: Place, numbers: Sequence[int]) -> dict[str, Any]:
    """The .parquet files of a place by the splits that they are called after: train-00000-of-00002.parquet."""
    names = [place.tree.names[i] for i in numbers]
    for number, path in zip(numbers, place.tree.payloads(numbers), strict=True):
        _check_parquet(str(path), place.tree.size(number))
    known = [*map(role, splits_of(name[: -len(_PARQUET)] for name in names))]
    by_split: dict[str, list[str]] = {}
    for split, path in zip(known, place.tree.payloads(numbers), strict=True):
        by_split.setdefault(split if all(known) else "train", []).append(str(path))
    # Kept as Arrow files beside what is fetched: they are mapped into memory, whatever their size.
    folder = str(place.downloads / "parquet")
    return {split: datasets.Dataset.from_parquet(paths, cache_dir=folder) for split, paths in by_split.items()}


def _check_rows(rows: int, columns: int, size: int) -> None:
    """Whether so many rows may be held in memory. size: bytes of their files"""
    limits.check(rows * (ROW + CELL * columns), of=size)


def _check_parquet(path: str, size: int) -> None:
    """Whether a .parquet file comes to no more than it may. What a dictionary stands for, a million times perhaps, is
    not to be told from its head: columns that may be too large by it are read through, a little at a time."""
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as found:
        known = found.metadata
        _check_rows(known.num_rows, known.num_columns, size)
        chunks = [known.row_group(i).column(k) for i in range(known.num_row_groups) for k in range(known.num_columns)]
        sizes = dict[str, int]()
        for chunk in chunks:
            values = chunk.num_values if chunk.has_dictionary_page else 1
            sizes[chunk.path_in_schema] = sizes.get(chunk.path_in_schema, 0) + values * chunk.total_uncompressed_size
        limits.check(sum(chunk.total_uncompressed_size for chunk in chunks), of=size)
        columns = [name for name, most in sizes.items() if most > max(limits.limit(), size)]
        if columns:
            largest = max(chunk.total_uncompressed_size for chunk in chunks)
            rows, total = min(1024, max(1, limits.limit() // 8 // max(largest, 1))), 0
            for batch in found.iter_batches(rows, columns=columns):
                total += batch.nbytes
                limits.check(total, of=size)


def _tables(place: Place) -> list[int]:
    """Numbers of the .parquet files of a place."""
    return [i for i, name in enumerate(place.tree.names) if name.lower().endswith(_PARQUET)]


def _others(place: Place) -> list[str]:
    """Names of files beside the .parquet files of a folder."""
    read = {*_tables(place)} if place.path is not None else set()
    return [name for i, name in enumerate(place.tree.names) if i not in read] if read else []


def _library() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "IProgress not found")  # for notebooks: our progress needs no widgets
            import datasets
    except ImportError:
        raise UserError(
            "Reading `datasets` data sets and .parquet files needs an extra that is not installed.",
            "pip install 'maquette[hub]'",
        ) from None
    datasets.disable_progress_bars()
    return datasets


def _is_file(feature: Any) -> bool:
    """Whether cells are encoded files: such as the library would decode, bytes, or bytes with a path beside."""
    plain = isinstance(feature, dict) and {*feature} == {"bytes", "path"}
    return plain or isinstance(getattr(feature, "decode", None), bool) or getattr(feature, "dtype", "") in _BYTES


def _undecoded(data: Any) -> Any:
    """A data set whose files are left as they are."""
    for name, feature in data.features.items():
        if isinstance(getattr(feature, "decode", None), bool):
            data = data.cast_column(name, type(feature)(decode=False))
    return data


def _roots(place: Place) -> tuple[Path, ...]:
    """What a file that a row names must lie in: a row may come from anybody, and could name any file of the user's."""
    if place.path is not None:
        return (place.path.resolve(),)
    from datasets.config import HF_DATASETS_CACHE
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_DATASETS_CACHE).resolve(), Path(HF_HUB_CACHE).resolve()


def _payloads(places: Sequence[tuple[Any, int]], column: str, roots: Sequence[Path]) -> Any:
    """Numbers of rows -> their files."""

    def payload(data: Any, row: int) -> Payload:
        try:
            value = data[row][column] or {}
        except Exception as error:  # whatever Arrow says of one damaged row
            return Unreadable(f"damaged ({type(error).__name__})")
        if found := value if isinstance(value, bytes) else value.get("bytes"):
            return bytes(found)
        if isinstance(value, bytes) or not value.get("path"):
            return Unreadable("no file in this row")
        with contextlib.suppress(OSError, ValueError):  # of a name that is none
            for root in roots:
                path = (root / value["path"]).resolve()
                if path.is_relative_to(root) and path.is_file():
                    return str(path)
        return Unreadable("the file that it names is not in the data set")

    return lambda numbers: [payload(*places[i]) for i in numbers]


def _called(column: Files, name: str, others: Container[str]) -> str:
    """The name of the only column of files: after its kind, as elsewhere."""
    for payload in column.payloads(column.numbers[:8]):
        try:
            kind = kind_of_file("", File("", payload).read()[:HEAD])
        except Unreadable:
            continue
        if kind is not None and column_of(kind) not in others:
            return column_of(kind)
    return name


def _cells(data: Any, name: str, feature: Any) -> dict[str, list[str | None]]:
    """Columns of plain values; a dictionary of strings is a column a key."""
    inner = getattr(feature, "languages", None)
    if isinstance(feature, dict) and all(getattr(f, "dtype", "") in _STRINGS for f in feature.values()):
        inner = list(feature)
    if inner:
        rows = list(data[name])
        return {key: [None if row is None else row.get(key) for row in rows] for key in inner}
    if names := getattr(feature, "names", None):  # numbers of classes
        return {name: [names[v] if v is not None and v >= 0 else None for v in data[name]]}
    if getattr(feature, "dtype", "") not in _PLAIN:
        return {}
    return {name: [v if v is None or isinstance(v, str) else json.dumps(v) for v in data[name]]}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
