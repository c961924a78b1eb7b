"""What a run of pictures can do beyond sampling: `run.edit.upscale("small.png", factor=4)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maquette.modalities.image.edit import Editor


def edit(run: Any) -> Editor:
    """Changes pictures: .upscale, .inpaint, .restore, .variations, .interpolate, .style."""
    from maquette.modalities.image.edit import Editor

    return Editor(run.generator, run.about)


TOOLS = {"edit": edit}
