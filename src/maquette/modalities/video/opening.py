"""Every clip is opened here: by formats that are named, within the limit, and decoded once into small frames.

Containers are PyAV's (BSD; the wheels of it hold GPL encoders, so it is never bundled): the extra `video`. Moving
pictures and folders of frames are Pillow's, and need nothing more.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data.gathered import MAGIC, parts_of

if TYPE_CHECKING:
    from PIL import Image, ImageFile

CONTAINERS = {  # suffix -> libavformat's reader, which opens no other file
    ".mp4": "mov", ".m4v": "mov", ".mov": "mov", ".webm": "matroska", ".mkv": "matroska", ".avi": "avi",
}  # fmt: skip
MOVING = ("GIF", "WEBP", "PNG")
STILL = (*MOVING, "JPEG", "BMP")  # of frames that are files
_OTHER_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis", b"M4A ")
MOST = 1_000_000  # frames of one file
BYTES_A_PIXEL = 8  # until a frame is of the size that is asked for
UNSAID = 0.1  # seconds that a frame is shown which does not say it
FEW_BYTES = 2**23  # files of no more are decoded by one thread: several are decoded side by side
LACKS = 0.9, 0.5  # a file is cut off that lasts less than this share of what it says, by more than so many seconds
Shape = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it is decoded: when it is shown, in seconds; its size as it is shown, in pixels; and what scales it
    to u8[h, w, 3]. upright: quarters that it is turned by, against the clock"""

    time: float
    size: Shape
    scaled: Callable[[int, int], np.ndarray]
    turned: int = 0


@dataclass(slots=True)
class Opened:
    """A file that is read frame by frame.

    format: e.g. "mp4 (h264)"      sounds: tracks of sound, which are left aside
    ends:   when the last frame ends, once all were read; None: nobody knows
    timed:  whether it says when frames are shown
    says:   how long the file says that it is, in seconds; 0 where it does not
    """

    format: str
    frames: Iterator[Frame]
    sounds: int = 0
    says: float = 0.0
    timed: bool = True
    ends: list[float] = field(default_factory=list)


def pyav() -> Any:
    """The library that reads and writes containers; UserError, which says how to install it, where it is missing."""
    try:
        import av
    except (ImportError, OSError):
        raise UserError(
            "Files of video need PyAV, which is not installed.",
            "Install it: pip install 'maquette[video]' (its wheels contain GPL encoders). Without it, GIF, WebP, APNG "
            "and folders of frames can be used.",
        ) from None
    return av


def container_of(head: bytes) -> str | None:
    """The reader of a file by its first bytes; None where it is none of ours. A gathered item is "frames"."""
    if head.startswith(MAGIC):
        return "frames"
    if head[4:8] == b"ftyp" and head[8:12] not in _OTHER_BRANDS:
        return "mov"
    if head[4:8] in (b"moov", b"wide") and head[:2] == b"\0\0":  # as QuickTime was written once
        return "mov"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    return "avi" if head[:4] == b"RIFF" and head[8:12] == b"AVI " else None


def moves(head: bytes) -> bool:
    """Whether a picture file has several frames, by its first bytes; of GIF nobody knows."""
    return head[:4] == b"GIF8" or (head[:4] == b"RIFF" and head[8:12] == b"WEBP" and b"ANIM" in head[:64]) or (
        head[:4] == b"\x89PNG" and b"acTL" in head[:2048]
    )  # fmt: skip


@contextlib.contextmanager
def opened(data: bytes, name: str = "") -> Iterator[Opened]:
    """A file as frames in the order in which they are shown. Whatever its decoder says, within, is Unreadable."""
    if not data:
        raise Unreadable("zero bytes")
    form = container_of(data[:64])
    with _complaints():
        if form == "frames":
            yield _files(parts_of(data))
        elif form is None:
            yield _moving(data)
        else:
            with _container(data, form, name) as found:
                yield found


# -- containers --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _container(data: bytes, form: str, name: str) -> Iterator[Opened]:
    av = pyav()
    with av.open(io.BytesIO(data), format=form, metadata_errors="replace") as container:
        sounds = len(container.streams.audio)
        if not container.streams.video:
            raise Unreadable("sound alone: there is no picture in it" if sounds else "there is no video in it")
        stream = container.streams.video[0]
        codec = stream.codec_context
        if codec is None:
            raise Unreadable("its codec is not known")
        limits.check(codec.width * codec.height * BYTES_A_PIXEL)
        codec.options = {"max_pixels": str(limits.limit() // BYTES_A_PIXEL)}  # a stream may grow on the way
        if len(data) <= FEW_BYTES:
            codec.thread_count = 1
        else:
            stream.thread_type = "AUTO"
        suffix = Path(name).suffix.lower().lstrip(".") or form
        says = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
        made = Opened(f"{suffix} ({codec.codec.canonical_name})", iter(()), sounds, says)
        shape = stream.sample_aspect_ratio
        made.frames = _decoded(container, stream, float(shape) if shape else 1.0, made)
        yield made


def _decoded(container: Any, stream: Any, wide: float, made: Opened) -> Iterator[Frame]:
    """Frames of a stream. wide: how many times as wide as high its pixels are"""
    scaler = pyav().video.reformatter.VideoReformatter()
    rate = float(stream.average_rate or 0) or 1 / UNSAID
    for number, frame in enumerate(container.decode(stream)):
        limits.check(frame.width * frame.height * BYTES_A_PIXEL)
        turned = round(frame.rotation / 90) % 4
        size = (frame.height, max(1, round(frame.width * wide)))
        time = number / rate if frame.pts is None else float(frame.pts * frame.time_base)
        lasts = float((frame.duration or 0) * (frame.time_base or 0))
        made.ends[:] = [time + (lasts or 1 / rate)]
        yield Frame(time, size[::-1] if turned % 2 else size, _scaler(scaler, frame, turned), turned)


def _scaler(scaler: Any, frame: Any, turned: int) -> Callable[[int, int], np.ndarray]:
    def scaled(height: int, width: int) -> np.ndarray:
        h, w = (width, height) if turned % 2 else (height, width)
        how = "AREA" if h * w < frame.height * frame.width else "BICUBIC"
        small = scaler.reformat(frame, width=w, height=h, format="rgb24", interpolation=how, threads=1)
        made: np.ndarray = small.to_ndarray()
        return np.rot90(made, turned) if turned else made

    return scaled


# -- moving pictures, and frames that are files --------------------------------------------------------


def _moving(data: bytes) -> Opened:
    img = _picture(data, MOVING)
    made = Opened({"PNG": "APNG", "WEBP": "WebP"}.get(str(img.format), str(img.format)), iter(()))
    if getattr(img, "n_frames", 1) < 2 and img.format != "GIF":
        raise Unreadable("a single picture, not a clip")
    made.frames = _pages(img, made, len(data))
    return made


def _pages(img: ImageFile.ImageFile, made: Opened, size: int) -> Iterator[Frame]:
    time = 0.0
    for number in range(MOST):
        try:
            img.seek(number)
        except EOFError:
            break
        limits.check(img.width * img.height * BYTES_A_PIXEL)
        img.load()  # of WebP, how long it is shown is known after that
        yield Frame(time, (img.height, img.width), _resizer(img))
        time += (img.info.get("duration") or 1000 * UNSAID) / 1000
        made.ends[:] = [time]


def _files(files: Sequence[bytes]) -> Opened:
    def frames() -> Iterator[Frame]:
        for number, data in enumerate(files):
            img = _picture(data, STILL)
            img.load()
            made.ends[:] = [(number + 1) * UNSAID]
            yield Frame(number * UNSAID, (img.height, img.width), _resizer(img))

    made = Opened("frames", iter(()), timed=False)
    made.frames = frames()
    return made


def _picture(data: bytes, formats: Sequence[str]) -> ImageFile.ImageFile:
    from PIL import Image, UnidentifiedImageError

    try:
        img = Image.open(io.BytesIO(data), formats=tuple(formats))
    except UnidentifiedImageError:
        raise Unreadable(_something_else(data)) from None
    limits.check(img.width * img.height * BYTES_A_PIXEL)
    return img


def _resizer(img: Image.Image) -> Callable[[int, int], np.ndarray]:
    def scaled(height: int, width: int) -> np.ndarray:
        return np.asarray(resized(on_white(img), height, width))

    return scaled


def on_white(img: Image.Image) -> Image.Image:
    """A picture of any mode as RGB, what is transparent on white."""
    from PIL import Image

    if img.mode in ("RGBA", "LA", "PA") or "transparency" in img.info:
        img = img.convert("RGBA")
        ground = Image.new("RGBA", img.size, (255, 255, 255, 255))
        ground.alpha_composite(img)
        return ground.convert("RGB")
    return img.convert("RGB")


def resized(img: Image.Image, height: int, width: int) -> Image.Image:
    """Of another size, with antialiasing."""
    from PIL import Image

    if img.size == (width, height):
        return img
    shrinks = img.width > width or img.height > height
    return img.resize((width, height), Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC)


# -- what is wrong -----------------------------------------------------------------------------------


@contextlib.contextmanager
def _complaints() -> Iterator[None]:
    """Whatever decoders raise, within, is Unreadable, with the reason in a person's words."""
    from PIL.Image import DecompressionBombError

    try:
        yield
    except (Unreadable, UserError):
        raise
    except DecompressionBombError:
        limits.check(math.inf)
    except MemoryError:
        raise Unreadable("damaged: it asks for more memory than there is") from None
    except Exception as error:
        said = " ".join(str(getattr(error, "strerror", None) or error).split())
        if isinstance(error, EOFError) or "truncated" in said.lower() or "end of file" in said.lower():
            raise Unreadable("truncated") from None
        raise Unreadable(f"damaged ({said[:100] or type(error).__name__})") from None


def _something_else(data: bytes) -> str:
    if not data[:512].strip(b"\0"):
        return "not a clip: only zero bytes"
    if data[:4] in (b"GIF8", b"\x89PNG", b"RIFF"):
        return "damaged: its header cannot be read"
    return "not a clip"
