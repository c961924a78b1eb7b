"""What a run of pictures can do beyond sampling: `run.edit.upscale("small.png", factor=4)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maquette.modalities.image.edit import Editor


def edit(run: Any) -> Editor:
    """Changes pictures: .upscale, .inpaint, .restore, .variations, .interpolate, .style."""
    from maquette.modalities.image.edit import Editor

    return Editor(run.generator, run.about)


def edits(model: Any) -> tuple[str, ...]:
    """The verbs of `edit` that a model has what they take."""
    from maquette.core.model import Encodes, FlowMap

    guided = ("upscale", "inpaint", "restore", "style") if isinstance(model, FlowMap) else ()
    codes = ("interpolate",) if isinstance(model, Encodes) else ()
    return (*guided, *(("variations",) if guided or codes else ()), *codes)


TOOLS = {"edit": edit}
