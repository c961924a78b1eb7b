"""Canonical clips, and files of them: written with the label of where they come from, and what it says read back.

GIF, WebP, APNG and folders of frames by Pillow; .webm (VP9), .mp4 (AV1, or VP9 where a side is too short for it;
.h264.mp4: H.264) and .mkv (FFV1, lossless) by PyAV, the extra `video`.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maquette.core import limits
from maquette.core.about import About
from maquette.core.errors import MaquetteError, UserError
from maquette.core.files import atomic, make_folder, ready
from maquette.core.spec import ColumnSpec
from maquette.modalities.video.opening import MOVING, STILL, container_of, pyav

FRAMES = ".frames"  # a folder of them
# suffix -> (libavformat's writer, encoder, its options, pixels as it has them)
_VP9 = ("libvpx-vp9", {"crf": "16", "b": "0", "deadline": "good", "cpu-used": "4"}, "yuv420p")
_CODED = {
    ".h264.mp4": ("mp4", "libx264", {"crf": "16"}, "yuv420p"),
    ".mp4": ("mp4", "libsvtav1", {"crf": "20", "preset": "6"}, "yuv420p"),
    ".webm": ("webm", *_VP9),
    ".mkv": ("matroska", "ffv1", {}, "bgr0"),
}  # fmt: skip
_LEAST = 64  # pixels of a side, for the encoder of AV1
SUFFIXES = (".gif", ".webp", ".apng", FRAMES, ".mp4", ".webm", ".mkv")  # that are written
_DESCRIPTION = 0x010E  # the tag of EXIF
LARGE, GAP = 128, 4  # pixels: a side up to which clips of a preview are enlarged; between them


def canonical(stored: np.ndarray) -> Tensor:
    """u8[B, C, T, H, W] -> f32[B, C, T, H, W]; 0 -> -1 and 255 -> 1 exactly."""
    # NumPy, not torch: its thread pool would wake, spin and fight the training for the cores.
    made = np.subtract(stored, np.float32(127.5), dtype=np.float32)
    made *= np.float32(1 / 127.5)
    return torch.from_numpy(made)


def quantised(items: Tensor) -> np.ndarray:
    """Canonical f32[...] -> u8 of the same shape; the inverse of `canonical`, clipped to [-1, 1]."""
    scaled = torch.nan_to_num(items.detach().float().cpu()).clamp(-1, 1).add(1).mul(127.5)
    return scaled.round().to(torch.uint8).numpy()


def frames_of(item: Tensor) -> np.ndarray:
    """One canonical clip f32[C, T, H, W] -> u8[T, H, W, C]."""
    return np.ascontiguousarray(np.moveaxis(quantised(item), 0, 3))


def write(item: Tensor, path: Path, spec: ColumnSpec, about: About) -> Path:
    """Writes f32[C, T, H, W] by the suffix of `path`, atomically."""
    return save(frames_of(item), spec.fps, path, about)


def preview(items: Tensor, path: Path, spec: ColumnSpec, captions: Sequence[str], about: About) -> Path:
    """Writes f32[B, C, T, H, W] side by side, as one moving grid."""
    return save(grid(items, spec), spec.fps, path, about)


def grid(items: Tensor, spec: ColumnSpec, columns: int | None = None) -> np.ndarray:
    """f32[B, C, T, H, W] -> u8[T, h, w, C]: clips side by side, small ones enlarged by whole numbers."""
    channels, count, height, width = items.shape[1:] if len(items) else spec.shape
    times = max(1, LARGE // max(height, width))
    columns = columns or max(1, math.ceil(math.sqrt(len(items))))
    rows, high, wide = max(1, -(-len(items) // columns)), height * times + GAP, width * times + GAP
    made = np.full((count, rows * high - GAP, min(columns, max(len(items), 1)) * wide - GAP, channels), 127, np.uint8)
    for i, item in enumerate(items):
        top, left = i // columns * high, i % columns * wide
        made[:, top : top + high - GAP, left : left + wide - GAP] = enlarged(frames_of(item), times)
    return made


def enlarged(frames: np.ndarray, times: int) -> np.ndarray:
    """u8[T, H, W, C] with each pixel as a square of so many."""
    return frames.repeat(times, 1).repeat(times, 2) if times > 1 else frames


def save(frames: np.ndarray, fps: float, path: Path, about: About) -> Path:
    """Writes u8[T, H, W, C] by the suffix of `path`, atomically; `about` goes into its tags as JSON: a comment of GIF,
    the EXIF description of WebP, chunks of text of PNG, the tag "comment" of containers."""
    path = Path(path)
    suffix = next((end for end in (*_CODED, *SUFFIXES) if path.name.lower().endswith(end)), "")
    if not suffix:
        raise UserError(
            f"Clips cannot be written as '{path.suffix}'.",
            f"Use {', '.join(SUFFIXES[:3])}, 'frames' (a folder of PNG), {', '.join(SUFFIXES[4:])} or .h264.mp4.",
        )
    if suffix == FRAMES:
        return _folder(frames, path.with_suffix(""), about)
    if suffix in _CODED:
        pyav()
    with atomic(ready(path)) as temporary:
        if suffix in _CODED:
            _contained(frames, fps, temporary, suffix, about)
        else:
            temporary.write_bytes(moving(frames, fps, suffix, about))
    return path


def moving(frames: np.ndarray, fps: float, suffix: str, about: About | None = None) -> bytes:
    """u8[T, H, W, C] as the bytes of .gif, .webp (lossless) or .apng, played over and over."""
    fields = {} if about is None else about.fields
    unit = 10 if suffix == ".gif" else 1  # milliseconds: times are rounded, and errors do not add up
    ends = [round(1000 / unit * i / fps) for i in range(len(frames) + 1)]
    lasts = [max(1, b - a) * unit for a, b in itertools.pairwise(ends)]
    options: dict[str, Any] = {"duration": lasts, "loop": 0, "format": "GIF"}
    if suffix == ".gif":
        options["comment"] = json.dumps(fields, ensure_ascii=False).encode()
    elif suffix == ".webp":
        options |= {"format": "WEBP", "lossless": True, "exif": _exif(fields)}
    else:
        options |= {"format": "PNG", "pnginfo": _chunks(fields)}
    first, *others = map(_picture, frames)
    file = io.BytesIO()
    first.save(file, save_all=True, append_images=others, **options)
    return file.getvalue()


def origin(path: Path) -> dict[str, str]:
    """What a file of clips says of where it comes from, as `save` wrote it; {} where it says nothing."""
    from PIL import Image

    path = Path(path)
    if path.is_dir():
        frames = sorted(path.glob("*.png"))
        if not frames:
            return {}
        path = frames[0]
    data = limits.contents(path)
    words: Any = ""
    if form := container_of(data[:64]):
        with pyav().open(io.BytesIO(data), format=form) as container:
            words = next((value for key, value in container.metadata.items() if key.lower() == "comment"), "")
    else:
        with Image.open(io.BytesIO(data), formats=(*MOVING, *STILL)) as img:
            img.load()
            words = getattr(img, "text", None) or img.info.get("comment") or img.getexif().get(_DESCRIPTION) or ""
    if isinstance(words, dict):
        return {str(key): str(value) for key, value in words.items()}
    try:
        found = json.loads(words)
    except (ValueError, TypeError, RecursionError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _picture(frame: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(frame[..., 0] if frame.shape[2] == 1 else frame))


def _exif(fields: dict[str, str]) -> Any:
    from PIL import Image

    made = Image.Exif()
    made[_DESCRIPTION] = json.dumps(fields)
    return made


def _chunks(fields: dict[str, str]) -> Any:
    from PIL import PngImagePlugin

    made = PngImagePlugin.PngInfo()
    for key, value in fields.items():
        made.add_text(key.encode("latin-1", "replace")[:79].decode("latin-1"), value)
    return made


def _folder(frames: np.ndarray, folder: Path, about: About) -> Path:
    """A folder of frames as PNG, each with the label."""
    make_folder(folder)
    for number, frame in enumerate(frames, 1):
        with atomic(folder / f"{number:04d}.png") as temporary:
            _picture(frame).save(temporary, format="PNG", pnginfo=_chunks(about.fields))
    return folder


def _contained(frames: np.ndarray, fps: float, path: Path, suffix: str, about: About) -> None:
    """Writes u8[T, H, W, C] as a container, which must keep the label."""
    av = pyav()
    os.environ.setdefault("SVT_LOG", "1")  # else the encoder of AV1 tells the terminal about itself
    form, encoder, options, pixels = _CODED[suffix]
    if suffix == ".mp4" and min(frames.shape[1:3]) < _LEAST:
        encoder, options, pixels = _VP9
    if encoder not in av.codecs_available:
        raise UserError(f"This PyAV has no encoder {encoder}.", "Write .webm, .gif or .webp instead.")
    odd = pixels == "yuv420p" and any(side % 2 for side in frames.shape[1:3])
    frames = enlarged(frames, 2 if odd else 1)  # colours are halved both ways: of odd sides each pixel becomes four
    words = json.dumps(about.fields, ensure_ascii=False)
    if frames.shape[3] == 1:
        frames, pixels = (frames[..., 0], "gray") if encoder == "ffv1" else (frames.repeat(3, 3), pixels)
    try:
        with av.open(str(path), "w", format=form) as container:
            container.metadata["comment"] = words
            stream = container.add_stream(encoder, Fraction(fps).limit_denominator(1001), options=options)
            stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
            for frame in frames:
                known = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24" if frame.ndim == 3 else "gray")
                container.mux(stream.encode(known))
            container.mux(stream.encode(None))
    except av.error.FFmpegError as error:
        raise MaquetteError(f"{encoder} failed: {error}.", "Write .gif or .webp instead.") from None
    if origin(path) != about.fields:
        raise UserError(
            f"{form} does not keep the label that says where a clip comes from, so nothing was written.",
            "Write another format, such as .webm, .gif or .webp.",
        )


def made_up(spec: ColumnSpec, items: int, seed: int = 0) -> Tensor:
    """A bright square that moves over dark ground, f32[items, C, T, H, W]."""
    generator = torch.Generator().manual_seed(seed)
    channels, count, height, width = spec.shape
    time = torch.arange(count).view(1, 1, count, 1, 1)
    start, speed = torch.rand(2, items, 2, 1, 1, 1, generator=generator)
    inside = torch.ones(items, 1, count, height, width, dtype=torch.bool)
    for axis, side in ((0, height), (1, width)):
        place = torch.arange(side).view(1, 1, 1, *((side, 1) if axis == 0 else (1, side)))
        at = (start[:, axis : axis + 1] + (0.5 + speed[:, axis : axis + 1]) * time / count) % 1 * side * 0.75
        inside = inside & (place >= at) & (place < at + max(side // 4, 1))
    return torch.where(inside, 0.8, -0.9).expand(items, channels, count, height, width).contiguous()
