"""What runs there are in a folder: read from small files alone, so that many are listed at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from maquette.core.errors import UserError
from maquette.core.files import expanded, stats_within
from maquette.core.lock import is_owned
from maquette.core.parse import characters_of, parse_yaml
from maquette.core.recipe import names_by_about
from maquette.core.run import RunFolder, run_paths

if TYPE_CHECKING:
    from maquette.evaluation import Metric


@dataclass(frozen=True)
class RunSummary:
    """A run in a list.

    recipe: the one that ships with these words about it, else the family     data: as the run names it
    step, steps: how far it is, of how many; None where it does not say
    measure, value: title and value of the first measure of its evaluation; number: both, in short. "" and None before
             there is one
    size:    bytes on disk      changed: seconds since 1970
    """

    path: Path
    recipe: str
    data: str
    state: Literal["running", "stopped", "finished", "not begun", "damaged"]
    step: int | None
    steps: int | None
    measure: str
    value: float | None
    number: str
    size: int
    changed: float

    @property
    def state_text(self) -> str:
        """E.g. `stopped at 40 of 1,000`."""
        if self.step is None or self.steps is None or self.state == "finished":
            return self.state
        return f"{self.state} at {self.step:,} of {self.steps:,}"


def runs(folder: str | Path = ".") -> list[RunSummary]:
    """The runs in a folder, and in those below it, by path; a run itself alone."""
    folder = expanded(folder)
    if not folder.is_dir():
        raise UserError(f"There is no folder '{folder}'.", "Name one that runs are in: maquette runs FOLDER")
    return sorted((_summary(RunFolder(path)) for path in run_paths(folder)), key=lambda run: run.path)


def _summary(folder: RunFolder) -> RunSummary:
    recipe = _plain(folder.recipe_file)
    train, data = (part if isinstance(part := recipe.get(key), dict) else {} for key in ("train", "data"))
    last, steps, running = folder.last_line(), _whole(train.get("steps")), is_owned(folder.lock_file)
    step = _whole(last.get("step"))
    if not running and (saved := folder.trained_steps()) is not None:
        step = saved
    state: Any = "running" if running else "not begun" if step is None else "stopped"
    if not running and step is not None and steps is not None and step >= steps:
        state = "finished"
    when, metric = last.get("time"), _first_metric(folder)
    return RunSummary(
        path=folder.path,
        recipe=names_by_about().get(_word(recipe.get("about"))) or _word(recipe.get("family")),
        data=_word(data.get("source")),
        state=state if recipe else "damaged",
        step=step,
        steps=steps,
        measure=metric.title if metric else "",
        value=metric.value if metric else None,
        number=_in_short(metric) if metric else "",
        size=sum(one.st_size for one in stats_within(folder.path)),
        changed=float(when) if isinstance(when, int | float) else folder.recipe_file.stat().st_mtime,
    )


def _plain(file: Path) -> dict[str, Any]:
    """What stands in a recipe, unchecked: a run that cannot be opened is listed all the same."""
    try:
        found = parse_yaml(characters_of(file), str(file))
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _first_metric(folder: RunFolder) -> Metric | None:
    if not folder.metrics_file.is_file():
        return None
    from maquette.evaluation import Evaluation

    try:
        folder.manifest.check(folder.metrics_file)
        return next(iter(Evaluation.load(folder.metrics_file).metrics), None)
    except UserError:
        return None


def _in_short(metric: Metric) -> str:
    """E.g. `Fréchet distance 12.3`: without the features, which the evaluation names."""
    return f"{metric.title.partition(',')[0]} {metric.show(metric.value)} {metric.unit_text}".rstrip()
