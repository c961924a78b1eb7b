"""Sets of clips that are known by name and made on the spot: data/readers/made.py finds them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np

from maquette.data.raw import Array, Cell, RawTable
from maquette.data.readers.arrays import arranged
from maquette.modalities.video.moving import Made, MovingDigits

SEEDS = {"train": 0, "test": 1}
CLIPS = {"train": 10_000, "test": 10_000}  # of moving-mnist
DIGITS = {"train": 4000, "test": 1000}  # of moving-digits
SPRITES = {"train": 3000, "test": 500}
HELD_OUT = 360  # of the digits of scikit-learn, that test clips are made of


def moving_mnist(mnist: RawTable, count: int | None = None) -> RawTable:
    """Two digits of MNIST in clips of 20 frames of 64x64: its training digits are learned from, its test digits held
    out. count, of each set: clips to learn from in a pass; each pass shows others"""
    (digits,) = (cells for cells in mnist.columns.values() if isinstance(cells, Array))
    whole = np.concatenate(digits.parts)
    parts = {split: whole[[name == split for name in mnist.splits]] for split in SEEDS}
    made = {
        split: MovingDigits(part.reshape(len(part), *part.shape[-2:]), 64, 20, 2, SEEDS[split])
        for split, part in parts.items()
    }
    counts = _counts(CLIPS, count)
    table = arranged("known set", {split: _clips(of, counts[split]) for split, of in made.items()}, {})
    table.again = {"video": _again(made["train"].clip, counts["train"])}
    table.notes.append(
        "moving-mnist is made of MNIST as Srivastava et al. (2015) describe. It is not the file that they published: "
        "what is measured on it is like what papers report, and not the same."
    )
    return table


def moving_digits(count: int | None = None) -> RawTable:
    """One digit of scikit-learn's, twice as large, in clips of 16 frames of 32x32, and which digit it is."""
    from sklearn.datasets import load_digits

    found = load_digits()
    large = _twice(found.images.astype(np.float32) * (255 / 16))
    of = {"train": slice(None, -HELD_OUT), "test": slice(-HELD_OUT, None)}
    made = {split: MovingDigits(large[some], 32, 16, 1, SEEDS[split]) for split, some in of.items()}
    counts = _counts(DIGITS, count)
    labels: dict[str | None, np.ndarray] = {
        split: np.array([found.target[of[split]][clips.which(i)[0]] for i in range(counts[split])])
        for split, clips in made.items()
    }
    table = arranged("known set", {split: _clips(clips, counts[split]) for split, clips in made.items()}, labels)
    learned, which = made["train"], found.target[of["train"]]
    table.again = {
        "video": _again(learned.clip, counts["train"]),
        "label": _again(lambda number: str(which[learned.which(number)[0]]), counts["train"]),
    }
    return table


def sprites(count: int | None = None) -> RawTable:
    """One to three coloured shapes that move, turn and grow, in clips of 16 frames of 64x64. Their true motion is that
    of sprites.true_flow."""
    from maquette.modalities.video.sprites import FRAMES, SIDE, clip

    counts, shape = _counts(SPRITES, count), (3, FRAMES, SIDE, SIDE)
    made = {split: Made(counts[split], shape, partial(clip, seed=seed)) for split, seed in SEEDS.items()}
    table = arranged("known set", cast(Any, made), {})
    table.again = {"video": _again(made["train"].__getitem__, counts["train"])}
    return table


def _counts(usual: dict[str, int], learned: int | None) -> dict[str, int]:
    """Clips of each split: what is held out stays the same."""
    return usual if learned is None else {**usual, "train": learned}


def _again(make: Callable[[int], Cell], count: int) -> Callable[[int, int], Cell]:
    """What a row shows in a pass over so many: rows to learn from come first, and numbers have no end."""
    return lambda row, number: make(row + number * count)


def _clips(of: MovingDigits, count: int) -> Any:
    return Made(count, (1, of.frames, of.side, of.side), of.clip)


def _twice(digits: np.ndarray) -> np.ndarray:
    """f32[n, h, w] -> u8[n, 2h, 2w], between the pixels on a straight line."""
    for axis in (1, 2):
        wide = np.concatenate([digits.take([0], axis), digits, digits.take([-1], axis)], axis)
        before, here, after = (np.take(wide, range(i, i + digits.shape[axis]), axis) for i in range(3))
        both = np.stack([0.25 * before + 0.75 * here, 0.75 * here + 0.25 * after], axis + 1)
        digits = both.reshape(*digits.shape[:axis], 2 * digits.shape[axis], *digits.shape[axis + 1 :])
    return np.rint(digits).astype(np.uint8)


# name -> its version, what makes it, and the known set that it is made of
SETS = {
    "moving-digits": (2, moving_digits), "moving-mnist": (2, moving_mnist, "mnist"), "sprites": (2, sprites),
}  # fmt: skip
# Recipe, set, time, settings, and how many of each class are shown.
# Small, so that there are steps enough; four first frames tell motion better than two.
_EARLY: dict[str, object] = {"first": 4, "few": 0.3, "width": 24, "deep": 96, "deep_blocks": 2, "prior_every": 1}
_FIRST: dict[str, object] = {"width": 32, "deep": 96}
DEMO: tuple[str, str, str, dict[str, object], int] = (
    "video/direct", "moving-digits", "4m",
    {f"model.{key}": to for key, to in _EARLY.items()} | {f"model.prior.{key}": to for key, to in _FIRST.items()}
    | {"train.batch_size": 32},
    1,
)  # fmt: skip
