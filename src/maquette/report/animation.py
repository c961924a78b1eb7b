"""How the pictures came to be: the animation of the training, and a strip of its previews."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.core.run import RunFolder
from maquette.report.pictures import Tile, data_uri, file_tile

# A larger animation is thinned out: the page should stay small enough to send by mail.
LARGEST_BYTES = 2_000_000
FRAMES = 24
STRIP = 8


@dataclass(frozen=True)
class Stage:
    step: int
    tile: Tile


@dataclass(frozen=True)
class Animation:
    """moving: the animation, if there is one. stages: previews along the way, first and last included."""

    moving: Tile | None
    stages: list[Stage]
    previews: int

    @property
    def last(self) -> Tile | None:
        return self.stages[-1].tile if self.stages else None


def previews(folder: RunFolder) -> list[tuple[int, Path]]:
    """`preview-<step>.png` in order of their steps."""
    found = []
    for path in folder.samples.glob("preview-*.png") if folder.samples.is_dir() else ():
        match = re.fullmatch(r"preview-(\d+)", path.stem)
        if match:
            found.append((int(match[1]), path))
    return sorted(found)


def read_animation(folder: RunFolder) -> Animation | None:
    """None when the run kept no previews at all."""
    known = previews(folder)
    moving = None
    for name in ("training.gif", "training.webp"):
        if (folder.samples / name).is_file():
            moving = _moving(folder.samples / name)
            break
    if not known and moving is None:
        return None
    stages = []
    for step, path in _spread(known, STRIP):
        try:
            stages.append(Stage(step, file_tile(path, f"preview at step {step:,}", shown=240, largest=480)))
        except OSError:
            continue  # cut short by a crash: the others still tell the story
    return Animation(moving, stages, len(known))


def _spread(things: list[Any], most: int) -> list[Any]:
    """At most `most` of them, first and last included.

    They lie closer together at the start, where most happens.
    """
    if len(things) <= most:
        return things
    return [things[max(i, round((len(things) - 1) * (i / (most - 1)) ** 1.7))] for i in range(most)]


def _moving(path: Path) -> Tile | None:
    """The animation as it is, or thinned out when it is large; None when it cannot be read."""
    from PIL import Image, ImageSequence

    alt = "animation of the training: the same latent codes from the first preview to the last"
    try:
        with Image.open(path) as picture:
            kind = "gif" if picture.format == "GIF" else "webp"
            width, height = picture.size
            if path.stat().st_size <= LARGEST_BYTES:
                return Tile(data_uri(path.read_bytes(), kind), width, height, min(width, 460), False, alt)
            frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(picture)]
    except (OSError, ValueError):
        return None
    frames = [frames[i] for i in sorted({round(k * (len(frames) - 1) / (FRAMES - 1)) for k in range(FRAMES)})]
    for frame in frames:
        frame.thumbnail((460, 460))
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=250, loop=0, quality=70)
    return Tile(data_uri(file.getvalue(), "webp"), *frames[0].size, min(frames[0].width, 460), False, alt)
