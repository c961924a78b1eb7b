"""Canonical sounds, and files of them: written with the label of where they come from in each format's own tags."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maquette.core.about import About
from maquette.core.batch import lengths
from maquette.core.errors import UserError
from maquette.core.files import atomic, ready
from maquette.core.spec import ColumnSpec
from maquette.modalities.audio.levels import STEPS, sixteen_bits
from maquette.modalities.audio.opening import SUFFIX_FORMATS, resampled, soundfile

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")  # that are written
_CODINGS = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}
# The rates that a format knows, where it does not know all.
_RATES = {
    ".opus": (8000, 12_000, 16_000, 24_000, 48_000),
    ".mp3": (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
}
_CHANNELS = {"MP3": 2, "FLAC": 8}  # that a format has at most
_VORBIS = 192_000  # samples a second: of more its encoder ends the process
_BLOCK = 2**16  # samples that are written at once: more overflow the stack of Vorbis' encoder
_GAP = 0.3  # seconds between the items of a preview


def canonical(stored: np.ndarray) -> Tensor:
    """i16[B, C, N] -> f32[B, C, N]; 0 -> 0 exactly."""
    # NumPy, not torch: its thread pool would wake, spin and fight the training for the cores.
    return torch.from_numpy(np.multiply(stored, np.float32(1 / STEPS), dtype=np.float32))


def quantised(items: Tensor) -> np.ndarray:
    """Canonical f32[...] -> i16 of the same shape; the inverse of `canonical`, clipped to [-1, 1]."""
    return sixteen_bits(items.detach().float().cpu().numpy())


def cut(item: Tensor) -> np.ndarray:
    """One canonical sound f32[C, N] -> i16[C, n], without the silence behind its end; one sample, where all is."""
    sound = quantised(item)
    return sound[:, : max(1, int(lengths(torch.from_numpy(sound)[None])[0]))]


def write(item: Tensor, path: Path, spec: ColumnSpec, about: About) -> Path:
    """Writes f32[C, N] as WAV, FLAC (lossless), OGG (Vorbis, or Opus as .opus) or MP3 by the suffix of `path`,
    atomically, as long as it is."""
    return save(cut(item), spec.rate_hz, path, about)


def preview(items: Tensor, path: Path, spec: ColumnSpec, captions: Sequence[str], about: About) -> Path:
    """Writes f32[B, C, N] one after the other, with gaps."""
    gap = np.zeros((spec.channels, round(_GAP * spec.rate_hz)), np.int16)
    sounds = [part for item in items for part in (cut(item), gap)][:-1]
    joined = np.concatenate(sounds or [gap[:, :1]], 1)
    return save(joined, spec.rate_hz, path, about)


def save(sound: np.ndarray, rate: int, path: Path, about: About) -> Path:
    """Writes i16[C, n] by the suffix of `path`, atomically; `about` goes into its comment, as JSON: a chunk LIST INFO
    of WAV, a Vorbis comment, an ID3 frame."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"Sounds cannot be written as '{path.suffix}'.", f"Use {', '.join(SUFFIXES)}.")
    with atomic(ready(path)) as temporary, temporary.open("wb") as file:
        encode_to(file, sound, rate, suffix, json.dumps(about.fields, ensure_ascii=False))
    return path


def rate_in(suffix: str, rate: int) -> int:
    """The rate of a sound of some rate in a file: the next that the format knows."""
    known = _RATES.get(suffix, (rate if suffix != ".ogg" else min(rate, _VORBIS),))
    return min((other for other in known if other >= rate), default=known[-1])


def encode_to(file: Any, sound: np.ndarray, rate: int, suffix: str, comment: str = "") -> None:
    """Writes i16[C, n] to an open file, in the format of a suffix; at the next rate that it knows."""
    to = rate_in(suffix, rate)
    if to != rate:
        sound = np.clip(resampled(sound.astype(np.float32) / STEPS, rate, to), -1, 1)
    form = SUFFIX_FORMATS[suffix]
    coding = "OPUS" if suffix == ".opus" else _CODINGS[form]
    if len(sound) > _CHANNELS.get(form, len(sound)):
        raise UserError(f"A file {suffix} cannot hold {len(sound)} channels.", "Use .wav.")
    with soundfile().SoundFile(file, "w", to, len(sound), coding, format=form) as out:
        if comment:
            out.comment = comment
        for start in range(0, sound.shape[1], _BLOCK):
            out.write(sound[:, start : start + _BLOCK].T)


def made_up(spec: ColumnSpec, items: int, seed: int = 0) -> Tensor:
    """Tones that die away, of one third to all of the length, f32[items, C, N]; exactly 0.0 behind their ends."""
    generator = torch.Generator().manual_seed(seed)
    channels, length = spec.shape
    pitch, phase, share = torch.rand(3, items, channels, 1, generator=generator)
    share[:] = share[:, :1]
    time = torch.arange(length)
    sound = 0.7 * torch.sin((0.05 + 0.3 * pitch) * time + 6 * phase) * torch.exp(-3 * time / length)
    return torch.where(time < length * (1 + 2 * share) / 3, sound, 0.0)
