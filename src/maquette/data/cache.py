"""Where prepared data is kept: one folder a data set, named by its content, whole or not there at all.

prepared/<content>/   pixels.npy, codes.npy, train.npy, test.npy, table.json, summary.json
keys/<key>.json       which content a cheap key (paths, sizes, times; and how to prepare) stands for
locks/<key>.lock      held by the process that prepares
downloads/<name>/     data sets fetched by name
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from maquette.core.cache import cache_folder
from maquette.core.files import sync, write_json
from maquette.data.sources import Say

IN_MEMORY_BYTES = 64 * 2**20
STALE_SECONDS = 24 * 3600
# Facts of the summary that belong to the files as found, not to the pictures that are used.
OF_THE_FILES = ("kind", "found", "used", "left_out_count", "left_out", "ignored_count", "ignored")
# What a folder that cannot be written raises; anything else is a fault to be shown.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENOTDIR)


@dataclass
class Prepared:
    """A prepared data set as it is kept.

    pixels: u8[M, C, H, W]                     codes: i32[K, M], the class of each picture in each label column
    train, test: i64, rows of `pixels`         names: one a row of `pixels`
    classes: names of the classes of each label column, in the order of `codes`
    """

    fingerprint: str
    pixels: np.ndarray
    codes: np.ndarray
    train: np.ndarray
    test: np.ndarray
    names: list[str]
    classes: dict[str, list[str]]
    summary: dict[str, Any] = field(default_factory=dict)


class Sink(Protocol):
    """Takes prepared pixels in order, without holding more than it must."""

    def add(self, pixels: np.ndarray) -> None: ...

    def array(self) -> np.ndarray:
        """Everything that was added."""
        ...


class MemorySink:
    """Keeps the pixels in memory: the way out when the cache cannot be written."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape, self._parts = shape, [np.zeros((0, *shape[1:]), np.uint8)]

    def add(self, pixels: np.ndarray) -> None:
        self._parts.append(pixels)

    def array(self) -> np.ndarray:
        self._parts = [np.concatenate(self._parts)]
        return self._parts[0]


class FileSink:
    """Writes the pixels to an .npy file. Plain writes, not a map: a full disk is then an error and not a crash."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._path = path
        self._file = path.open("wb")
        np.lib.format.write_array_header_1_0(
            self._file, {"descr": "|u1", "fortran_order": False, "shape": tuple(map(int, shape))}
        )

    def add(self, pixels: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(pixels).data)

    def array(self) -> np.ndarray:
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return _array(self._path)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


class Cache:
    """The cache folder: `root`, else $MAQUETTE_CACHE, else the user's cache folder of the platform."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = cache_folder() if root is None else root

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    def lookup(self, key: str) -> Prepared | None:
        """What was prepared under a cheap key; None when nothing was, or when it is damaged."""
        try:
            found = json.loads((self.root / "keys" / f"{key}.json").read_text(encoding="utf-8"))
            made = self.find(str(found["content"]))
            if made is not None:
                made.summary |= found["files"]
            return made
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def find(self, content: str) -> Prepared | None:
        """What was prepared for a content; None when nothing was, or when it is damaged."""
        folder = self.root / "prepared" / content
        try:
            table = json.loads((folder / "table.json").read_text(encoding="utf-8"))
            summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
            arrays = {name: _array(folder / f"{name}.npy") for name in ("pixels", "codes", "train", "test")}
            made = Prepared(content, **arrays, names=table["names"], classes=table["classes"], summary=summary)
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None
        whole = len(made.names) == len(made.pixels) == made.codes.shape[1] and len(made.classes) == len(made.codes)
        return made if whole else None

    def remember(self, key: str, prepared: Prepared) -> None:
        """Notes which content a cheap key stands for, and what was found among these very files.

        Two folders may hold the same good pictures and different broken ones.
        """
        files = {name: prepared.summary[name] for name in OF_THE_FILES if name in prepared.summary}
        with contextlib.suppress(OSError), _no_room_is_os_error():
            write_json(self.root / "keys" / f"{key}.json", {"content": prepared.fingerprint, "files": files})

    @contextlib.contextmanager
    def lock(self, key: str, say: Say) -> Iterator[None]:
        """Held while a data set is prepared, so that two processes do not do the same work twice."""
        from filelock import FileLock, Timeout

        lock = None
        try:
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / "locks" / f"{key}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                say("Another process is preparing the same data: waiting for it")
                lock.acquire()
        except (OSError, NotImplementedError):
            lock = None  # a folder that cannot be written: nothing will be kept there either
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """A temporary folder beside the prepared ones, gone afterwards unless `keep` moved it."""
        parent = self.root / "prepared"
        parent.mkdir(parents=True, exist_ok=True)
        for left in parent.glob(".part-*"):  # of processes that were killed
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=".part-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, staged: Path, prepared: Prepared) -> Prepared:
        """Completes a staged folder that holds pixels.npy and gives it its name in one step."""
        for name in ("codes", "train", "test"):
            _write_array(staged / f"{name}.npy", getattr(prepared, name))
        texts = {"table": {"names": prepared.names, "classes": prepared.classes}, "summary": prepared.summary}
        for name, value in texts.items():
            (staged / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
        for file in staged.iterdir():
            sync(file)
        staged.chmod(0o755)
        final = self.root / "prepared" / prepared.fingerprint
        for _ in range(2):
            try:
                staged.rename(final)
                break
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if (same := self.find(prepared.fingerprint)) is not None:
                    return same  # another folder with the same content was faster
                shutil.rmtree(final, ignore_errors=True)  # damaged: make room for the whole one
        return self.find(prepared.fingerprint) or prepared


def is_full_or_locked(error: OSError) -> bool:
    """Whether an error means that the cache folder cannot be written."""
    return error.errno in _NO_ROOM


@contextlib.contextmanager
def _no_room_is_os_error() -> Iterator[None]:
    from maquette.core.errors import UserError

    try:
        yield
    except UserError as error:
        raise OSError(str(error)) from None


def _write_array(path: Path, array: np.ndarray) -> None:
    """np.save, but a full disk is told by its error number (ndarray.tofile loses it)."""
    array = np.ascontiguousarray(array)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.tobytes())


def _array(path: Path) -> np.ndarray:
    """An array of the cache: small ones in memory, large ones mapped."""
    in_memory = path.stat().st_size < IN_MEMORY_BYTES
    array: np.ndarray = np.load(path, mmap_mode=None if in_memory else "r", allow_pickle=False)
    return array
