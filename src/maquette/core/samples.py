"""What a model made: canonical tensors that show themselves and save themselves as files."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from maquette.core.about import About
from maquette.core.errors import UserError
from maquette.core.find import find_modality
from maquette.core.spec import DataSpec


@dataclass(frozen=True)
class Samples:
    """Items of a sample.

    target: canonical tensors by column      given: what was asked for each item
    seed:   item i depends on (seed, i) and what is given alone
    about:  where they come from, for the files' metadata
    """

    target: dict[str, Tensor]
    given: dict[str, Tensor]
    spec: DataSpec
    seed: int
    about: About = field(default_factory=About)

    def __len__(self) -> int:
        return len(next(iter(self.target.values())))

    @property
    def x(self) -> Tensor:
        """The one target of a single-target model, e.g. f32[N, C, H, W] in [-1, 1]."""
        (x,) = self.target.values()
        return x

    @property
    def captions(self) -> list[str]:
        """The class of each item; empty when no label was given."""
        if self.spec.label is None or self.spec.label not in self.given:
            return []
        classes = self.spec.columns[self.spec.label].classes
        return [classes[i] for i in self.given[self.spec.label].tolist()]

    def preview(self, columns: int | None = None) -> Any:
        """All items as one thing to look at: a PIL picture for images, a str for texts."""
        (name,) = self.target
        spec = self.spec.columns[name]
        sheet = find_modality(spec.kind).sheet
        return sheet(self.target[name], spec, self.captions) if spec.kind == "text" else sheet(self.x, columns)

    @property
    def texts(self) -> list[str]:
        """The texts of a model of text."""
        (name,) = self.target
        spec = self.spec.columns[name]
        if spec.kind != "text":
            raise UserError(f"These are samples of {spec.kind}, which have no text.", "Use .x, .preview() or .save().")
        decode = find_modality("text").decode
        return [decode(item, spec) for item in self.target[name]]

    def save(self, folder: str | Path, suffix: str | None = None, start: int = 0) -> list[Path]:
        """Writes one file an item; the metadata of each says which run and seed made it.

        suffix: of the files, e.g. ".jpg"; None: ".png" for pictures, ".txt" for texts
        """
        (name,) = self.target
        suffix = suffix or find_modality(self.spec.columns[name].kind).PREVIEW_SUFFIX
        paths = []
        for i in range(len(self)):
            # A class name comes from a folder name and must not become a path.
            tail = "-" + re.sub(r"[^\w.-]+", "_", self.captions[i]) if self.captions else ""
            paths.append(self.write(Path(folder) / f"{start + i:05d}{tail}{suffix}", i, start))
        return paths

    def write(self, path: str | Path, item: int = 0, start: int = 0) -> Path:
        """Writes one item to a file, with its metadata. start: the number of the first item."""
        (name,) = self.target
        spec = self.spec.columns[name]
        more = {"label": self.captions[item]} if self.captions else {}
        about = self.about.of(self.seed, start + item, **more)
        return find_modality(spec.kind).write(self.target[name][item], Path(path), spec, about)

    def __str__(self) -> str:
        shown = self.preview()
        return shown if isinstance(shown, str) else repr(self)

    def _repr_png_(self) -> bytes | None:
        if self.spec.x.kind != "image":
            return None
        buffer = io.BytesIO()
        self.preview().save(buffer, "PNG")
        return buffer.getvalue()
