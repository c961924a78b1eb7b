"""The previews of a training as one animation: how the pictures came to be."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from markupsafe import Markup as Html

from maquette.core import limits
from maquette.core.about import About
from maquette.core.files import atomic
from maquette.core.modality import Unreadable
from maquette.modalities.image.opening import complaints, opened
from maquette.modalities.image.pages import frames
from maquette.modalities.image.report.tiles import data_uri, img

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")

SHOWN = 460  # CSS pixels
# A larger animation is thinned out: the page should stay small enough to send by mail.
LARGEST_BYTES = 2_000_000
FRAMES = 24
HELD = 16  # bytes that a pixel takes while frames follow one another
SAYS = "animation of the training: the same draws from the first preview to the last"


def animate(files: Sequence[Path], path: Path, about: About, seconds: float = 6.0) -> Path | None:
    """Collects previews into `path`.gif, which says where it is from; the last frame is held. None: there is nothing.

    Those that cannot be read are left out, and, of more than can be held in memory, some in between.

    seconds: of one round of it
    """
    frames: list[Image.Image] = []
    for file in files:
        with contextlib.suppress(Unreadable), complaints():
            picture = opened(limits.contents(file))
            most = limits.limit() // (picture.width * picture.height * HELD)
            if len(files) <= most or file in _spread(files, most):
                frames.append(picture.convert("RGB"))
    frames = [frame for frame in frames if frame.size == frames[-1].size]
    if not frames:
        return None
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
    """The animation of a run as an <img>, or the last preview for who asks for stillness; None where there is none.

    Large ones are thinned out. Unreadable where it is damaged, or of no sane size.
    """
    for name in (f"{stem}.gif", f"{stem}.webp"):
        if (samples / name).is_file():
            return _moving(limits.contents(samples / name))
    return None


def _moving(content: bytes) -> Html:
    picture = opened(content)
    kind = "gif" if picture.format == "GIF" else "webp"
    large = len(content) > LARGEST_BYTES
    some: list[Image.Image] = []
    with complaints():
        numbers = frames(picture, len(content))
        for number in _spread(numbers, FRAMES) if large else numbers[-1:]:
            picture.seek(number)
            limits.check(picture.width * picture.height * HELD)
            last = picture.convert("RGB")
            some.append(last.copy())
            some[-1].thumbnail((SHOWN, SHOWN))
    if large:
        kind, content = "webp", _as_webp(some)
    still = io.BytesIO()
    last.save(still, "WEBP", quality=86)
    size, shown = last.size, min(last.width, SHOWN)
    return Html(
        '<picture><source media="(prefers-reduced-motion: reduce), print" srcset="{}">{}</picture>'
    ).format(data_uri(still.getvalue(), "webp"), img(data_uri(content, kind), size, shown, SAYS))  # fmt: skip


def _as_webp(frames: Sequence[Image.Image]) -> bytes:
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=250, loop=0, quality=70)
    return file.getvalue()


def _spread(among: Sequence[T], most: int) -> list[T]:
    """At most so many, evenly apart, the first and the last included."""
    last = len(among) - 1
    return [among[i] for i in sorted({round(k * last / max(most - 1, 1)) for k in range(most)})]
