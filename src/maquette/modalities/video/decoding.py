"""A file decoded once: small frames with their times and scenes, kept for as long as data is prepared.

Decoding is what preparing clips costs. A file is looked at before anybody knows what becomes of it, and is a row for
each of its windows; so the frames that were made to look at it are kept beside the cache, and windows are read of them.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from maquette.core import limits
from maquette.core.cache import cache_folder
from maquette.core.files import temporary_folder
from maquette.core.modality import Unreadable
from maquette.modalities.video.opening import BYTES_A_PIXEL, LACKS, Shape, opened
from maquette.modalities.video.scenes import Scenes, rate_of

TURNED, UNEVEN = "turned", "of frames that are not evenly apart"
RESIZED, DISORDERED = "of another size on the way", "of frames that are out of order"
MENDED = {  # what is odd of a file, and what becomes of it
    TURNED: "upright again", UNEVEN: "resampled by their time stamps", RESIZED: "all frames are made one size",
    DISORDERED: "these frames are left out",
}  # fmt: skip
STILL_FOR = 600.0  # seconds that one frame may be shown
COLOURED = 3.0  # levels, on average over a frame, by which its colours differ where it is not grey


@dataclass(frozen=True)
class About:
    """What is known of a file, once it was decoded.

    format, sounds: as in opening.Opened      height, width: of its first frame, as it is shown, in pixels
    rate: frames a second, USUAL at most      times: when each frame begins, in seconds      end: of the last
    scenes: number of the frame at which each begins      coloured: whether it is
    odd: what was seen on the way, e.g. "turned"      timed: whether it says how fast it is; folders of frames do not
    """

    format: str
    sounds: int
    height: int
    width: int
    rate: float
    times: tuple[float, ...]
    end: float
    scenes: tuple[int, ...]
    coloured: bool
    odd: tuple[str, ...] = ()
    timed: bool = True

    def at(self, rate: float) -> About:
        """The same, at this rate where it has none of its own."""
        if self.timed:
            return self
        times = tuple(i / rate for i in range(len(self.times)))
        return replace(self, rate=rate, times=times, end=len(times) / rate)


@dataclass(frozen=True)
class Decoded:
    """about: the file      frames: u8[n, H, W, 3]"""

    about: About
    frames: np.ndarray


def decoded(data: bytes, name: str, size: Shape, fit: str) -> Decoded:
    """All frames of a file, of one size; Unreadable where it is none, cut off, damaged or beyond the limit."""
    folder = _folder.path()
    if folder is None:
        return _decode(data, name, size, fit, None)
    path = folder / _key(data, size, fit)
    with contextlib.suppress(OSError, ValueError, TypeError):
        return _read(path)
    with contextlib.suppress(OSError):  # without room for it, in memory
        return _kept(path, data, name, size, fit)
    return _decode(data, name, size, fit, None)


def keep() -> None:
    """From now on decoded files are kept, by this process and those that it starts, until `forget` or its end."""
    _folder.open()


def forget() -> None:
    """Decoded files are kept no longer."""
    _folder.close()


class _Folder:
    """The folder of them, of the process that opened it."""

    def __init__(self) -> None:
        self._stack, self._owner, self._path = contextlib.ExitStack(), 0, Path()

    def open(self) -> None:
        if self._owner != os.getpid():
            with contextlib.suppress(OSError):
                parent = cache_folder("prepared")
                parent.mkdir(parents=True, exist_ok=True)
                self._stack, self._path = contextlib.ExitStack(), parent
                self._path = self._stack.enter_context(temporary_folder(parent))
                self._owner = os.getpid()
                atexit.register(self.close)

    def path(self) -> Path | None:
        """The folder, of a process that was started by the owner as well; None where there is none."""
        return self._path if self._owner and self._path.is_dir() else None

    def close(self) -> None:
        if self._owner == os.getpid():
            self._stack.close()
            self._owner = 0
            atexit.unregister(self.close)


_folder = _Folder()


@functools.lru_cache(maxsize=1)  # of one file it is asked for each window
def _key(data: bytes, size: Shape, fit: str) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest() + f"-{size[0]}x{size[1]}-{fit}"


def _read(path: Path) -> Decoded:
    facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    about: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in facts["about"].items()}
    return Decoded(About(**about), np.memmap(path.with_suffix(".bin"), np.uint8, "r", shape=tuple(facts["shape"])))


def _kept(path: Path, data: bytes, name: str, size: Shape, fit: str) -> Decoded:
    own = path.with_name(f"{path.name}-{os.getpid()}")  # two processes may be at the same file
    try:
        with own.with_suffix(".bin").open("wb", buffering=2**20) as file:
            about = _decode(data, name, size, fit, file).about
    except BaseException:
        own.with_suffix(".bin").unlink(missing_ok=True)
        raise
    facts = {"about": asdict(about), "shape": [len(about.times), *size, 3]}
    own.with_suffix(".json").write_text(json.dumps(facts), encoding="utf-8")
    own.with_suffix(".bin").replace(path.with_suffix(".bin"))
    own.with_suffix(".json").replace(path.with_suffix(".json"))
    return _read(path)


def _decode(data: bytes, name: str, size: Shape, fit: str, file: IO[bytes] | None) -> Decoded:
    """file: what frames are written into one after the other; None: they stay in memory"""
    times, frames, scenes = list[float](), list[np.ndarray](), Scenes()
    sizes, odd, coloured, total = dict[Shape, int](), dict[str, None](), False, 0
    full: OSError | None = None
    with opened(data, name) as source:
        for frame in source.frames:
            if times and frame.time <= times[-1]:
                odd[DISORDERED] = None
                continue
            made = fitted(frame.scaled, frame.size, size, fit)
            total += made.nbytes
            limits.check(total, of=0 if file is None else len(data))
            scenes.add(made)
            coloured = coloured or _colour(made) > COLOURED
            sizes.setdefault(frame.size, len(times))
            if frame.turned:
                odd[TURNED] = None
            times.append(frame.time)
            if file is None:
                frames.append(made)
            else:
                try:
                    file.write(np.ascontiguousarray(made).data)
                except OSError as error:  # of the disk, not of the clip
                    full = error
                    break
    if full:
        raise full
    if not times:
        raise Unreadable("there are no frames in it")
    if len(times) == 1:
        raise Unreadable("a single picture, not a clip")
    if len(sizes) > 1:
        odd[RESIZED] = None
    steps = np.diff(times)
    usual = float(np.median(steps))
    end = max(source.ends[0] if source.ends else 0.0, times[-1] + usual)  # few files say it of the last
    if steps.max() > STILL_FOR:
        raise Unreadable(f"no frame for {steps.max():.3g} s: its time stamps are damaged")
    end = min(end, times[-1] + STILL_FOR)
    share, seconds = LACKS
    if (lasts := end - times[0]) < share * source.says and source.says - lasts > seconds:
        raise Unreadable(f"truncated: {lasts:.3g} s, and it says that it lasts {source.says:.3g} s")
    if np.median(np.abs(steps - usual)) > 0.1 * usual or steps.max() > 1.9 * usual:
        odd[UNEVEN] = None
    height, width = next(iter(sizes))
    about = About(
        source.format, source.sounds, height, width, rate_of(np.array(times)), tuple(times), end, tuple(scenes.starts),
        coloured, tuple(odd), source.timed,
    )  # fmt: skip
    return Decoded(about, np.stack(frames) if file is None else np.zeros((0, *size, 3), np.uint8))


def _colour(frame: np.ndarray) -> float:
    """By how many levels, on average, the colours of u8[H, W, 3] differ."""
    some = frame[::2, ::2].astype(np.int16)
    return float(np.abs(some[..., 0] - some[..., 1]).mean() + np.abs(some[..., 1] - some[..., 2]).mean())


def fitted(scaled: Callable[[int, int], np.ndarray], of: Shape, size: Shape, fit: str) -> np.ndarray:
    """A frame of one size as u8[H, W, 3] of another."""
    height, width = size
    if fit == "stretch" or of[0] * width == of[1] * height:
        return scaled(height, width)
    times = (max if fit == "crop" else min)(height / of[0], width / of[1])
    h, w = max(1, round(of[0] * times)), max(1, round(of[1] * times))
    if fit == "crop":
        h, w = max(h, height), max(w, width)
        limits.check(h * w * BYTES_A_PIXEL)
        top, left = (h - height) // 2, (w - width) // 2
        return scaled(h, w)[top : top + height, left : left + width]
    h, w = min(h, height), min(w, width)
    ground = np.zeros((height, width, 3), np.uint8)
    top, left = (height - h) // 2, (width - w) // 2
    ground[top : top + h, left : left + w] = scaled(h, w)
    return ground
