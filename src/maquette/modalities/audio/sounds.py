"""Files of sound in and out of an edit: of any length and rate, and with any number of channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from maquette.core import edited, limits
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.modalities.audio.claims import SUFFIXES
from maquette.modalities.audio.files import quantised, save
from maquette.modalities.audio.opening import header, resampled, samples
from maquette.modalities.audio.shown import Sound

Sounds = Tensor | str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Edited(edited.Edited):
    """Sounds that an edit made: f32[C, n] in [-1, 1], each as long as it is."""

    rate_hz: int

    @property
    def sounds(self) -> list[Sound]:
        """As Python has them; a notebook plays them."""
        return [Sound(quantised(item), self.rate_hz) for item in self.items]

    def write(self, path: str | Path, item: int = 0) -> Path:
        """Writes one of them, in the format of the suffix."""
        return save(quantised(self.items[item]), self.rate_hz, Path(path), self.about.of(item=item))

    def save(self, folder: str | Path, suffix: str = ".wav") -> list[Path]:
        """Writes all of them into a folder, by the names of what they were made from."""
        return super().save(folder, suffix)


def sounds_in(sounds: Sounds, rate: int, notify: Callable[[str], None]) -> list[tuple[str, Tensor]]:
    """A name and f32[C, n] of each: files, folders, or a canonical tensor f32[N, C, n] at the rate of the run.

    notify: is told of files that are resampled
    """
    if isinstance(sounds, Tensor):
        if sounds.ndim != 3 or not sounds.shape[-1]:
            raise UserError(f"These sounds are {tuple(sounds.shape)}.", "Give (N, channels, samples).")
        return [(f"{i:05d}", item.float()) for i, item in enumerate(sounds)]
    return [(path.stem, _read(path, rate, notify)) for path in files(sounds)]


def files(sounds: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files of a path, a folder, or several of them, in the order of their names within a folder."""
    found: list[Path] = []
    for path in map(Path, [sounds] if isinstance(sounds, str | Path) else sounds):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
            if not inside:
                raise UserError(f"'{path}' has no sounds.", f"It may hold {', '.join(SUFFIXES[:4])} and others.")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"There is no sound at '{path}'.", "Check the path.")
    if not found:
        raise UserError("No sounds were named.", "Name a file, several, or a folder.")
    return found


def _read(path: Path, rate: int, notify: Callable[[str], None]) -> Tensor:
    try:
        data = limits.contents(path)
        found = header(data)
        sound = resampled(samples(data), found.rate, rate)
    except Unreadable as error:
        raise UserError(f"'{path}' cannot be used: {error}.", error.remedy or "Name another file.") from None
    if not sound.any():
        raise UserError(f"'{path}' is silent: there is nothing to work on.", "Name another file.")
    if found.rate != rate:
        edge = f"what is above {rate // 2:,} Hz is lost"
        if found.rate < rate:
            edge = f"nothing is known of what is above {found.rate // 2:,} Hz"
        notify(f"'{path}' is resampled from {found.rate:,} to {rate:,} Hz, the rate of the run: {edge}.")
    return torch.from_numpy(sound)
