"""What a run of sounds can do beyond sampling: `run.edit.restore("noisy.wav")`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maquette.modalities.audio.edit import Editor


def edit(run: Any) -> Editor:
    """Changes sounds: .restore, .variations, .interpolate, .continued."""
    from maquette.modalities.audio.edit import Editor

    return Editor(run.generator, run.about)


def edits(model: Any) -> tuple[str, ...]:
    """The verbs of `edit` that a model has what they take."""
    from maquette.core.model import Encodes, Fills, Restores, Unfolds

    able = {"restore": Restores | Fills, "continue": Unfolds, "variations": Encodes, "interpolate": Encodes}
    return tuple(verb for verb, ability in able.items() if isinstance(model, ability))


TOOLS = {"edit": edit}
