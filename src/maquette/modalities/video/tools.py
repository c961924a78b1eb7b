"""What a run of clips can do beyond sampling: `run.edit.continued("clip.mp4", frames=30)`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maquette.modalities.video.edit import Editor


DEMONSTRATED = 8  # held-out clips that a demo goes on with


def edit(run: Any) -> Editor:
    """Changes clips: .continued, .slow, .loop."""
    from maquette.modalities.video.edit import Editor

    return Editor(run.generator, run.about)


def edits(model: Any) -> tuple[str, ...]:
    """The verbs of `edit` that a model has what they take."""
    from maquette.core.model import Continues, Tweens

    able = {"continue": Continues, "slow": Tweens, "loop": Tweens}
    return tuple(verb for verb, ability in able.items() if isinstance(model, ability))


def demonstrated(run: Any, folder: Path) -> list[tuple[str, Path]]:
    """Held-out clips, and below each what the run makes of its first frames, playing in one file; none of a run that
    goes on with nothing."""
    import torch

    from maquette.core.model import Continues
    from maquette.modalities.video.continued import extended, given_frames
    from maquette.modalities.video.files import grid, save

    model, spec = run.generator.model, run.spec.only()
    if not isinstance(model, Continues) or (first := given_frames(model, spec)) is None:
        return []
    test = run.dataset().test
    rows = range(min(DEMONSTRATED, len(test)))
    batch = test.batch(rows, run.spec).to(run.generator.device)
    real = batch.only()
    made = torch.cat([real[:, :, :first], extended(model, real, first, batch.given, rows, 0)], 2)
    path = folder / "samples" / "continued.gif"
    save(grid(torch.cat([real, made]).cpu(), spec, len(rows)), spec.fps, path, run.about.of(0, items=str(len(rows))))
    return [("held-out ones, and its own below", path)]


TOOLS = {"edit": edit}
