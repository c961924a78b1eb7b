"""What a person gives as a clip, and what is shown of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.core.spec import ColumnSpec
from maquette.data.gathered import together
from maquette.data.raw import File
from maquette.modalities.video.claims import gathers
from maquette.modalities.video.config import Config
from maquette.modalities.video.data import clip_of, stored
from maquette.modalities.video.files import canonical
from maquette.modalities.video.shown import view

__all__ = ["CAPTIONED", "asked", "caption", "clip_in", "view"]

CAPTIONED = False  # a grid of clips has no room for them


def asked(value: Any, spec: ColumnSpec, notify: Callable[[str], None]) -> Tensor:
    """f32[C, T, H, W]: the beginning of a file, of the size and at the rate that the model was trained on."""
    made = clip_in(value, spec)
    if made.shape[1] < spec.frames:
        raise UserError(
            f"'{value}' has {made.shape[1]} frames at {spec.fps:.4g} a second, and {spec.frames} are needed.",
            "Name a longer clip.",
        )
    return made[:, : spec.frames]


def clip_in(value: Any, spec: ColumnSpec) -> Tensor:
    """f32[C, n, H, W]: all frames of a file, or of a folder of frames."""
    if not isinstance(value, str | Path):
        raise UserError(f"{value!r} is no clip.", "Name a file, or a folder of frames.")
    try:
        cell = File(Path(value).name, _contents(Path(value)))
        return canonical(stored(clip_of(cell, spec, Config(fps=spec.fps)), spec.channels)[None])[0]
    except Unreadable as error:
        raise UserError(f"'{value}' cannot be used: {error}.", error.remedy or "Name another file.") from None


def _contents(path: Path) -> bytes:
    if not path.is_dir():
        return limits.contents(path)
    names = sorted(file.name for file in path.iterdir() if file.is_file())
    series = gathers(names, lambda i: b"")
    if len(series) != 1:
        raise Unreadable("no folder of numbered frames" if not series else "several series of numbered frames")
    return together([limits.contents(path / names[i]) for i in next(iter(series.values()))])


def caption(item: Tensor, spec: ColumnSpec) -> str:
    """Nothing: a clip is not said in words."""
    return ""


def pace(items: Tensor, spec: ColumnSpec, took: float) -> str:
    """How fast clips f32[n, C, T, H, W] were made, in so many seconds: e.g. `: 128 frames in 0.9 s (142 a second)`."""
    import torch

    frames = items.shape[0] * items.shape[2]
    speed = f", {frames / took:.3g} a second" if took > 0 else ""
    return f": {frames:,} frames made in {took:.1f} s{speed} (threads: {torch.get_num_threads()})"
