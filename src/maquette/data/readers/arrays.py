"""Items that are already arrays: .npz and .npy files. What their numbers mean, the modality of the column says."""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import IO

import numpy as np

from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.find import modality_names
from maquette.core.modality import noun, part
from maquette.data.decode import refusal
from maquette.data.layout import SPLITS
from maquette.data.names import shown, some
from maquette.data.raw import Array, Cells, RawTable, Values
from maquette.data.readers import Place
from maquette.data.typing import column_of, kind_of_array

ACCEPTS = ".npz or .npy arrays"
_SUFFIXES = (".npz", ".npy")
_ITEMS = ("x", "data", "samples")
_LABELS = ("y", "label", "labels", "target", "targets", "class", "classes")
_REMEDY = "Save the items as `x` and labels as `y` or `labels`, e.g. np.savez('set.npz', x=..., y=...)."

_AS_PLAIN = "Save it as numbers, or as strings of one width: np.save(file, array.astype(str)), say."

Parts = Mapping[str | None, np.ndarray]  # split -> its array


def claims(place: Place) -> float:
    """How surely a place holds arrays in .npy and .npz, in [0, 1]."""
    names = place.tree.names
    if place.tree.form == "file":
        return 0.9 if names[0].lower().endswith(_SUFFIXES) else 0.0
    stems = [name.partition(".")[0] for name in names if "/" not in name and name.lower().endswith(".npy")]
    return 0.9 if any(_role(stem)[0] == "items" for stem in stems) else 0.0


def read(place: Place, columns: Sequence[str]) -> RawTable:
    """The arrays of one .npz, of one .npy, or of a folder of .npy files named after what they hold."""
    arrays, objects = dict[str, np.ndarray](), list[str]()
    ends, names = _SUFFIXES if place.tree.form == "file" else ".npy", place.tree.names
    read = [i for i, name in enumerate(names) if "/" not in name and name.lower().endswith(ends)]
    for i, payload in zip(read, place.tree.payloads(read), strict=True):
        if not isinstance(payload, ValueError):
            found, refused = _load(names[i], payload)
            arrays, objects = arrays | found, objects + refused
    if objects and (not arrays or any(_role(name)[0] for name in objects)):
        raise UserError(_refused(objects, place), _AS_PLAIN)
    items, labels, further = _sorted(place, arrays)
    made = arranged("arrays", items, labels, further)
    of_arrays = {*read}
    made.ignored = [name for i, name in enumerate(names) if i not in of_arrays]
    used = [*items.values(), *labels.values(), *(array for parts in further.values() for array in parts.values())]
    for name, array in arrays.items():
        if not any(array is one for one in used):
            made.notes.append(f"Array '{shown(name)}' is not used.")
    if objects:
        made.notes.append(f"{_refused(objects, place)} {_AS_PLAIN}")
    return made


def arranged(
    what: str, items: Parts, labels: Parts, further: Mapping[str, Parts] | None = None, scale_max: float | None = None
) -> RawTable:
    """A table of arrays, by split. The split None: the data names none.

    items: one array a split; they become a column that is called after its kind. labels: classes, one an item; they
    become the column `label`. further: more columns by name. scale_max: the largest value that items can have, if known
    """
    first = next(iter(items.values()))
    kind = kind_of_array(first.shape[1:], first.dtype)
    if kind is None:
        raise UserError(
            f"An array of shape {first.shape} and type {first.dtype} holds no {_nouns()}.",
            f"Expected N x ..., one item after the other. {_REMEDY}",
        )
    counts = [(split if len(items) > 1 else None, len(array)) for split, array in items.items()]
    columns: dict[str, Cells] = {column_of(kind): Array(list(items.values()), scale_max)}
    columns |= {name: _column(items, parts) for name, parts in (further or {}).items()}
    if labels:
        cells = _values(items, {split: _classes(array) for split, array in labels.items()})
        columns["label"] = Values(cells)
    return RawTable(
        what,
        columns,
        [f"{split}/{i:06d}" if split else f"{i:06d}" for split, count in counts for i in range(count)],
        [split for split, count in counts for _ in range(count)],
        frozenset({"label"} if labels else ()),
    )


def _refused(names: Sequence[str], place: Place) -> str:
    what = f"Array {some(names)} of '{shown(place.name)}' holds" if len(names) == 1 else f"Arrays {some(names)} hold"
    return f"{what} Python objects (dtype=object), which are never loaded: loading them can run any program."


def _form(array: np.ndarray) -> str:
    """Shape and type of an array, for people."""
    kind = "strings" if array.dtype.kind in "SU" else "records" if array.dtype.names else array.dtype.name
    return f"{' x '.join(map(str, array.shape)) or 'one'} of {kind}"


def _sorted(
    place: Place, arrays: dict[str, np.ndarray]
) -> tuple[dict[str | None, np.ndarray], dict[str | None, np.ndarray], dict[str, dict[str | None, np.ndarray]]]:
    """Items and labels by split, and further columns: all arrays of as many rows as there are items."""
    roles = {name: _role(name) for name in arrays}
    items = {roles[name][1]: array for name, array in arrays.items() if roles[name][0] == "items"}
    claimed = [name for name, array in arrays.items() if array.ndim > 1 and kind_of_array(array.shape[1:], array.dtype)]
    if not items and len(claimed) == 1:
        items = {roles[claimed[0]][1]: arrays[claimed[0]]}
    if not items:
        listed = ", ".join(f"'{shown(name)}' is {_form(array)}" for name, array in arrays.items()) or "it is empty"
        raise UserError(f"'{shown(place.name)}' holds no array of {_nouns()}: {listed}.", _REMEDY)
    labels: dict[str | None, np.ndarray] = {}
    further: dict[str, dict[str | None, np.ndarray]] = {}
    for name, array in arrays.items():
        role, split = roles[name]
        if any(array is one for one in items.values()) or split not in items or not array.ndim:
            continue
        if role == "labels":
            if len(array) != len(items[split]):
                raise UserError(
                    f"'{shown(place.name)}' has {len(items[split]):,} items but {len(array):,} of '{shown(name)}'.",
                    "Save one label an item, in the same order.",
                )
            array = _flat(array)
            if array.ndim != 1:
                raise UserError(f"Array '{shown(name)}' has shape {array.shape}, not one label an item.", _REMEDY)
        if role == "labels" and not _fractions(array):
            labels[split] = arrays[name] = array
        elif role != "items" and len(array) == len(items[split]):
            further.setdefault(_bare(name, split), {})[split] = array
    whole = {name: parts for name, parts in further.items() if len(parts) == len(items) or _plain(parts)}
    return items, labels, whole


def _load(name: str, payload: str | bytes) -> tuple[dict[str, np.ndarray], list[str]]:
    """Arrays by name, one in a .npy on the disk; and the names of those that hold Python objects, which are never read:
    that would run whatever they say."""
    stem, arrays, objects = name.partition(".")[0], dict[str, np.ndarray](), list[str]()
    try:
        with open(payload, "rb") if isinstance(payload, str) else io.BytesIO(payload) as file:  # noqa: PTH123
            if not name.lower().endswith(".npy"):
                with zipfile.ZipFile(file) as archive:
                    found = {member.filename: member.file_size for member in archive.infolist()}
                    found = {key: size for key, size in found.items() if key.endswith(".npy")}
                    limits.check(sum(found.values()))
                    for key, size in found.items():
                        try:
                            arrays[key.removesuffix(".npy")] = _array(archive.open(key), size)
                        except _Objects:
                            objects.append(key.removesuffix(".npy"))
                    return arrays, objects
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            if isinstance(payload, bytes):
                limits.check(size)
                return {stem: _array(file, size)}, []
            _check_head(file, size)
            return {stem: np.load(payload, mmap_mode="r", allow_pickle=False)}, []
    except limits.TooMuch as error:
        raise refusal(name, error) from None
    except _Objects:
        return {}, [stem]
    except Exception as error:  # whatever NumPy and zipfile make of what they parse
        raise UserError(f"'{shown(name)}' is damaged: {_line(error)}.", "Save it, or fetch it, again.") from None


class _Objects(Exception):
    """An array holds what would have to be unpickled."""


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """The array in an open file of .npy of so many bytes."""
    with file:
        _check_head(file, size)
        file.seek(0)
        made: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        return made


def _check_head(file: IO[bytes], size: int) -> None:
    """Whether what the head of a .npy declares is there: NumPy allocates it before it looks."""
    start = file.read(1)
    file.seek(0)
    if start == b"\x80":
        raise _Objects
    head = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in head:
        raise ValueError("its columns have names that are not plain")  # which only version 3 writes
    shape, _, kind = head[version](file)
    if kind.hasobject:
        raise _Objects
    declared = math.prod(shape) * kind.itemsize
    if declared > size - file.tell() or min(shape, default=0) < 0:
        raise ValueError(f"it declares {declared:,} bytes and has {size - file.tell():,}")
    if shape and shape[0] and not declared:
        raise ValueError(f"its {shape[0]:,} items have no bytes")


def _role(name: str) -> tuple[str, str | None]:
    """('items' | 'labels' | '', split) that the name of an array speaks of: x_train, test_labels, y."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    split = next((SPLITS[word] for word in words if word in SPLITS), None)
    if any(word in _LABELS for word in words):
        return "labels", split
    called = {*_ITEMS, *(word for kind in _kinds() for word in (column_of(kind), f"{column_of(kind)}s", noun(kind)))}
    return ("items" if any(word in called for word in words) else ""), split


def _bare(name: str, split: str | None) -> str:
    """The name of an array without that of its split: width_train -> width."""
    words = [word for word in re.split(r"[^\w]+|_", name) if SPLITS.get(word.lower()) is None or split is None]
    return "_".join(words) or name


def _kinds() -> list[str]:
    """Modalities whose items may be arrays."""
    return [kind for kind in modality_names() if part(kind, "claims_array", "claims")]


def _nouns() -> str:
    return " or ".join(noun(kind) for kind in _kinds())


def _flat(array: np.ndarray) -> np.ndarray:
    """[N] of [N, 1]; the number of the class of each one-hot row."""
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim == 2 and _is_numeric(array) and ((array == 0) | (array == 1)).all():
        return array.argmax(1)
    return array


def _fractions(array: np.ndarray) -> bool:
    return np.issubdtype(array.dtype, np.floating) and not bool((np.isfinite(array) & (array == np.rint(array))).all())


def _classes(array: np.ndarray) -> np.ndarray:
    return array.astype(np.int64) if np.issubdtype(array.dtype, np.floating) else array


def _plain(parts: Parts) -> bool:
    """Whether each row is one number or string."""
    return all(array.ndim == 1 for array in parts.values())


def _column(items: Parts, parts: Parts) -> Cells:
    """A further column: values of one number or string a row, or arrays."""
    if _plain(parts):
        return Values(_values(items, parts))
    return Array([parts[split] for split in items])


def _values(items: Parts, parts: Parts) -> list[str | float | int | bool | None]:
    """The values of all splits, as they are written; None in a split that has none."""
    made: list[str | float | int | bool | None] = []
    for split, rows in items.items():
        array = parts.get(split)
        if array is None:
            made += [None] * len(rows)
        elif np.issubdtype(array.dtype, np.bytes_):
            made += [value.decode("utf-8", "backslashreplace") for value in array.tolist()]
        else:
            made += [str(value) for value in array.tolist()]
    return made


def _is_numeric(array: np.ndarray) -> bool:
    """Whether an array is of numbers, or of yes and no."""
    return np.issubdtype(array.dtype, np.number) or np.issubdtype(array.dtype, np.bool_)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
