"""Sounds in the report: a player that works offline, over the waveform and the spectrogram."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup as Html
from torch import Tensor

from maquette.core import limits
from maquette.core.model import Restores
from maquette.core.section import Markup, Missing
from maquette.core.spec import ColumnSpec
from maquette.modalities.audio.alignment import Alignment
from maquette.modalities.audio.files import canonical, cut
from maquette.modalities.audio.levels import STEPS
from maquette.modalities.audio.opening import header, samples
from maquette.modalities.audio.restored import tried_items
from maquette.modalities.audio.shown import PLAYED, picture, player, sheet
from maquette.report.page import fragment
from maquette.report.show import NEAR, Amounts
from maquette.report.view import RunView

if TYPE_CHECKING:
    from PIL.Image import Image

AMOUNTS = Amounts(samples=12, classes=12, per_class=3)
PREVIEWED = 8.0  # seconds of a preview that are shown
RESTORED = 2  # held-out sounds, to each of which everything is done that the run undoes

NAMES = ("as it was", "after that", "restored: the mean", "restored: one")

BEFORE_AND_AFTER = """
<p class="intro">Held-out sounds, what was done to them, and what the run makes of that: the mean of all that they may
have been, which is nearest to them, and one of these.</p>
{% for words, rows in trials %}
<h3>{{ words }}</h3>
{% for row in rows %}
<div class="gallery">{% for tile in row %}{{ tile }}{% endfor %}</div>
{% endfor %}
{% endfor %}
"""


def shape_words(spec: ColumnSpec) -> str:
    """E.g. `1.34 s, 8,000 Hz, mono`."""
    return f"up to {spec.seconds:.3g} s, {spec.rate_hz:,} Hz, {'stereo' if spec.channels == 2 else 'mono'}"


def tiles(items: Tensor, spec: ColumnSpec, captions: Sequence[str] = (), near: int = NEAR) -> list[Html]:
    """Each sound as a player over its picture, under its caption."""
    return [_tile(item, spec.rate_hz, captions[i] if i < len(captions) else "") for i, item in enumerate(items)]


def draw(axes: Any, items: Tensor, spec: ColumnSpec, columns: int) -> None:
    """Pictures of sounds side by side on Matplotlib axes."""
    axes.imshow(np.asarray(sheet(items, spec, columns=min(columns, 3))), interpolation="nearest")
    axes.set_axis_off()


def previewed(path: Path, spec: ColumnSpec, says: str, captioned: bool = False) -> Html:
    """The beginning of a preview file, encoded anew, so that nothing but its sound enters the page."""
    data = limits.contents(path)
    found = header(data)
    sound = samples(data, 0, min(found.frames, round(PREVIEWED * found.rate)))
    return _tile(canonical((sound * (STEPS - 1)).astype(np.int16)), found.rate, "", says)


def _tile(item: Tensor, rate: int, caption: str, says: str = "") -> Html:
    sound = cut(item)
    longer = f" (the first {PLAYED:.0f} s are played)" if sound.shape[1] > PLAYED * rate else ""
    words = f"{caption}{', ' if caption else ''}{sound.shape[1] / rate:.2f} s{longer}"
    return Html('<figure class="block"><figcaption>{}</figcaption>{}{}</figure>').format(
        words, Html(player(sound, rate)), _img(picture(item, rate), says or f"waveform and spectrogram: {words}")
    )


def _img(made: Image, says: str) -> Html:
    file = io.BytesIO()
    made.quantize(128).save(file, "PNG", optimize=True)
    uri = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
    return Html('<img src="{}" width="{}" height="{}" alt="{}" style="width:100%">').format(uri, *made.size, says)


@dataclass(frozen=True)
class Restored:
    """Section: held-out sounds before and after they were restored."""

    id: str = "restored"
    title: str = "Before and after"
    after: str = "samples"

    def make(self, run: RunView) -> Markup | Missing | None:
        model = run.generator.model
        if not isinstance(model, Restores):
            return None
        batch = run.held_out(RESTORED)
        if isinstance(batch, Missing):
            return batch
        rate = run.target.rate_hz
        trials = tried_items(model, batch.target[run.column], rate, run.seed, run.generator.device)
        shown = []
        for words, found in trials.items():
            each = zip(found.real, found.heard, found.expected, found.sampled, strict=True)
            shown.append((words, [[_tile(x, rate, name) for name, x in zip(NAMES, row, strict=True)] for row in each]))
        return Markup(fragment(BEFORE_AND_AFTER, trials=shown), training_items=True)


SECTIONS = (Alignment(), Restored())
