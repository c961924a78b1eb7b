"""Pictures that are already arrays: .npz and .npy files, and what their numbers mean."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from maquette.core.errors import UserError
from maquette.data.layout import SPLITS
from maquette.data.sources import Arrays, Say, stamp
from maquette.data.text import digest, shown

_IMAGES = {"x", "image", "images", "img", "imgs", "data", "pixels", "samples"}
_LABELS = {"y", "label", "labels", "target", "targets", "class", "classes"}
_REMEDY = "Save pictures as `x` or `images` and labels as `y` or `labels`, e.g. np.savez('set.npz', x=..., y=...)."


def in_folder(folder: Path) -> bool:
    """Whether a folder holds arrays by name (x.npy, labels.npy, ...) and nothing else of use."""
    try:
        return any(_role(path.stem)[0] == "images" for path in folder.glob("*.npy"))
    except OSError:
        return False


class ArrayFiles:
    """One .npz, one .npy, or a folder of .npy files named after what they hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = sorted(path.glob("*.npy")) if path.is_dir() else [path]

    def key(self) -> str:
        return digest(["arrays", *(stamp(file) for file in self.files)])

    def load(self, say: Say) -> Arrays:
        arrays: dict[str, np.ndarray] = {}
        for file in self.files:
            arrays.update(_load(file))
        made = Arrays("arrays", [])
        labels: dict[str | None, dict[str, list[str | None]]] = {}
        images: dict[str | None, np.ndarray] = {}
        for name, array in arrays.items():
            role, split = _role(name)
            if role == "images" or (len(arrays) == 1 and array.ndim >= 2):
                images[split] = array
            elif role == "labels":
                labels.setdefault(split, {})["label"] = _texts(name, array)
            else:
                made.notes.append(f"Array '{shown(name)}' is not used.")
        if not images:
            raise UserError(f"'{self.path}' holds no array of pictures: {', '.join(map(shown, arrays))}.", _REMEDY)
        if "val" in images:
            becomes = "train" if "test" in images else "test"
            made.notes.append(f"The validation arrays are used as the {becomes} split.")
        for split, array in images.items():
            own = labels.get(split, {})
            for column, values in own.items():
                if len(values) != len(array):
                    raise UserError(
                        f"'{self.path}' has {len(array):,} pictures but {len(values):,} values of '{column}'.",
                        "Save one label a picture, in the same order.",
                    )
            made.parts.append((becomes if split == "val" else split, array, own))
        if len(made.parts) == 1:
            made.parts = [(None, *made.parts[0][1:])]
        return made


def to_bytes(
    parts: Sequence[np.ndarray], scale_max: float | None, notes: list[str]
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """How to turn rows of these arrays into pictures: a function of rows [n, ...] -> (u8[n, C, H, W], bool[n]).

    The bool says which rows are made of finite numbers. Layout (NHW, NHWC, NCHW, flat squares) and scale
    are guessed once, over all parts, and said in `notes`. scale_max: the value of white, when known.
    """
    layout = _layout(parts[0].shape, notes)
    if any(part.shape[1:] != parts[0].shape[1:] for part in parts):
        raise UserError("The arrays hold pictures of different shapes.", "Save the splits with one shape.")
    low, high = _range(parts)
    scale, offset = _scale(parts[0].dtype, low, high, scale_max, notes)

    def convert(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = layout(np.asarray(rows))
        if rows.dtype == np.uint8 and (scale, offset) == (1.0, 0.0):
            return np.ascontiguousarray(rows), np.ones(len(rows), bool)
        values = rows.astype(np.float64)
        good: np.ndarray = np.asarray(np.isfinite(values).reshape(len(values), -1).all(axis=1))
        values = np.nan_to_num(values * scale + offset, nan=0, posinf=0, neginf=0)
        return np.rint(values).clip(0, 255).astype(np.uint8), good

    return convert


def _load(file: Path) -> dict[str, np.ndarray]:
    """Arrays by name. Pickled objects are refused: reading them would run whatever they say."""
    try:
        if file.suffix.lower() == ".npy":
            return {file.stem: np.load(file, mmap_mode="r", allow_pickle=False)}
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except ValueError as error:
        if "pickle" in str(error).lower():
            raise UserError(
                f"'{file}' is refused: it holds pickled objects, which could run code.",
                "Save plain arrays of numbers (labels as integers or fixed-width text), not dtype=object.",
            ) from None
        raise UserError(f"'{file}' is damaged: {error}", "Save it again.") from None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, SyntaxError, KeyError) as error:
        raise UserError(f"'{file}' is damaged: {error or type(error).__name__}", "Save it again.") from None


def _role(name: str) -> tuple[str, str | None]:
    """('images' | 'labels' | '', split) that the name of an array speaks of: x_train, test_labels, y."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    split = next((SPLITS[word] for word in words if word in SPLITS), None)
    if any(word in _LABELS for word in words):
        return "labels", split
    return ("images" if any(word in _IMAGES for word in words) else ""), split


def _texts(name: str, array: np.ndarray) -> list[str | None]:
    """Labels as text: whole numbers, booleans or strings; one-hot rows become their number."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.dtype.kind in "buif" and ((array == 0) | (array == 1)).all():
        array = array.argmax(1)
    if array.ndim != 1:
        raise UserError(f"Array '{shown(name)}' has shape {array.shape}, not one label a picture.", _REMEDY)
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and (array == np.rint(array)).all()):
            raise UserError(f"Array '{shown(name)}' holds fractions, not classes.", _REMEDY)
        array = array.astype(np.int64)
    if array.dtype.kind == "S":
        return [value.decode("utf-8", "backslashreplace") for value in array.tolist()]
    return [str(value) for value in array.tolist()]


def _layout(shape: tuple[int, ...], notes: list[str]) -> Callable[[np.ndarray], np.ndarray]:
    """Rows of any layout -> [n, C, H, W]."""
    if len(shape) == 3:
        notes.append(f"Shape {shape} read as N, H, W: grey pictures.")
        return lambda rows: rows[:, None]
    if len(shape) == 4 and shape[3] in (1, 3, 4):
        notes.append(f"Shape {shape} read as N, H, W, C.")
        return lambda rows: rows.transpose(0, 3, 1, 2)
    if len(shape) == 4 and shape[1] in (1, 3, 4):
        notes.append(f"Shape {shape} read as N, C, H, W.")
        return lambda rows: rows
    if len(shape) == 2:
        for channels in (1, 3):
            side = round((shape[1] / channels) ** 0.5)
            if side >= 4 and side * side * channels == shape[1]:
                notes.append(f"Shape {shape} read as flat pictures of {channels} x {side} x {side}.")
                return lambda rows: rows.reshape(len(rows), channels, side, side)
    raise UserError(
        f"An array of shape {shape} is not a set of pictures.", "Expected N x H x W, N x H x W x C or N x C x H x W."
    )


def _range(parts: Sequence[np.ndarray]) -> tuple[float, float]:
    """Smallest and largest finite value."""
    if any(part.dtype.kind not in "buif" for part in parts):
        raise UserError(f"An array of type {parts[0].dtype} is not a set of pictures.", _REMEDY)
    lows, highs = [np.inf], [-np.inf]
    for part in parts:
        for start in range(0, len(part), 4096):
            values = np.asarray(part[start : start + 4096])
            if values.dtype.kind == "f":
                values = values[np.isfinite(values)]
            if values.size:
                lows.append(float(values.min()))
                highs.append(float(values.max()))
    return min(lows), max(highs)


def _scale(kind: np.dtype, low: float, high: float, scale_max: float | None, notes: list[str]) -> tuple[float, float]:
    """(scale, offset) that take the values to 0..255."""
    if scale_max is not None:
        return 255 / scale_max, 0.0
    if not (np.isfinite(low) and high > low):
        return 1.0, 0.0
    if low >= 0 and high <= 1:
        notes.append("Values within 0..1: white is 1.")
        return 255.0, 0.0
    if low >= -1 and high <= 1:
        notes.append("Values within -1..1: black is -1, white is 1.")
        return 127.5, 127.5
    if low >= 0 and high <= 255:
        if kind != np.uint8:
            notes.append("Values within 0..255: white is 255.")
        return 1.0, 0.0
    if kind == np.uint16 or (kind.kind in "iu" and low >= 0 and high <= 65535):
        notes.append("16-bit values: white is 65,535.")
        return 1 / 257, 0.0
    notes.append(f"Values from {low:g} to {high:g} are stretched to black and white.")
    scale = 255 / (high - low)
    return scale, -low * scale
