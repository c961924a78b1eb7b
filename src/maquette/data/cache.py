"""Where prepared data is kept: one folder a data set, named by its content, whole or not there at all.

prepared/<content>/   arrays and table.json (see store.py), summary.json
keys/<key>.json       which content a cheap key (paths, sizes, times; and how to prepare) stands for, and what was found
locks/<key>.lock      held by the process that prepares
downloads/<name>/     data sets fetched by name
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from maquette.core.cache import cache_folder, trim, use
from maquette.core.errors import UserError
from maquette.core.files import ready, sync, temporary_folder, write_json
from maquette.core.spec import DataSpec
from maquette.data.raw import Notify
from maquette.data.store import Prepared, Stored, StoredNames, read_array, write_array

# What a folder that cannot be written raises; anything else is a fault to be shown.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENOTDIR)


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
            file = self.root / "keys" / f"{key}.json"
            found = json.loads(file.read_text(encoding="utf-8"))
            made = self.find(str(found["content"]))
            if made is not None:
                os.utime(file)  # it goes as long after its last use as the data does
                made.source = dict(found["source"])
            return made
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def find(self, content: str) -> Prepared | None:
        """What was prepared for a content; None when nothing was, or when it is damaged."""
        folder = self.root / "prepared" / content
        use(folder)
        try:
            table = json.loads((folder / "table.json").read_text(encoding="utf-8"))
            summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
            specs = DataSpec(columns=table["columns"], target=tuple(table["columns"])).columns
            arrays = {name: read_array(folder / f"{name}.bin", *facts) for name, facts in table["arrays"].items()}
            items = {name: Stored(arrays[f"{k}"], arrays.get(f"{k}-ends")) for k, name in enumerate(specs)}
            names = StoredNames(Stored(arrays["names"], arrays["names-ends"]))
            splits = {name: arrays[f"split-{i}"] for i, name in enumerate(table["splits"])}
            return Prepared(
                content, table["fingerprint"], specs, items, names, arrays["train"], arrays["test"], splits, summary
            )
        except (OSError, ValueError, KeyError, TypeError, UserError):
            return None

    def of(self, fingerprint: str) -> Prepared | None:
        """What was prepared and has that fingerprint; None when nothing has."""
        for file in self.root.glob("prepared/*/table.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                if json.loads(file.read_text(encoding="utf-8"))["fingerprint"] == fingerprint:
                    return self.find(file.parent.name)
        return None

    def remember(self, key: str, prepared: Prepared) -> None:
        """Notes which content a cheap key stands for, and what was found in this very source.

        Two folders may hold the same good items and different broken ones.
        """
        with contextlib.suppress(OSError, UserError):
            facts = {"content": prepared.content, "source": prepared.source}
            write_json(ready(self.root / "keys" / f"{key}.json"), facts)
            use(self.root / "prepared" / prepared.content)
            trim()

    @contextlib.contextmanager
    def lock(self, key: str, notify: Notify) -> Iterator[None]:
        """Held while a data set is prepared, so that two processes do not do the same work twice."""
        from filelock import FileLock, Timeout

        lock = None
        try:
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / "locks" / f"{key}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                notify("Another process is preparing the same data: waiting for it")
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
        with temporary_folder(parent) as folder:
            yield folder

    def keep(self, staged: Path, prepared: Prepared) -> Prepared:
        """Completes a staged folder that holds the items, and gives it its name in one step."""
        arrays = {}
        for k, stored in enumerate(prepared.items.values()):
            arrays[f"{k}"] = [stored.values.dtype.str, list(stored.values.shape)]
            if stored.ends is not None:
                arrays[f"{k}-ends"] = write_array(staged / f"{k}-ends.bin", stored.ends)
        names = StoredNames.of(prepared.names).stored
        others = {"names": names.values, "names-ends": names.ends, "train": prepared.train, "test": prepared.test}
        others |= {f"split-{i}": rows for i, rows in enumerate(prepared.splits.values())}
        for name, array in others.items():
            assert array is not None
            arrays[name] = write_array(staged / f"{name}.bin", array)
        table = {
            "fingerprint": prepared.fingerprint,
            "columns": {name: spec.model_dump(mode="json") for name, spec in prepared.specs.items()},
            "splits": list(prepared.splits),
            "arrays": arrays,
        }
        for name, value in {"table": table, "summary": prepared.summary}.items():
            (staged / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
        for file in staged.iterdir():
            sync(file)
        final = self.root / "prepared" / prepared.content
        for _ in range(2):
            try:
                staged.rename(final)
                break
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if self.find(prepared.content) is not None:
                    break  # another source with the same content was faster
                shutil.rmtree(final, ignore_errors=True)  # damaged: make room for the whole one
        made = self.find(prepared.content)
        if made is None:
            return prepared
        made.source = prepared.source
        return made


def is_full_or_locked(error: OSError) -> bool:
    """Whether an error means that the cache folder cannot be written."""
    return error.errno in _NO_ROOM
