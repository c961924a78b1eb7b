"""What a run of clips can do beyond sampling: `run.edit.continued("clip.mp4", frames=30)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maquette.modalities.video.edit import Editor


def edit(run: Any) -> Editor:
    """Changes clips: .continued, .slow, .loop."""
    from maquette.modalities.video.edit import Editor

    return Editor(run.generator, run.about)


def edits(model: Any) -> tuple[str, ...]:
    """The verbs of `edit` that a model has what they take."""
    from maquette.core.model import Continues, Tweens

    able = {"continue": Continues, "slow": Tweens, "loop": Tweens}
    return tuple(verb for verb, ability in able.items() if isinstance(model, ability))


TOOLS = {"edit": edit}
