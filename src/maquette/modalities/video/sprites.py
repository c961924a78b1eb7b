"""Coloured shapes that move, turn and grow over a ground that stays, and their true motion: defined after rasterising,
so that each pixel has the motion of what is seen in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maquette.core.rng import derive
from maquette.modalities.video.moving import bounced

SIDE, FRAMES = 64, 16
MOST = 3  # shapes of a clip
FASTEST, TURN, GROW = 2.5, 0.12, 0.25  # pixels and radians a frame; share of the size
SMALL, LARGE = 7.0, 12.0  # pixels from the middle to the edge
_PIXELS = np.stack(np.meshgrid(*[np.arange(SIDE, dtype=np.float32)] * 2, indexing="ij"), -1)  # f32[SIDE, SIDE, 2]


@dataclass(frozen=True)
class Sprites:
    """What moves in a clip of K shapes.

    kinds: i64[K], disc, square or triangle      colours: f32[K + 1, 2, 3], of the ground, too, and of its stripes
    places: f32[T, K, 2], down and right, in pixels      angles, sizes: f32[T, K]      stripes: f32[K + 1, 2]
    """

    kinds: np.ndarray
    colours: np.ndarray
    places: np.ndarray
    angles: np.ndarray
    sizes: np.ndarray
    stripes: np.ndarray


def sprites(number: int, seed: int) -> Sprites:
    """What moves in the clip of this number."""
    draws = np.random.default_rng(derive(seed, "sprites", number))
    count, time = int(draws.integers(1, MOST + 1)), np.arange(FRAMES)[:, None]
    way = draws.uniform(0, 2 * np.pi, count)
    speed = draws.uniform(0.5, FASTEST, count) / (SIDE - 2 * LARGE)
    places = bounced(draws.random((count, 2)), (speed * np.stack([np.sin(way), np.cos(way)])).T, FRAMES)
    size = draws.uniform(SMALL, LARGE, count)
    swing, phase = draws.uniform(0.1, 0.3, count), draws.uniform(0, 2 * np.pi, count)
    kinds = draws.integers(0, 3, count)
    colours = draws.uniform(0, 1, (count + 1, 2, 3)) * np.array([0.5] + [1.0] * count)[:, None, None]
    angles = draws.uniform(0, 2 * np.pi, count) + draws.uniform(-TURN, TURN, count) * time
    sizes = size * (1 + GROW * np.sin(phase + swing * time))
    stripes = draws.uniform(0.8, 2.0, (count + 1, 2)) * draws.choice([-1, 1], (count + 1, 2))
    placed = LARGE + places * (SIDE - 2 * LARGE)
    return Sprites(kinds, *(x.astype(np.float32) for x in (colours, placed, angles, sizes, stripes)))


def clip(number: int, seed: int) -> np.ndarray:
    """u8[3, T, SIDE, SIDE]: later shapes lie over earlier ones, their edges blended."""
    what = sprites(number, seed)
    ground = _striped(what, 0, _PIXELS / LARGE)
    made = np.broadcast_to(ground, (FRAMES, SIDE, SIDE, 3)).copy()
    for k in range(len(what.kinds)):
        within = _within(what, k)
        cover = _cover(what, k, within)[..., None]
        made += cover * (_striped(what, k + 1, within) - made)
    return np.ascontiguousarray(np.rint(made * 255).astype(np.uint8).transpose(3, 0, 1, 2))


def true_flow(number: int, seed: int) -> np.ndarray:
    """f32[T - 1, 2, SIDE, SIDE], down and right, in pixels: where each pixel of frames 1, 2, ... was in the frame
    before, less where it is; of the shape that covers more than half of it, else of the ground, 0."""
    what = sprites(number, seed)
    made = np.zeros((FRAMES - 1, SIDE, SIDE, 2), np.float32)
    for k in range(len(what.kinds)):
        within = _within(what, k)
        moved = _placed(what, k, within[1:], slice(None, -1)) - _placed(what, k, within[1:], slice(1, None))
        made = np.where(_cover(what, k, within)[1:, ..., None] > 0.5, moved, made)
    return np.ascontiguousarray(made.transpose(0, 3, 1, 2))


def _turned(angle: np.ndarray, points: np.ndarray) -> np.ndarray:
    """f32[T] radians, f32[T, H, W, 2] -> the points turned."""
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    down, right = points[..., 0], points[..., 1]
    return np.stack([cos * down - sin * right, sin * down + cos * right], -1)


def _within(what: Sprites, k: int) -> np.ndarray:
    """f32[T, H, W, 2]: each pixel as a place in shape k, whose edge is about 1 from its middle."""
    apart = _PIXELS - what.places[:, k, None, None]
    return _turned(-what.angles[:, k], apart) / what.sizes[:, k, None, None, None]


def _placed(what: Sprites, k: int, within: np.ndarray, frames: slice) -> np.ndarray:
    """f32[t, H, W, 2]: places in shape k as pixels, in these frames."""
    turned = _turned(what.angles[frames, k], within) * what.sizes[frames, k, None, None, None]
    return turned + what.places[frames, k, None, None]


def _cover(what: Sprites, k: int, within: np.ndarray) -> np.ndarray:
    """f32[T, H, W]: the share of each pixel that shape k covers, about."""
    down, right = within[..., 0], within[..., 1]
    if what.kinds[k] == 0:
        apart = np.hypot(down, right) - 1
    elif what.kinds[k] == 1:
        apart = np.maximum(np.abs(down), np.abs(right)) - 0.8
    else:  # of three sides, each as far from the middle
        sides = [np.cos(a) * down + np.sin(a) * right for a in (np.pi, np.pi / 3, -np.pi / 3)]
        apart = np.maximum.reduce(sides) - 0.6
    return np.clip(0.5 - apart * what.sizes[:, k, None, None], 0, 1)


def _striped(what: Sprites, layer: int, places: np.ndarray) -> np.ndarray:
    """f32[..., 3]: from one colour of a layer to the other, in soft stripes."""
    share = 0.5 + 0.5 * np.sin(2.5 * (places @ what.stripes[layer]))[..., None]
    first, second = what.colours[layer]
    return first + share * (second - first)
