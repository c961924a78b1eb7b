"""Prepared texts as they are kept, in the same cache as pictures.

prepared/<content>/   texts.json, codes.npy, file.npy, line.npy, side-<k>.npy,
                      and tokens-<k>.npy with offsets-<k>.npy for each text column
"""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from maquette.core.errors import UserError
from maquette.core.files import sync, write_json
from maquette.core.spec import ColumnSpec
from maquette.data.cache import IN_MEMORY_BYTES, Cache, is_full_or_locked
from maquette.data.sources import Say


@dataclass
class PreparedTexts:
    """Texts as tokens, M items.

    fingerprint: digest of the content and of how it was prepared, the tokenizers included
    specs:   of every column, texts and labels
    tokens:  column -> u16 or u32, all items one after the other; offsets: column -> i64[M+1], where each begins
    codes:   i32[K, M], the class of each item in each label column
    sides:   "train", "test", and every split by the name that the data gives it -> i64, items
    context: of windows; 0 where items are framed and stand for themselves
    """

    content: str
    fingerprint: str
    specs: dict[str, ColumnSpec]
    tokens: dict[str, np.ndarray]
    offsets: dict[str, np.ndarray]
    codes: np.ndarray
    files: list[str]
    file: np.ndarray
    line: np.ndarray
    sides: dict[str, np.ndarray]
    context: int
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """Label columns, in the order of `codes`."""
        return [name for name, spec in self.specs.items() if spec.kind == "label"]


class TextStore:
    """Finds and keeps prepared texts in a cache."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def lookup(self, key: str) -> PreparedTexts | None:
        """What was prepared under a cheap key; None when nothing was, or when it is damaged."""
        try:
            found = json.loads((self.cache.root / "keys" / f"{key}.json").read_text(encoding="utf-8"))
            return self.find(str(found["content"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def find(self, content: str) -> PreparedTexts | None:
        folder = self.cache.root / "prepared" / content
        try:
            plain = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
            specs = {name: ColumnSpec.model_validate(spec) for name, spec in plain["specs"].items()}
            texts = [name for name, spec in specs.items() if spec.kind == "text"]
            tokens = {name: _array(folder / f"tokens-{k}.npy") for k, name in enumerate(texts)}
            offsets = {name: _array(folder / f"offsets-{k}.npy") for k, name in enumerate(texts)}
            sides = {name: _array(folder / f"side-{k}.npy") for k, name in enumerate(plain["sides"])}
            codes, file, line = (_array(folder / f"{name}.npy") for name in ("codes", "file", "line"))
            made = PreparedTexts(
                content, plain["fingerprint"], specs, tokens, offsets, codes, plain["files"], file, line, sides,
                plain["context"], plain["summary"],
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None
        whole = len(file) == len(line) == codes.shape[1] and all(
            len(offsets[name]) == len(line) + 1 and offsets[name][-1] == len(tokens[name]) for name in texts
        )
        return made if whole else None

    def remember(self, key: str, prepared: PreparedTexts) -> None:
        with contextlib.suppress(OSError, UserError):
            write_json(self.cache.root / "keys" / f"{key}.json", {"content": prepared.content})

    def keep(self, prepared: PreparedTexts, say: Say) -> PreparedTexts:
        """Writes everything into a folder of its own, whole or not at all; a full disk costs the cache only."""
        try:
            with self.cache.staging() as folder:
                self._write(folder, prepared)
                self._name(folder, prepared.content)
            return self.find(prepared.content) or prepared
        except OSError as error:
            if not is_full_or_locked(error):
                raise
            warning = (
                f"The cache '{self.cache.root}' cannot be written ({error.strerror}): the texts stay in memory this "
                "time and are prepared again next time. Name another folder with MAQUETTE_CACHE."
            )
            say(warning)
            prepared.summary["warnings"] = [*prepared.summary.get("warnings", []), warning]
            return prepared

    def _write(self, folder: Path, prepared: PreparedTexts) -> None:
        arrays = {"codes": prepared.codes, "file": prepared.file, "line": prepared.line}
        arrays |= {f"tokens-{k}": array for k, array in enumerate(prepared.tokens.values())}
        arrays |= {f"offsets-{k}": array for k, array in enumerate(prepared.offsets.values())}
        arrays |= {f"side-{k}": array for k, array in enumerate(prepared.sides.values())}
        for name, array in arrays.items():
            with (folder / f"{name}.npy").open("wb") as file:
                np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
                file.write(np.ascontiguousarray(array).data)  # plain writes tell a full disk by its number
        plain = {
            "fingerprint": prepared.fingerprint,
            "specs": {name: spec.model_dump(mode="json") for name, spec in prepared.specs.items()},
            "sides": list(prepared.sides), "files": prepared.files, "context": prepared.context,
            "summary": prepared.summary,
        }  # fmt: skip
        (folder / "texts.json").write_text(json.dumps(plain), encoding="utf-8")
        for path in folder.iterdir():
            sync(path)
        folder.chmod(0o755)

    def _name(self, staged: Path, content: str) -> None:
        """Gives a complete folder its name in one step."""
        final = self.cache.root / "prepared" / content
        for _ in range(2):
            try:
                staged.rename(final)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if self.find(content) is not None:
                    return  # another process was faster
                shutil.rmtree(final, ignore_errors=True)  # damaged: make room for the whole one


def _array(path: Path) -> np.ndarray:
    """An array of the cache: small ones in memory, large ones mapped."""
    in_memory = path.stat().st_size < IN_MEMORY_BYTES
    array: np.ndarray = np.load(path, mmap_mode=None if in_memory else "r", allow_pickle=False)
    return array
