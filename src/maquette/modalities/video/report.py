"""Clips in the report: they play in the page, offline; continuations beside what came, and by how far ahead."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from markupsafe import Markup as Html
from torch import Tensor

from maquette.core import limits
from maquette.core.modality import Unreadable
from maquette.core.model import Continues, Motion, Moves
from maquette.core.section import Markup, Missing
from maquette.core.spec import ColumnSpec
from maquette.modalities.video.continued import extended, given_frames
from maquette.modalities.video.files import enlarged, frames_of, moving
from maquette.modalities.video.opening import opened
from maquette.modalities.video.shown import strip
from maquette.report.page import TIMES, fragment
from maquette.report.show import NEAR, Amounts
from maquette.report.view import RunView

AMOUNTS = Amounts(samples=16, classes=12, per_class=3)
SHOWN, LARGEST = 96, 640  # CSS pixels of a clip; of what was previewed
PLAYED = 64  # frames of a longer clip that are played: a page holds many of them
CONTINUED = 4  # held-out clips

SAYS = ("what came", "what the run makes")

CONTINUATIONS = """
{% from "macros.html.j2" import chart %}
<p class="intro">Held-out clips, continued from their first {{ given }} frames: what came beside what the run makes of
them, playing; and frame by frame, from above: {{ rows | join(", ") }}.{% if layers %} Of motion the hue says where from, its
strength how fast. What is seen is made of {{ layers }} layers that move and of what is painted: of each what is seen of it, and
its mask, where white is all.{% endif %}</p>
{% for real, made, strips in clips %}
<div class="gallery">{{ real }}{{ made }}</div>
{{ strips }}
{% endfor %}
{% if horizon %}
<h3>How far ahead</h3>
<p class="intro">The squared error of a frame by how many frames ahead it is, beside the last frame repeated, a black one,
and the mean of those given: over {{ frames }} frames of held-out clips.</p>
{{ chart("horizon", "squared error a frame", "by frames ahead") }}
<div class="table"><table><thead><tr><th>frames ahead</th>{% for name in names %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in horizon %}<tr>{% for value in row %}<td>{{ value }}</td>{% endfor %}</tr>{% endfor %}</tbody></table></div>
{% endif %}
"""  # noqa: E501


def shape_words(spec: ColumnSpec) -> str:
    """E.g. `16 frames of 64 x 64, grey, 10 a second`."""
    height, width = spec.shape[2:]
    colour = {1: "grey", 3: "colour"}[spec.channels]
    return f"{spec.frames} frames of {width} {TIMES} {height}, {colour}, {spec.fps:.4g} a second"


def tiles(items: Tensor, spec: ColumnSpec, captions: Sequence[str] = (), near: int = NEAR) -> list[Html]:
    """Each clip, playing, its caption as its alternative text."""
    return [_tile(frames_of(x), spec.fps, captions[i] if i < len(captions) else "") for i, x in enumerate(items)]


def draw(axes: Any, items: Tensor, spec: ColumnSpec, columns: int) -> None:
    """Strips of frames on Matplotlib axes."""
    made = strip(items[: max(1, 2 * columns)], spec)
    axes.imshow(made[..., 0] if made.shape[2] == 1 else made, cmap="gray", interpolation="nearest")
    axes.set_axis_off()


def previewed(path: Path, spec: ColumnSpec, says: str, captioned: bool = False) -> Html:
    """The grid of a preview file, encoded anew, so that nothing but its frames enters the page."""
    frames = list[np.ndarray]()
    with opened(limits.contents(path), path.name) as found:
        for frame in found.frames:
            height, width = frame.size
            times = min(1.0, LARGEST / max(height, width))
            frames.append(frame.scaled(max(1, round(height * times)), max(1, round(width * times))))
            limits.check(frames[0].nbytes * len(frames))
    if not frames:
        raise Unreadable("there are no frames in it")
    return _tile(np.stack(frames[:PLAYED]), spec.fps, says, frames[0].shape[1])


def _tile(frames: np.ndarray, fps: float, says: str, shown: int = SHOWN) -> Html:
    """u8[T, H, W, C] as an <img> that plays; who asks for stillness sees the first frame."""
    times = max(1, shown // max(frames.shape[1:3]))
    playing, still = (_uri(enlarged(part, times), fps) for part in (frames[:PLAYED], frames[:1]))
    height, width = (side * times for side in frames.shape[1:3])
    return Html(
        '<picture><source media="(prefers-reduced-motion: reduce), print" srcset="{}"><img src="{}" width="{}" '
        'height="{}" alt="{}"{} style="width:{}px" decoding="async"></picture>'
    ).format(still, playing, width, height, says, Html(' title="{}"').format(says) if says else "", max(width, shown))


def _uri(frames: np.ndarray, fps: float) -> str:
    return f"data:image/webp;base64,{base64.b64encode(moving(frames, fps, '.webp')).decode('ascii')}"


@dataclass(frozen=True)
class Continuations:
    """Section: held-out clips, and what the run makes of their first frames."""

    id: str = "continuations"
    title: str = "Continuations"
    after: str = "samples"

    def make(self, run: RunView) -> Markup | Missing | None:
        model, spec = run.generator.model, run.target
        first = given_frames(model, spec) if isinstance(model, Continues) else None
        if not isinstance(model, Continues) or first is None:
            return None
        batch = run.held_out(CONTINUED)
        if isinstance(batch, Missing):
            return batch
        real = batch.target[run.column]
        batch = batch.to(run.generator.device)
        clips = batch.target[run.column]
        made = extended(model, clips, first, batch.given, range(len(clips)), run.seed).cpu()
        made = torch.cat([real[:, :, :first], made], 2)
        rows = {says: x[:, :, first:] for says, x in zip(SAYS, (real, made), strict=True)}
        layers = 0
        if isinstance(model, Moves):
            with torch.no_grad():
                motion = model.motion(clips[:, :, :first], spec.frames - first)
            layers = motion.flow.shape[2]
            rows |= _moved(Motion(motion.flow.cpu(), motion.masks.cpu()), rows[SAYS[1]])
        shown = []
        for i, pair in enumerate(zip(real, made, strict=True)):
            playing = [_tile(frames_of(x), spec.fps, says) for x, says in zip(pair, SAYS, strict=True)]
            strips = torch.stack([row[i].expand(3, -1, -1, -1) for row in rows.values()])
            shown.append((*playing, _strips(strips, spec, "from above: " + ", ".join(rows))))
        errors = run.details("horizon")
        lines = _lines(errors)
        table = [[row["frame"], *(f"{values[i]:.4g}" for values in lines.values())] for i, row in enumerate(errors)]
        html = fragment(
            CONTINUATIONS, given=first, clips=shown, horizon=table, names=[*lines], frames=spec.frames - first,
            rows=[*rows], layers=layers,
        )  # fmt: skip
        return Markup(html, charts={"horizon": _chart(lines)} if errors else {}, training_items=True)


def _moved(motion: Motion, made: Tensor) -> dict[str, Tensor]:
    """How f32[B, C, T, H, W] come of what was seen, as clips f32[B, 1 or 3, T, H, W] in [-1, 1]: the motion of all
    layers over one another, in colours, and of each layer, the foremost first, and of what is painted, what is seen of
    it and its mask."""
    layers = motion.flow.shape[2]
    flow = (motion.flow * motion.masks[:, :, :layers, None]).sum(2)
    rows = {"how it moves": flow_colours(flow).movedim(-1, 1) * 2 - 1}
    for k in (*reversed(range(layers)), layers):
        mask, name = motion.masks[:, None, :, k], "what is painted" if k == layers else f"layer {layers - k}"
        rows |= {name: (made + 1) * mask - 1, f"mask of {name}": 2 * mask - 1}
    return rows


def flow_colours(flow: Tensor) -> Tensor:
    """f32[B, T, 2, H, W], down and right -> f32[B, T, H, W, 3] in [0, 1]: the direction as a hue, the speed as its
    strength, beside the fastest in each clip; what stays is white (Baker et al. 2011)."""
    from matplotlib.colors import hsv_to_rgb

    down, right = flow[:, :, 0], flow[:, :, 1]
    speed = torch.hypot(down, right)
    hue = torch.atan2(down, right) / (2 * torch.pi) % 1
    strong = speed / speed.amax((1, 2, 3), keepdim=True).clamp_min(1e-3)
    return torch.from_numpy(hsv_to_rgb(torch.stack([hue, strong, torch.ones_like(hue)], -1).double().numpy())).float()


def _strips(rows: Tensor, spec: ColumnSpec, says: str) -> Html:
    """Clips one above the other, frame by frame."""
    from PIL import Image

    made = strip(rows, spec)
    file = io.BytesIO()
    Image.fromarray(made).save(file, "WEBP", quality=80)
    uri = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
    return Html('<img src="{}" width="{}" height="{}" alt="{}" style="width:100%">').format(
        uri, *made.shape[1::-1], says
    )


def _lines(rows: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Errors by how far ahead: of the run, and of what it is held against."""
    if not rows:
        return {}
    plain = {name: [float(row["plain"][name]) for row in rows] for name in rows[0]["plain"]}
    return {"this run": [float(row["squared_error"]) for row in rows], **plain}


def _chart(lines: dict[str, list[float]]) -> dict[str, Any]:
    return {
        "kind": "curve", "log": False, "flat": None, "x": "frames ahead", "alarms": [],
        "lines": [
            {"name": name, "colour": i, "x": list(range(1, len(y) + 1)), "y": [float(f"{v:.5g}") for v in y], "low": [],
             "high": []}
            for i, (name, y) in enumerate(lines.items())
        ],
    }  # fmt: skip


SECTIONS = (Continuations(),)
