"""Tables of texts in the form of the Hugging Face `datasets` library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maquette.core.errors import UserError
from maquette.data.hub import Hub, OnDisk, load
from maquette.data.sources import Say
from maquette.data.text import digest, shown
from maquette.data.texts.decode import Decoder, lone_surrogate
from maquette.data.texts.material import Fault, Material, refuse_if
from maquette.data.texts.tables import is_text

_PLAIN = ("string", "large_string", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
          "float16", "float32", "float64")  # fmt: skip


class HubTexts:
    """A data set of `datasets`, on the hub or on disk, that holds texts and no pictures."""

    def __init__(self, source: Hub | OnDisk, fetch: bool) -> None:
        self.source, self.fetch = source, fetch
        self._found: dict[str, Any] | None = None

    def key(self) -> str:
        return digest(["texts of", self.source.key()])

    def is_text(self, target: Sequence[str], say: Say) -> bool:
        """Whether it has texts and no pictures; asks the hub only where that is allowed."""
        if isinstance(self.source, Hub) and not self.fetch:
            return bool(target) and "image" not in target
        features = next(iter(self._splits(say).values())).features
        kinds = [type(feature).__name__ for feature in features.values()]
        return "Image" not in kinds and any(
            feature is None or feature.dtype in _PLAIN[:2] for feature in _columns(features).values()
        )

    def load(self, asked: Sequence[str], strict: bool, say: Say) -> Material:
        if isinstance(self.source, Hub) and not self.fetch:
            name = f"hf:{self.source.name}"
            raise UserError(f"'{name}' is not on this machine.", f"Fetch it with: maquette data inspect {name}")
        splits = self._splits(say)
        made = Material("`datasets` data set", "rows", {}, [], [], [], [])
        decoder = Decoder()
        for number, (split, data) in enumerate(splits.items()):
            made.files.append(split)
            made.file += [number] * len(data)
            made.line += range(1, len(data) + 1)
            made.stems += [split if len(splits) > 1 else None] * len(data)
            for name, feature in _columns(data.features).items():
                made.columns.setdefault(name, [None] * (len(made) - len(data)))
                made.columns[name] += _values(feature, _column(data, name))
        for values in made.columns.values():
            values += [None] * (len(made) - len(values))
            for i, value in enumerate(values):
                if value and not value.isprintable():
                    values[i] = decoder.clean(value.replace("\r\n", "\n"), made.place(i))
        broken = {i for values in made.columns.values() for i, v in enumerate(values) if v and lone_surrogate([v])}
        half = Fault("half of a surrogate pair stands alone: no character")
        made.leave_out(dict.fromkeys(broken, half), strict)
        refuse_if(strict, made.left_out)
        made.text_columns = [name for name, values in made.columns.items() if is_text(values)]
        made.notes += decoder.notes()
        return made

    def _splits(self, say: Say) -> dict[str, Any]:
        if self._found is None:
            found = load(self.source, say)
            self._found = dict(found) if isinstance(found, dict) else {"train": found}
        return self._found


def _columns(features: Any) -> dict[str, Any]:
    """Columns of plain values; a `translation` of several languages is one column each."""
    made: dict[str, Any] = {}
    for name, feature in features.items():
        languages = getattr(feature, "languages", None)
        if languages:
            made |= dict.fromkeys(languages)
        elif isinstance(feature, dict) and all(getattr(f, "dtype", "") in _PLAIN[:2] for f in feature.values()):
            made |= dict.fromkeys(feature)
        elif getattr(feature, "dtype", "") in _PLAIN:
            made[name] = feature
    return made


def _column(data: Any, name: str) -> list[Any]:
    if name in data.features:
        return list(data[name])
    for outer, feature in data.features.items():
        inner = getattr(feature, "languages", None) or (feature if isinstance(feature, dict) else ())
        if name in inner:
            return [None if row is None else row.get(name) for row in data[outer]]
    raise KeyError(shown(name))


def _values(feature: Any, values: Sequence[Any]) -> list[str | None]:
    names = getattr(feature, "names", None)
    if names:  # numbers of classes
        return [names[v] if v is not None and v >= 0 else None for v in values]
    return [None if v is None else str(v) for v in values]
