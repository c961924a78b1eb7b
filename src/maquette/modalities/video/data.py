"""From files, and arrays, to clips of one shape: decoded once, cut at changes of scene and into windows, encoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from maquette.core.counts import counted
from maquette.core.modality import Examined, Notes, Unreadable
from maquette.core.spec import ColumnSpec
from maquette.data.names import some
from maquette.data.raw import Cell, Cells, File
from maquette.modalities.video.claims import channels_at
from maquette.modalities.video.config import Config, Spec
from maquette.modalities.video.decoding import MENDED, About, decoded, fitted, forget, keep
from maquette.modalities.video.duplicates import Likeness
from maquette.modalities.video.opening import Shape, resized
from maquette.modalities.video.scenes import shown_at

__all__ = ["Likeness", "describe", "encode", "examine", "fit", "interpret", "parts"]

SIZE, FRAMES = (64, 64), 16  # of files, where nobody says it
UNTIMED_RATE = 10.0  # frames a second of arrays and of folders of frames, which do not say it
SLACK = 0.5  # of a frame, by which a scene may end too early for a window
FEW = 500  # fewer clips than this are soon known by heart
GREY = np.array([19595, 38470, 7471], np.uint32)  # of red, green and blue, in 65,536ths (ITU-R BT.601)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one file, or of one array.

    format: e.g. "mp4 (h264)"      sounds: tracks of sound      height, width: as it is shown, in pixels
    frames, seconds, rate: of all of it      starts: when each of its windows begins, in seconds
    cuts: changes of scene in it      coloured: whether it is      odd: what else was seen
    """

    format: str
    sounds: int
    height: int
    width: int
    frames: int
    seconds: float
    rate: float
    starts: tuple[float, ...]
    cuts: int
    coloured: bool
    odd: tuple[str, ...] = ()


def interpret(cells: Cells, config: Config, notes: Notes) -> Cells:
    """The same cells; what is decoded from now on is kept until `describe`."""
    keep()
    return cells


def examine(cell: Cell, config: Config) -> Facts:
    """What a file or an array is; raises Unreadable for what is broken, no clip, or too short."""
    if isinstance(cell, np.ndarray):
        frames = _frames_of(cell)
        rate = config.fps or UNTIMED_RATE
        if len(frames) < (config.frames or 2):
            raise Unreadable(_too_short(len(frames), config.frames or 2))
        height, width, channels = frames.shape[1:]
        return Facts("array", 0, height, width, len(frames), len(frames) / rate, rate, (0.0,), 0, channels == 3)
    if not isinstance(cell, File):
        raise Unreadable("not a clip")
    about = decoded(cell.read(), cell.name, config.size or SIZE, config.fit).about.at(config.fps or UNTIMED_RATE)
    starts = windows(about, config)
    if not starts:
        within = "" if len(about.scenes) == 1 or not config.cut else " between two changes of scene"
        shown = round((about.end - about.times[0]) * (config.fps or about.rate))
        raise Unreadable(f"{_too_short(shown, config.frames or FRAMES)}{within}")
    return Facts(
        about.format, about.sounds, about.height, about.width, len(about.times), about.end - about.times[0], about.rate,
        starts, len(about.scenes) - 1 if config.cut else 0, about.coloured, about.odd,
    )  # fmt: skip


def parts(facts: Facts, config: Config, files: int) -> int:
    """How many windows a file is cut into: all of one file are on one side of a split."""
    return len(facts.starts)


def fit(
    cells: Sequence[Cell], facts: Sequence[Facts], config: Config, known: ColumnSpec | None, notes: Notes
) -> ColumnSpec:
    """The size, the length and the rate in which all clips are prepared; `describe` says how they were chosen."""
    if known is not None:
        return known
    arrays = [fact for fact in facts if fact.format == "array"]
    size = config.size or (_most((fact.height, fact.width) for fact in arrays) if arrays else SIZE)
    frames = config.frames or (_most(fact.frames for fact in arrays) if arrays else FRAMES)
    coloured = config.channels == "rgb" or (config.channels == "auto" and any(fact.coloured for fact in facts))
    rate = config.fps or _most(fact.rate for fact in facts)
    return Spec(shape=(3 if coloured else 1, frames, *size), fps=rate)


def encode(cells: Sequence[Cell], spec: ColumnSpec, config: Config) -> list[np.ndarray | Unreadable]:
    """u8[C, T, H, W] of each window; Unreadable where it is broken, or too short."""
    made: list[np.ndarray | Unreadable] = []
    for cell in cells:
        try:
            made.append(_encoded(cell, spec, config))
        except Unreadable as error:
            made.append(error)
    return made


def windows(about: About, config: Config, rate: float = 0.0) -> tuple[float, ...]:
    """When each window of a file begins, in seconds: within each scene one after the other; what is left at its end,
    less than one, is not used. rate: frames a second; 0: as it is set, or the file's own"""
    rate, count = config.fps or rate or about.rate, config.frames or FRAMES
    return tuple(
        start + number * count / rate
        for start, end in _scenes(about, config)
        for number in range(int(((end - start) * rate + SLACK) / count))
    )


def clip_of(cell: File, spec: ColumnSpec, config: Config, start: float | None = None, count: int = 0) -> np.ndarray:
    """u8[count, H, W, 3] of a file from a time on, in the size and at the rate of a column; None: from its beginning;
    0: all that there are."""
    height, width = spec.shape[2:]
    found = decoded(cell.read(), cell.name, (height, width), config.fit)
    about = found.about.at(config.fps or UNTIMED_RATE)
    times = np.array(about.times)
    start = times[0] if start is None else start
    count = count or max(1, int((about.end - start) * spec.fps + SLACK))
    return np.asarray(found.frames[shown_at(times, start + np.arange(count) / spec.fps, 1 / spec.fps)])


def stored(frames: np.ndarray, channels: int) -> np.ndarray:
    """u8[T, H, W, c] -> u8[C, T, H, W], of one channel or three."""
    if channels == 1 and frames.shape[3] == 3:
        frames = ((frames.astype(np.uint32) @ GREY + 2**15) >> 16).astype(np.uint8)[..., None]
    elif frames.shape[3] < channels:
        frames = np.repeat(frames, channels, 3)
    return np.ascontiguousarray(np.moveaxis(frames, 3, 0))


def describe(column: Examined, notes: Notes) -> dict[str, Any]:
    """Lengths, rates, sizes and formats of the files, what was cut, and the shape that clips have now."""
    forget()
    spec, config = column.spec, column.config
    whole = {column.places[i].partition("#")[0]: column.facts[i] for i in column.used}  # of each file once
    facts: list[Facts] = [*whole.values()]
    if column.target and len(column.train) < FEW:
        are = counted(len(column.train), "clip to learn from is", "clips to learn from are")
        notes.warn(f"{are} few: what is made of them will stay near to them, and some of it can be copies.")
    _tell_what_was_done(whole, spec, config, notes)
    rates, sizes, forms = (
        Counter(words).most_common()
        for words in (
            [f"{fact.rate:.4g} frames a second" for fact in facts],
            [f"{fact.height}x{fact.width}" for fact in facts],
            [fact.format for fact in facts],
        )
    )
    shortest, median, longest = np.quantile([fact.seconds for fact in facts], (0, 0.5, 1)).tolist()
    seconds, cuts = sum(fact.seconds for fact in facts), sum(fact.cuts for fact in facts)
    size = int(np.prod(spec.shape)) * len(column.used)
    colour = {1: "grey", 3: "colour"}[spec.channels]
    height, width = spec.shape[2:]
    rows = [
        ("duration", f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.1f} s"),
        ("lengths", f"{shortest:.2f} to {longest:.2f} s, half of them below {median:.2f} s"),
        ("rates", _listed(rates)),
        ("sizes", _listed(sizes)),
        ("formats", _listed(forms)),
        ("scenes", f"cut at {counted(cuts, 'change', 'changes')} of scene" if cuts else "one in each"),
        ("prepared as", f"{spec.frames} frames of {height}x{width}, {colour}, {spec.fps:.4g} a second, "
                        f"{size / 2**20:,.1f} MiB"),
    ]  # fmt: skip
    return {
        "seconds": {"all": seconds, "shortest": shortest, "median": median, "longest": longest},
        "rates": dict(rates), "sizes": dict(sizes), "formats": dict(forms), "cuts": cuts,
        "prepared": {"frames": spec.frames, "height": height, "width": width, "channels": spec.channels,
                     "fps": spec.fps, "bytes": size},
        "rows": [list(row) for row in rows],
    }  # fmt: skip


# -- inside ------------------------------------------------------------------------------------------


def _encoded(cell: Cell, spec: ColumnSpec, config: Config) -> np.ndarray:
    channels, count, height, width = spec.shape
    if isinstance(cell, np.ndarray):
        frames = _frames_of(cell)[:count]
        if len(frames) < count:
            raise Unreadable(_too_short(len(frames), count))
        return stored(_sized(frames, (height, width), config.fit), channels)
    if not isinstance(cell, File):
        raise Unreadable("not a clip")
    about = decoded(cell.read(), cell.name, (height, width), config.fit).about.at(config.fps or UNTIMED_RATE)
    # Planned at the file's own rate, when nobody knew the common one: at a slower one fewer windows have room.
    starts = windows(about, config, min(about.rate, spec.fps))
    if cell.part >= len(starts):
        raise Unreadable(f"no room for so many windows at {spec.fps:.4g} frames a second, the most common rate")
    start = starts[cell.part]
    end = next(end for begin, end in _scenes(about, config) if begin - 1e-6 <= start < end)
    if (there := (end - start) * spec.fps) + SLACK < count:
        raise Unreadable(_too_short(int(there + SLACK), count))
    return stored(clip_of(cell, spec, config, start, count), channels)


def _scenes(about: About, config: Config) -> list[tuple[float, float]]:
    """When each scene begins and ends, in seconds."""
    starts = about.scenes if config.cut else about.scenes[:1]
    times = [about.times[i] for i in starts]
    return [*zip(times, [*times[1:], about.end], strict=True)]


def _frames_of(array: np.ndarray) -> np.ndarray:
    """Any array of a clip -> u8[T, H, W, C], of one channel or three."""
    if array.ndim == 3:
        made = array[..., None]
    elif array.ndim == 4:
        if (at := channels_at(array.shape)) is None:
            raise Unreadable(f"its shape is {array.shape}: one channel, or three, are expected")
        made = np.moveaxis(array, at, 3)
    else:
        raise Unreadable(f"its shape is {array.shape}: frames, height and width are expected")
    if made.dtype == np.uint8:
        return made
    low, high = (float(made.min()), float(made.max())) if made.size else (0.0, 0.0)
    most = 1.0 if made.dtype.kind in "fb" else 255.0
    if not (low >= 0 and high <= most):  # NaN is neither
        raise Unreadable(f"values from {low:.4g} to {high:.4g}: of such numbers, 0 to {most:g} are expected")
    return np.rint(made * np.float32(255 / most)).astype(np.uint8)


def _sized(frames: np.ndarray, size: Shape, fit: str) -> np.ndarray:
    """u8[T, h, w, C] -> u8[T, H, W, C]."""
    from PIL import Image

    if frames.shape[1:3] == size:
        return frames
    plain = frames[..., 0] if frames.shape[3] == 1 else frames

    def scaled(frame: np.ndarray, height: int, width: int) -> np.ndarray:
        made = np.asarray(resized(Image.fromarray(np.ascontiguousarray(frame)), height, width))
        return made if made.ndim == 3 else np.repeat(made[..., None], 3, 2)

    made = [fitted(partial(scaled, frame), frames.shape[1:3], size, fit) for frame in plain]
    return np.stack(made)[..., : frames.shape[3]]


def _too_short(frames: int, asked: int) -> str:
    return f"shorter than a clip (--frames): {counted(frames, 'frame', 'frames')}, and it is to have {asked}"


def _most(values: Any) -> Any:
    return Counter(values).most_common(1)[0][0]


def _listed(counts: Sequence[tuple[str, int]], most: int = 4) -> str:
    named = ", ".join(f"{words} ({count:,})" if len(counts) > 1 else words for words, count in counts[:most])
    return f"{named} and {len(counts) - most:,} more" if len(counts) > most else named


def _tell_what_was_done(whole: dict[str, Facts], spec: ColumnSpec, config: Config, notes: Notes) -> None:
    silent = [name for name, fact in whole.items() if fact.sounds]
    if silent:
        notes.append(f"The sound of {counted(len(silent), 'file', 'files')} is left aside ({some(silent)}).")
    if cuts := [name for name, fact in whole.items() if fact.cuts]:
        changes = sum(whole[name].cuts for name in cuts)
        notes.append(
            f"{counted(len(cuts), 'file is', 'files are')} cut at {counted(changes, 'change', 'changes')} of scene "
            f"({some(cuts)}); data.video.cut=false leaves them whole."
        )
    for odd in dict.fromkeys(word for fact in whole.values() for word in fact.odd):
        names = [name for name, fact in whole.items() if odd in fact.odd]
        are = counted(len(names), "file is", "files are")
        notes.append(f"{are} {odd} ({some(names)}): {MENDED[odd]}.")
    if config.fps is None and (others := [name for name, fact in whole.items() if abs(fact.rate - spec.fps) > 0.01]):
        are = counted(len(others), "file is", "files are")
        notes.append(
            f"{spec.fps:.4g} frames a second is the most common rate: {are} resampled to it "
            f"({some(others)}); data.video.fps sets another."
        )
