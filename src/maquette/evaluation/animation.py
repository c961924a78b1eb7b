"""The previews of a run, collected into an animation of its training."""

from __future__ import annotations

from pathlib import Path

from maquette.core.files import atomic
from maquette.core.run import RunFolder


def write_animation(folder: RunFolder, seconds: float = 6.0) -> Path | None:
    """Collects `samples/preview-*.png` into `samples/training.gif`; None when there are no previews.

    The last frame is held, so that a person sees where it ended.
    """
    from PIL import Image

    files = sorted(folder.samples.glob("preview-*.png"))
    if not files:
        return None
    frames = []
    for file in files:
        with Image.open(file) as picture:
            frames.append(picture.convert("RGB"))
    each_ms = int(1000 * seconds / len(frames))
    path = folder.samples / "training.gif"
    with atomic(path) as temporary:
        frames[0].save(
            temporary,
            save_all=True,
            append_images=frames[1:],
            duration=[each_ms] * (len(frames) - 1) + [2000],
            loop=0,
        )
    return path
