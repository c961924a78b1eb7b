"""Data sets of the Hugging Face `datasets` library: saved on disk, or from the hub by explicit name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data.layout import SPLITS
from maquette.data.sources import Encoded, Payload, Say, stamp
from maquette.data.text import digest, shown


class HubFiles:
    """Encoded pictures of one or more splits."""

    def __init__(self, parts: Sequence[tuple[str, Any]], column: str) -> None:
        """parts: (split, dataset whose column of pictures is left encoded)."""
        self.column = column
        self.places = [(data, i) for _, data in parts for i in range(len(data))]
        self.names: Sequence[str] = [f"{split}/{i:06d}" for split, data in parts for i in range(len(data))]

    def payloads(self, indices: Sequence[int]) -> list[Payload]:
        made: list[Payload] = []
        for i in indices:
            data, row = self.places[i]
            try:
                value = data[row][self.column]
            except Exception as error:  # whatever Arrow says of one damaged row
                made.append(Unreadable(f"damaged ({type(error).__name__})"))
                continue
            payload = (value or {}).get("bytes") or (value or {}).get("path")
            made.append(payload if payload else Unreadable("no picture in this row"))
        return made

    def reading_order(self) -> Sequence[int]:
        return range(len(self.names))


class OnDisk:
    """A folder written by `save_to_disk`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def key(self) -> str:
        return digest(["datasets", *(stamp(file) for file in sorted(self.path.rglob("*")) if file.is_file())])

    def load(self, say: Say) -> Encoded:
        return _encoded(_library(), load(self, say), "datasets on disk")


class Hub:
    """A data set of the Hugging Face hub. Only data is fetched; scripts of a repository are never run."""

    def __init__(self, name: str) -> None:
        self.name = name

    def key(self) -> str:
        return digest(["hf", self.name])

    def load(self, say: Say) -> Encoded:
        return _encoded(_library(), load(self, say), "hub")


def load(source: OnDisk | Hub, say: Say) -> Any:
    """What the library makes of a source: a data set, or several by split."""
    datasets = _library()
    if isinstance(source, OnDisk):
        try:
            return datasets.load_from_disk(str(source.path))
        except Exception as error:
            raise UserError(
                f"'{source.path}' is not a whole `datasets` data set: {_line(error)}",
                "Write it again with save_to_disk.",
            ) from None
    say(f"Fetching '{source.name}' from the Hugging Face hub")
    try:
        return datasets.load_dataset(source.name)
    except Exception as error:
        raise UserError(
            f"'{source.name}' could not be fetched from the Hugging Face hub: {_line(error)}",
            "Check the name and the network; offline, name a folder written by `save_to_disk` instead.",
        ) from None


def _library() -> Any:
    try:
        import datasets
    except ImportError:
        raise UserError(
            "Reading `datasets` data sets needs an extra that is not installed.", "pip install 'maquette[hub]'"
        ) from None
    datasets.disable_progress_bars()
    return datasets


def _encoded(datasets: Any, found: Any, kind: str) -> Encoded:
    splits = dict(found) if isinstance(found, dict) else {"train": found}
    features = next(iter(splits.values())).features
    column = next((name for name, f in features.items() if isinstance(f, datasets.Image)), None)
    if column is None:
        raise UserError(
            f"The data set has no column of pictures; it has {', '.join(map(shown, features))}.",
            "Its picture column must have the type `datasets.Image`.",
        )
    notes, known = [], {SPLITS.get(name.lower()) for name in splits}
    has_own = "test" in known or "val" in known
    parts, values, own = [], {}, []
    for name, data in splits.items():
        role = SPLITS.get(name.lower())
        if len(splits) > 1 and role is None:
            notes.append(f"Split '{shown(name)}' is not used.")
            continue
        if role == "val":
            role = "train" if "test" in known else "test"
            notes.append(f"The validation split is used as the {role} split.")
        parts.append((name, data.cast_column(column, datasets.Image(decode=False))))
        own += [role if has_own else None] * len(data)
    for name, feature in features.items():
        if isinstance(feature, datasets.ClassLabel):
            texts = [feature.names[v] if v is not None and v >= 0 else None for _, d in parts for v in d[name]]
        elif getattr(feature, "dtype", "") in ("string", "bool", "int8", "int16", "int32", "int64", "uint8"):
            texts = [None if v is None else str(v) for _, d in parts for v in d[name]]
        else:
            continue
        values[name] = texts
    files = HubFiles(parts, column)
    return Encoded(kind, files, list(range(len(files.names))), own, values, notes=notes)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
