"""The previews of a training as one animation: how the pictures came to be."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup as Html

from maquette.core.about import About
from maquette.core.files import atomic
from maquette.modalities.image.report.tiles import data_uri, img

SHOWN = 460  # CSS pixels
# A larger animation is thinned out: the page should stay small enough to send by mail.
LARGEST_BYTES = 2_000_000
FRAMES = 24
SAYS = "animation of the training: the same draws from the first preview to the last"


def animate(files: Sequence[Path], path: Path, about: About, seconds: float = 6.0) -> Path:
    """Collects previews into `path`.gif, which says where it is from; the last frame is held.

    seconds: of one round of it
    """
    from PIL import Image

    frames = []
    for file in files:
        with Image.open(file) as picture:
            frames.append(picture.convert("RGB"))
    each_ms, path = int(1000 * seconds / len(frames)), path.with_name(f"{path.name}.gif")
    with atomic(path) as temporary:
        frames[0].save(
            temporary,
            save_all=True,
            append_images=frames[1:],
            duration=[each_ms] * (len(frames) - 1) + [2000],
            loop=0,
            comment="; ".join(f"{name}: {words}" for name, words in about.fields.items()).encode(),
        )
    return path


def moving(samples: Path, stem: str) -> Html | None:
    """The animation of a run as an <img>, or the last preview for who asks for stillness; None where there is none."""
    for name in (f"{stem}.gif", f"{stem}.webp"):
        if (samples / name).is_file():
            return _moving(samples / name)
    return None


def _moving(path: Path) -> Html | None:
    """The animation as it is, or thinned out when it is large; None when it cannot be read."""
    from PIL import Image, ImageSequence

    try:
        with Image.open(path) as picture:
            kind = "gif" if picture.format == "GIF" else "webp"
            frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(picture)]
    except (OSError, ValueError):
        return None
    content = path.read_bytes()
    if len(content) > LARGEST_BYTES:
        kind, content = "webp", _thinned(frames)
    size, shown = frames[0].size, min(frames[0].width, SHOWN)
    still = io.BytesIO()
    frames[-1].save(still, "WEBP", quality=86)
    return Html(
        '<picture><source media="(prefers-reduced-motion: reduce), print" srcset="{}">{}</picture>'
    ).format(data_uri(still.getvalue(), "webp"), img(data_uri(content, kind), size, shown, SAYS))  # fmt: skip


def _thinned(frames: list) -> bytes:
    """At most FRAMES of them, shrunk in place."""
    some = [frames[i] for i in sorted({round(k * (len(frames) - 1) / (FRAMES - 1)) for k in range(FRAMES)})]
    for frame in some:
        frame.thumbnail((SHOWN, SHOWN))
    file = io.BytesIO()
    some[0].save(file, "WEBP", save_all=True, append_images=some[1:], duration=250, loop=0, quality=70)
    return file.getvalue()
