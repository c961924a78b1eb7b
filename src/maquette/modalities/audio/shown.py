"""Sounds as people hear and see them: players, and the waveform over the spectrogram."""

from __future__ import annotations

import base64
import functools
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from maquette.core.spec import ColumnSpec
from maquette.modalities.audio.files import cut, encode_to
from maquette.nets.spectrogram import RANGE, SILENT, log_mel

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH, WAVE, MEL = 320, 44, 84  # of a picture, in its pixels: across, and of each of its two parts
GAP = 6
INK = (76, 114, 176, 255)
PLAIN_BYTES = 40_000  # a sound of more is played as MP3
PLAYED = 8.0  # seconds of a longer one that are played: a page holds a hundred of them


@dataclass(frozen=True)
class Sound:
    """A sound as Python has it: i16[C, n], at so many samples a second; a notebook plays it."""

    samples: np.ndarray
    rate_hz: int

    def _repr_html_(self) -> str:
        return player(self.samples, self.rate_hz)


def player(sound: np.ndarray, rate: int) -> str:
    """i16[C, n] as an <audio> element with the bytes in it: WAV where these are few, else MP3, of which at most PLAYED
    seconds. It needs no network."""
    suffix, kind = (".wav", "wav") if sound.nbytes <= PLAIN_BYTES else (".mp3", "mpeg")
    file = io.BytesIO()
    encode_to(file, sound[:, : round(PLAYED * rate)], rate, suffix)
    uri = f"data:audio/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
    return f'<audio controls preload="metadata" style="width:100%;height:2rem" src="{uri}"></audio>'


def picture(item: Tensor, rate: int) -> Image:
    """f32[C, N] -> the waveform over the spectrogram in mel bands, low pitches below; channels are one."""
    from PIL import Image

    wave = torch.nan_to_num(item.detach().float().cpu()).clamp(-1, 1).mean(0)
    mel = log_mel(wave, rate)
    shade = torch.where(mel > SILENT, (mel - mel.max()) / RANGE + 1, 0)  # of quiet sounds, too, silence is black
    levels = shade.clamp(0, 1).mul(255).round().to(torch.uint8).flip(0).numpy()
    made = Image.new("RGBA", (WIDTH, WAVE + MEL), (0, 0, 0, 0))
    made.paste(Image.fromarray(_envelope(wave.numpy())), (0, 0))
    made.paste(Image.fromarray(_colours()[levels]).resize((WIDTH, MEL), Image.Resampling.BILINEAR), (0, WAVE))
    return made


def sheet(
    items: Tensor, spec: ColumnSpec, captions: Sequence[str] = (), columns: int | None = None
) -> Image:  # fmt: skip
    """Pictures of f32[B, C, N] side by side, row by row."""
    from PIL import Image

    columns = columns or max(1, math.ceil(math.sqrt(len(items) / 2)))
    rows, width, height = -(-len(items) // columns), WIDTH + GAP, WAVE + MEL + GAP
    made = Image.new("RGBA", (columns * width - GAP, max(rows * height - GAP, 1)), (0, 0, 0, 0))
    for i, item in enumerate(items):
        made.paste(picture(item, spec.rate_hz), (i % columns * width, i // columns * height))
    return made


def view(item: Tensor, spec: ColumnSpec) -> Sound:
    """The sound, as long as it is."""
    return Sound(cut(item), spec.rate_hz)


def _envelope(wave: np.ndarray) -> np.ndarray:
    """u8[WAVE, WIDTH, 4]: from the least to the most that the wave f32[N] is within each column."""
    edges = np.linspace(0, len(wave), WIDTH + 1).astype(np.int64)
    starts = np.minimum(edges[:-1], len(wave) - 1)
    low, high = (way.reduceat(wave, starts) for way in (np.minimum, np.maximum))
    middle = (WAVE - 1) / 2
    top, bottom = (np.rint(middle - middle * side).astype(np.int64) for side in (high, low))
    rows = np.arange(WAVE)[:, None]
    made: np.ndarray = np.where(((rows >= top) & (rows <= bottom))[..., None], np.array(INK, np.uint8), np.uint8(0))
    return made


@functools.cache
def _colours() -> np.ndarray:
    """u8[256, 3]: from silent to loud."""
    from matplotlib import colormaps

    made: np.ndarray = (colormaps["magma"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    return made
