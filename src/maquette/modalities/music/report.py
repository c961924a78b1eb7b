"""Tunes in the report: a player that works offline, over the piano roll."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup as Html
from torch import Tensor

from maquette.core import limits
from maquette.core.modality import Unreadable
from maquette.core.spec import ColumnSpec
from maquette.modalities.music.files import score_of
from maquette.modalities.music.midi import read as of_midi
from maquette.modalities.music.shown import PLAYED, player, roll
from maquette.modalities.music.tune import Tune
from maquette.report.show import NEAR, Amounts

AMOUNTS = Amounts(samples=8, classes=6, per_class=2)


def shape_words(spec: ColumnSpec) -> str:
    """E.g. `up to 1,024 tokens, 12 places a quarter note`."""
    return f"up to {spec.shape[0]:,} tokens, {spec.grid} places a quarter note"


def tiles(items: Tensor, spec: ColumnSpec, captions: Sequence[str] = (), near: int = NEAR) -> list[Html]:
    """Each tune as a player over its piano roll, under its caption."""
    return [_tile(score_of(item, spec).tune, captions[i] if i < len(captions) else "") for i, item in enumerate(items)]


def draw(axes: Any, items: Tensor, spec: ColumnSpec, columns: int) -> None:
    """Piano rolls one below the other on Matplotlib axes."""
    rolls = [np.asarray(roll(score_of(item, spec).tune)) for item in items]
    axes.imshow(
        np.concatenate([part for one in rolls for part in (one, np.zeros_like(one[:4]))]), interpolation="nearest"
    )
    axes.set_axis_off()


def previewed(path: Path, spec: ColumnSpec, says: str, captioned: bool) -> Html:
    """The beginning of a preview file."""
    try:
        return _tile(of_midi(limits.contents(path)), "", says)
    except Unreadable as error:
        return Html("<p>{}</p>").format(f"Nothing to be heard: {error}.")


def _tile(tune: Tune, caption: str, says: str = "") -> Html:
    longer = f" (the first {PLAYED:.0f} s are played)" if tune.seconds > PLAYED else ""
    bars = f"{len(tune.metres)} bars" if len(tune.metres) != 1 else "1 bar"
    metre = f" of {tune.metres[0][0]}/{tune.metres[0][1]}" if tune.metres else ""
    words = f"{caption}{', ' if caption else ''}{bars}{metre} in {tune.key.name}, {tune.seconds:.0f} s{longer}"
    file = io.BytesIO()
    made = roll(tune)
    made.save(file, "PNG", optimize=True)
    uri = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
    return Html(
        '<figure class="block"><figcaption>{}</figcaption>{}'
        '<img src="{}" width="{}" height="{}" alt="{}" style="width:100%;height:auto"></figure>'
    ).format(words, Html(player(tune)), uri, *made.size, says or f"piano roll: {words}")
