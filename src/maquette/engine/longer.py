"""A run is given another length: more steps than it had, or more time, from where it is."""

from __future__ import annotations

import math
from typing import Literal

from maquette.core.budget import seconds_of
from maquette.core.counts import counted
from maquette.core.errors import UserError
from maquette.core.lock import sole_owner
from maquette.core.recipe import Leg
from maquette.core.run import RunFolder
from maquette.engine import checkpoint
from maquette.engine.plan import PREVIEWS, time_left
from maquette.engine.schedule import Course

Schedule = Literal["continue", "restart"]


def is_finished(folder: RunFolder) -> bool:
    """Whether its last step is done, and all that is written after it is there."""
    done, steps = checkpoint.newest(folder.checkpoints), folder.recipe().train.steps
    written = folder.manifest.standing(folder.weights_file) == "whole" and folder.card_file.exists()
    return done is not None and steps is not None and done.step >= steps and written


def check_more(folder: RunFolder, steps: int | None) -> None:
    """Refuses a number of all steps of which none is left to do; None: as many as there will be time for."""
    done = checkpoint.newest(folder.checkpoints)
    if done is not None and steps is not None and steps <= done.step:
        are = counted(done.step, "step is", "steps are")
        raise UserError(
            f"{are} done, and steps is the number of all of them: {steps:,} is not enough.",
            f"For {steps:,} more: --steps {done.step + steps}. Or say how much longer: --budget 10m.",
        )


def lengthen(
    folder: RunFolder, *, steps: int | None, budget: str | None, schedule: Schedule = "continue", began: float
) -> str:
    """Writes another length into the recipe of a run, whatever it was before; returns what was decided, for people.

    steps:    of the whole run, those done included       budget: how much longer, from `began` (time.monotonic()) on
    schedule: "continue": schedules stand where they would in one run of the new length; "restart": at their start
    Raises UserError where as many steps are done already, or the run is being trained.
    """
    with sole_owner(folder.lock_file):
        recipe, done = folder.recipe(), checkpoint.newest(folder.checkpoints)
        train, at = recipe.train, done.step if done else 0
        check_more(folder, steps)
        if done is None or not at or train.steps is None:  # nothing is learned yet: it is planned anew
            changes = {"steps": steps, "budget": budget, "epochs": None, "course": ()}
            folder.write_recipe(recipe.model_copy(update={"train": train.model_copy(update=changes)}))
            return f"The run is of {steps:,} steps now." if steps else f"The run is given {budget} now."
        until = None
        if budget is not None:
            left = time_left(seconds_of(budget), began)
            until = round(done.seconds + left, 3)
            steps = at + max(1, int(left * at / done.seconds))  # previews and all; the clock tells while it trains
        assert steps is not None
        progress = round(at / steps, 6) if schedule == "continue" else 0.0
        course = Course.planned(train).then(Leg(step=at, steps=steps, progress=progress, until=until))
        apart = max(int(train.preview_every), math.ceil((steps - at) / PREVIEWS))
        longer = course.into(train).model_copy(update={"preview_every": apart})
        folder.write_recipe(recipe.model_copy(update={"train": longer}))
    more = (
        f"{budget} more, about {counted(steps - at, 'step', 'steps')}"
        if budget
        else f"{steps:,} steps in all, {steps - at:,} more"
    )
    stand = f"schedules stand at {progress:.0%}, as in one run of that length" if progress else "schedules begin again"
    return f"The run is given {more}; {stand}."
