"""Made-up sounds, for the contract."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from maquette.data.raw import Cell, File
from maquette.modalities.audio.opening import soundfile

RATE = 8000


def made_up_cells(items: int, seed: int = 0) -> list[Cell]:
    """WAV files of tones at 8 kHz; of any other seed, stereo, faster, longer and of 24 bits."""
    draws, odd = np.random.default_rng(seed), seed != 0
    rate, coding = (22_050, "PCM_24") if odd else (RATE, "PCM_16")
    cells: list[Cell] = []
    for i in range(items):
        length = int(draws.uniform(0.2, 0.4) * rate * (1 + odd))
        tones = np.sin(np.arange(length)[:, None] * draws.uniform(0.05, 0.4, 1 + odd)) * draws.uniform(0.1, 0.9)
        cells.append(File(f"{i}.wav", file_of(tones, rate, subtype=coding)))
    return cells


def broken_cells() -> list[Cell]:
    """A file that was cut off, one that is no sound, and ones in which nothing is to be heard."""
    whole = file_of(np.sin(np.arange(4000) / 9))
    return [
        File("cut off.wav", whole[: len(whole) // 2]), File("words.wav", b"no sound"),
        File("silent.wav", file_of(np.zeros(4000))), File("one.wav", file_of(np.ones(1))),
        File("none.wav", file_of(np.zeros(0))),
        File("nan.wav", file_of(np.full(4000, np.nan), subtype="FLOAT")),
    ]  # fmt: skip


def file_of(sound: np.ndarray, rate: int = RATE, form: str = "WAV", **options: Any) -> bytes:
    """The bytes of a file of samples f[n] or f[n, C]."""
    buffer = io.BytesIO()
    soundfile().write(buffer, sound, rate, format=form, **options)
    return buffer.getvalue()
