"""The previews of a training: which there are, how they are shown, and as one moving file."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup as Html

from maquette.core.about import About
from maquette.core.files import make_folder
from maquette.core.find import find_modality
from maquette.core.progress import track
from maquette.core.run import RunFolder
from maquette.core.samples import quotes
from maquette.core.shown import file_stems
from maquette.core.spec import DataSpec, TokenSpec
from maquette.report.show import hook, previewed

STRIP = 8


@dataclass(frozen=True)
class Stage:
    """A preview on the page: the step of the training, and what was made at it; None where its file cannot be read."""

    step: int
    html: Html | None


def previews(folder: RunFolder, spec: DataSpec, column: str) -> list[tuple[int, Path]]:
    """(step, file) of the previews of a target column, in order of their steps.

    They are `samples/preview-<step><suffix>`, and `samples/preview-<step>-<column><suffix>` where there are several.
    """
    suffix = find_modality(spec.columns[column].kind).PREVIEW_SUFFIX
    tail = re.escape(_tail(spec, column))
    found = []
    for path in folder.samples.glob(f"preview-*{suffix}") if folder.samples.is_dir() else ():
        match = re.fullmatch(rf"preview-(\d+){tail}", path.name.removesuffix(suffix))
        if match:
            found.append((int(match[1]), path))
    return sorted(found)


def _tail(spec: DataSpec, column: str) -> str:
    """What the name of a file says of its column, where there are several."""
    return f"-{file_stems(spec.target)[column]}" if len(spec.target) > 1 else ""


def animation_name(spec: DataSpec, column: str) -> str:
    """What the file of `write_animation` is called, without its suffix."""
    return f"training{_tail(spec, column)}"


def stages(folder: RunFolder, spec: DataSpec, column: str) -> list[Stage]:
    """Previews along the way, the first and the last included.

    Sequences take time to read: of them, there is one in between, the nearest to half of the steps.
    """
    known = previews(folder, spec, column)
    if isinstance(spec.columns[column], TokenSpec) and known:
        middle = min(known, key=lambda preview: abs(2 * preview[0] - known[-1][0]))
        known = sorted({known[0], middle, known[-1]})
    return [Stage(step, shown(path, step, spec, column)) for step, path in spread(known, STRIP)]


def last_stage(folder: RunFolder, spec: DataSpec) -> Stage | None:
    """The last preview that was kept, of the first target column, without captions that may be items of the data."""
    known, column = previews(folder, spec, spec.target[0]), spec.target[0]
    bare = quotes(spec, spec.columns[column].kind)
    html = shown(known[-1][1], known[-1][0], spec, column, bare) if known else None
    return Stage(known[-1][0], html) if html is not None else None


def shown(path: Path, step: int, spec: DataSpec, column: str, bare: bool = False) -> Html | None:
    """A preview as a piece of a page; None where it cannot be read: cut short by a crash, the others tell the story."""
    try:
        return previewed(path, spec.columns[column], f"preview at step {step:,}", bool(spec.given), bare)
    except (OSError, ValueError):
        return None


def spread(known: list[Any], most: int) -> list[Any]:
    """At most `most` of them, first and last included; they lie closer together at the start, where most happens."""
    if len(known) <= most:
        return known
    return [known[max(i, round((len(known) - 1) * (i / (most - 1)) ** 1.7))] for i in range(most)]


def uncaption(folder: RunFolder) -> None:
    """Takes captions that may be items of the data out of the preview files, for a folder that is given away."""
    spec = folder.spec()
    for column in spec.target:
        kind = spec.columns[column].kind
        remove = hook(kind, "uncaption") if quotes(spec, kind) else None
        if remove is None:
            continue
        for _, path in previews(folder, spec, column):
            with contextlib.suppress(ValueError):  # cut short within a character: nothing is read of it
                remove(path)


def write_animation(folder: RunFolder, about: About) -> list[Path]:
    """The previews of each target column as one moving file, `samples/training<suffix>`, where its kind can move."""
    spec, written = folder.spec(), []
    for column in track(spec.target, "drawing the animation"):
        animate = hook(spec.columns[column].kind, "animate")
        files = [path for _, path in previews(folder, spec, column)]
        if animate is not None and files:
            written.append(animate(files, make_folder(folder.samples) / animation_name(spec, column), about))
    return [path for path in written if path is not None]
