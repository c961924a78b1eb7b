"""IDX files, the form in which MNIST was published: a magic number, the sizes, then the bytes."""

from __future__ import annotations

import gzip
import io
import math
import re
import zlib
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data.decode import refusal, unpacked_head
from maquette.data.names import shown
from maquette.data.raw import File, Payload, RawTable
from maquette.data.readers import Place
from maquette.data.readers.arrays import arranged

ACCEPTS = "IDX files"

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
DEFLATE = 1032  # times the bytes of its file that a gzip file can hold
# The names that MNIST and its kin have carried, with a dash or a dot, packed or not: idx3 are items, idx1 labels.
_SPLITS = {"train": "train-*", "test": "t[1e]*-*"}  # t10k or test
_ENDS = ("[-.]idx{}-ubyte", "[-.]idx{}-ubyte.gz")


def claims(place: Place) -> float:
    """How surely a place holds IDX files, alone or in a folder, in [0, 1]."""
    if place.tree.form == "file":
        return 0.9 if is_idx(place.tree.head(0, 2**12)) else 0.0
    return 0.9 if _find(place.tree.names, "train", 3) else 0.0


def read(place: Place, columns: Sequence[str]) -> RawTable:
    """The quartet of MNIST: items of both splits with their labels; or one file of items, and the labels beside it."""
    if place.tree.form == "file":
        assert place.path is not None
        labels = dict[str | None, np.ndarray]()
        for path in beside(place.path):
            labels[None] = _array(path.name, str(path))
        return arranged("IDX file", {None: _read(place, place.tree.names[0])}, labels)
    items, labels_of, used = dict[str | None, np.ndarray](), dict[str | None, np.ndarray](), set[str]()
    for split in _SPLITS:
        if name := _find(place.tree.names, split, 3):
            items[split] = _read(place, name)
            used.add(name)
            if label := _find(place.tree.names, split, 1):
                labels_of[split] = _read(place, label)
                used.add(label)
    made = arranged("IDX files", items, labels_of)
    made.ignored = [name for name in place.tree.names if name not in used]
    return made


def beside(path: Path) -> list[Path]:
    """The labels of a file of items, where they are named alike: train-...-idx3-ubyte and train-labels-idx1-ubyte."""
    found = re.fullmatch(r"(.*?)([-.]?)(\w+)([-.])idx3(.*)", path.name)
    if not found:
        return []
    start, dash, _, dot, end = found.groups()
    labels = path.with_name(f"{start}{dash}labels{dot}idx1{end}")
    return [labels] if labels.is_file() else []


def is_idx(head: bytes) -> bool:
    """Whether a file begins like an IDX file, packed by gzip or not."""
    head = unpacked_head(head, 4)
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in _TYPES and 1 <= head[3] <= 4


def read_idx(name: str, data: bytes) -> np.ndarray:
    """The array in an IDX file, packed by gzip or not; reads exactly as many bytes as its header declares."""
    try:
        packed = data[:2] == b"\x1f\x8b"
        with gzip.open(io.BytesIO(data)) if packed else io.BytesIO(data) as file:
            head = file.read(4)
            if not is_idx(head):
                raise UserError(f"'{shown(name)}' is not an IDX file.", "Use the original files, .gz or unpacked.")
            kind = np.dtype(_TYPES[head[2]])
            shape = tuple(int(n) for n in np.frombuffer(file.read(4 * head[3]), ">u4"))
            size = math.prod(shape) * kind.itemsize
            if len(shape) != head[3] or not 0 < size <= len(data) * (DEFLATE if packed else 1):
                raise UserError(
                    f"'{shown(name)}' is damaged: its header declares {size:,} bytes.", "Fetch the file again."
                )
            limits.check(size)
            found = limits.read(file, size + 1)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise refusal(name, error, "Fetch the file again.") from None
    if len(found) != size:
        what = "longer" if len(found) > size else "shorter"
        raise UserError(
            f"'{shown(name)}' is damaged: it is {what} than the {size:,} bytes it declares.", "Fetch it again."
        )
    return np.frombuffer(found, kind).reshape(shape)


def quartet_in(names: Sequence[str]) -> bool:
    """Whether files of these names are the training items of an MNIST-like set and more."""
    return _find(names, "train", 3) is not None


def _find(names: Sequence[str], split: str, dimensions: int) -> str | None:
    ends = [f"{_SPLITS[split]}{end.format(dimensions)}" for end in _ENDS]
    return next((name for end in ends for name in names if "/" not in name and fnmatch(name, end)), None)


def _read(place: Place, name: str) -> np.ndarray:
    (payload,) = place.tree.payloads([list(place.tree.names).index(name)])
    return _array(name, payload)


def _array(name: str, payload: Payload) -> np.ndarray:
    try:
        return read_idx(name, File(name, payload).read())
    except Unreadable as error:
        raise refusal(name, error, "Fetch the file again.") from None
