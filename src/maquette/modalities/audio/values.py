"""What a person gives as a sound, and what is shown of one."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.core.spec import ColumnSpec
from maquette.modalities.audio.config import Config
from maquette.modalities.audio.data import stored
from maquette.modalities.audio.files import canonical, cut, encode_to
from maquette.modalities.audio.opening import header, resampled, samples


@dataclass(frozen=True)
class Sound:
    """A sound as Python has it: i16[C, n], at so many samples a second; a notebook plays it."""

    samples: np.ndarray
    rate_hz: int

    def _repr_html_(self) -> str:
        return player(self.samples, self.rate_hz, ".wav")


def player(sound: np.ndarray, rate: int, suffix: str) -> str:
    """i16[C, n] as an <audio> element with the bytes in it, which asks nothing of a network."""
    file = io.BytesIO()
    encode_to(file, sound, rate, suffix)
    kind = {".wav": "wav", ".mp3": "mpeg"}[suffix]
    uri = f"data:audio/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
    return f'<audio controls preload="metadata" src="{uri}"></audio>'


def asked(value: Any, spec: ColumnSpec, notify: Callable[[str], None]) -> Tensor:
    """f32[C, N]: a file, at the rate and of the length that the model was trained on; what is longer is cut."""
    if not isinstance(value, str | Path) or Path(value).is_dir():
        raise UserError(f"{value!r} is no sound.", "Name one file.")
    try:
        data = limits.contents(value)
        found = header(data)
        made = stored(resampled(samples(data), found.rate, spec.rate_hz), spec, Config())
    except Unreadable as error:
        raise UserError(f"'{value}' cannot be used: {error}.", error.remedy or "Name another file.") from None
    if found.rate != spec.rate_hz:
        notify(f"'{value}' is resampled from {found.rate:,} to {spec.rate_hz:,} Hz.")
    return canonical(made[None])[0]


def caption(item: Tensor, spec: ColumnSpec) -> str:
    """Nothing: a sound is not said in words."""
    return ""


def view(item: Tensor, spec: ColumnSpec) -> Sound:
    """The sound, as long as it is."""
    return Sound(cut(item), spec.rate_hz)
