"""IDX files, the form in which MNIST was published: a magic number, the sizes, then the bytes."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from maquette.core.errors import UserError
from maquette.data.sources import Arrays, Say, stamp
from maquette.data.text import digest

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_BYTES = 16 * 2**30
# The names that MNIST and its kin have carried: with a dash or a dot, packed or not.
_IMAGES = {"train": ("train-images",), "test": ("t10k-images", "test-images")}
_LABELS = {"train": ("train-labels",), "test": ("t10k-labels", "test-labels")}


def is_idx(path: Path) -> bool:
    """Whether a file begins like an IDX file, packed by gzip or not."""
    try:
        with _opened(path) as file:
            head = file.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(head) == 4 and head[:2] == b"\0\0" and head[2] in _TYPES and 1 <= head[3] <= 4


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file; reads exactly as many bytes as its header declares."""
    try:
        with _opened(path) as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or not 1 <= head[3] <= 4:
                raise UserError(f"'{path}' is not an IDX file.", "Use the original files, .gz or unpacked.")
            kind = np.dtype(_TYPES[head[2]])
            shape = tuple(int(n) for n in np.frombuffer(file.read(4 * head[3]), ">u4"))
            size = int(np.prod(shape, dtype=object)) * kind.itemsize
            if len(shape) != head[3] or size > MAX_BYTES:
                raise UserError(f"'{path}' is damaged: its header declares {size:,} bytes.", "Fetch the file again.")
            data = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"'{path}' cannot be read: {error}", "Fetch the file again.") from None
    if len(data) != size:
        what = "longer" if len(data) > size else "shorter"
        raise UserError(f"'{path}' is damaged: it is {what} than the {size:,} bytes it declares.", "Fetch it again.")
    return np.frombuffer(data, kind).reshape(shape)


def in_folder(folder: Path) -> bool:
    """Whether a folder holds the training pictures of an MNIST-like set."""
    return _find(folder, _IMAGES["train"]) is not None


class IdxFolder:
    """The MNIST quartet: training and test pictures with their labels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = [
            (split, _find(folder, _IMAGES[split]), _find(folder, _LABELS[split])) for split in ("train", "test")
        ]

    def key(self) -> str:
        return digest(["idx", *(stamp(f) for _, images, labels in self.files for f in (images, labels) if f)])

    def load(self, say: Say) -> Arrays:
        made = Arrays("idx", [])
        for split, images, labels in self.files:
            if images is not None:
                made.parts.append((split, read_idx(images), _with_labels(images, labels)))
        if len(made.parts) == 1:
            made.parts = [(None, *made.parts[0][1:])]
        return made


class IdxFile:
    """One IDX file of pictures, with the labels beside it when they are named alike."""

    def __init__(self, path: Path) -> None:
        self.path = path
        beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
        self.labels = beside if beside != path and beside.is_file() else None

    def key(self) -> str:
        return digest(["idx", stamp(self.path), *([stamp(self.labels)] if self.labels else [])])

    def load(self, say: Say) -> Arrays:
        return Arrays("idx", [(None, read_idx(self.path), _with_labels(self.path, self.labels))])


def _with_labels(images: Path, labels: Path | None) -> dict[str, list[str | None]]:
    if labels is None:
        return {}
    values = read_idx(labels)
    if values.ndim != 1:
        raise UserError(f"'{labels}' does not hold one label a picture.", f"It belongs beside '{images.name}'.")
    return {"label": [str(v) for v in values.tolist()]}


def _find(folder: Path, starts: tuple[str, ...]) -> Path | None:
    endings = ("-idx3-ubyte", "-idx1-ubyte", ".idx3-ubyte", ".idx1-ubyte")
    for start in starts:
        for ending in endings:
            for packed in ("", ".gz"):
                path = folder / f"{start}{ending}{packed}"
                if path.is_file():
                    return path
    return None


def _opened(path: Path):
    """The unpacked bytes, whether or not the suffix says .gz (people rename files)."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")
