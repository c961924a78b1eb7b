"""What a person gives as a sound, and what is shown of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.core.spec import ColumnSpec

if TYPE_CHECKING:  # it takes a second to import, which streaming can do without
    from torch import Tensor

CAPTIONED = False  # of sounds one after the other nobody would know which caption is whose


def asked(value: Any, spec: ColumnSpec, notify: Callable[[str], None]) -> Tensor:
    """f32[C, N]: a file, at the rate and of the length that the model was trained on; what is longer is cut."""
    from maquette.core import limits
    from maquette.modalities.audio.config import Config
    from maquette.modalities.audio.data import stored
    from maquette.modalities.audio.files import canonical
    from maquette.modalities.audio.opening import header, resampled, samples

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


def pace(items: Tensor, spec: ColumnSpec, took: float) -> str:
    """How fast sounds f32[n, C, N] were made, in so many seconds: e.g. `: 6.1 s of sound in 0.9 s (threads: 2)`."""
    import torch

    from maquette.core.batch import lengths

    sounding = float(lengths(items).sum()) / spec.rate_hz
    times = f", {sounding / took:.3g} times real time" if took > 0 else ""
    return f": {sounding:.1f} s of sound made in {took:.1f} s{times} (threads: {torch.get_num_threads()})"


def caption(item: Tensor, spec: ColumnSpec) -> str:
    """Nothing: a sound is not said in words."""
    return ""


def view(item: Tensor, spec: ColumnSpec) -> Any:
    """A player of it."""
    from maquette.modalities.audio.shown import view

    return view(item, spec)
