"""Decoding and preparing clips against reading the same files with PyAV alone, in CPU seconds of one process.

    python benchmarks/clips.py --clips 100          # of 2 s at 25 frames a second, 320x240, H.264, made here

Both decode every frame; PyAV alone makes an array of it, Maquette a row of the data set: made small, cut at changes of
scene and into windows, stored, split.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

import _run
from maquette.core.recipe import data_config
from maquette.data.open import open_dataset

HEIGHT, WIDTH, FPS, FRAMES = 240, 320, 25, 50


def write(path: Path, seed: int) -> None:
    """A clip of things that move over a ground with grain."""
    draws = np.random.default_rng(seed)
    ground = draws.integers(40, 120, (HEIGHT // 8, WIDTH // 8, 3)).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", FPS, options={"preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for t in range(FRAMES):
            frame = ground + draws.integers(-6, 7, ground.shape)
            top, left = 20 + 3 * t, (seed * 7 + 4 * t) % (WIDTH - 60)
            frame[top : top + 60, left : left + 60] = 200
            shown = av.VideoFrame.from_ndarray(frame.clip(0, 255).astype(np.uint8), "rgb24")
            out.mux(stream.encode(shown))
        out.mux(stream.encode(None))


def read(path: Path) -> None:
    """All frames of a file as arrays, by PyAV alone."""
    with av.open(str(path)) as file:
        file.streams.video[0].codec_context.thread_count = 1
        for frame in file.decode(video=0):
            frame.to_ndarray(format="rgb24")


def seconds(of: Callable[[], object]) -> float:
    """CPU seconds of this process and of those that it started."""
    began = os.times()
    of()
    now = os.times()
    return sum(now[:4]) - sum(began[:4])


def main() -> None:
    """Prints both, best of a few, in turns."""
    parser = _run.Parser(__doc__)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    if asked.smoke:
        asked.clips, asked.rounds = 3, 1
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, "clips", f"{i}.mp4") for i in range(asked.clips)]
        paths[0].parent.mkdir()
        for i, path in enumerate(paths):
            write(path, i)
        config = data_config({"video": {"size": [64, 64]}})
        alone, ours = [], []
        for number in range(asked.rounds):
            began = time.perf_counter()
            alone.append(seconds(lambda: [read(path) for path in paths]))
            cache = Path(folder, f"cache-{number}")
            ours.append(
                seconds(lambda: open_dataset(paths[0].parent, config, target=("video",), cache=cache))  # noqa: B023
            )
            print(f"{alone[-1]:.2f} s alone, {ours[-1]:.2f} s prepared ({time.perf_counter() - began:.1f} s in all)")
        print(f"{asked.clips} clips: {min(alone):.2f} s by PyAV alone, {min(ours):.2f} s prepared: "
              f"{min(ours) / min(alone):.2f} times")  # fmt: skip


if __name__ == "__main__":
    main()
