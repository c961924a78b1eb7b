"""The public Python face: train, load, compare, and what can be done with a run."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from torch import Tensor

from maquette.console import shows_progress
from maquette.core.about import About, of_run
from maquette.core.asking import check_asked
from maquette.core.budget import as_budget
from maquette.core.data_config import DataConfig, data_settings
from maquette.core.errors import MaquetteError, UserError, closest
from maquette.core.files import expanded
from maquette.core.find import modalities_with, recipe_names
from maquette.core.generator import Generator
from maquette.core.hardware import device_named
from maquette.core.held import held
from maquette.core.light import streamed
from maquette.core.location import remember
from maquette.core.lock import sole_owner
from maquette.core.modality import data_options, noun, part
from maquette.core.needs import undertrained
from maquette.core.option import Option, checked
from maquette.core.recipe import Recipe, is_set, load_recipe
from maquette.core.run import RunFolder, free_folder, open_run, or_nothing, remove_run
from maquette.core.samples import Samples
from maquette.core.shown import cleaned
from maquette.core.spec import DataSpec
from maquette.core.table import Dataset
from maquette.data import NAMES, only, told
from maquette.engine import Progress
from maquette.engine.log import check_trackers, notifier
from maquette.engine.longer import Schedule, check_more, is_finished, lengthen
from maquette.engine.world import join_world
from maquette.members import named_by
from maquette.recipes import DEFAULT
from maquette.training import (
    changed,
    check_processes,
    check_watched,
    fitting,
    inspected,
    launch,
    located,
    open_data,
    prepare,
    train_folder,
)

if TYPE_CHECKING:
    from maquette.evaluation import Evaluation
    from maquette.export import Exported
    from maquette.report import Comparison


@shows_progress
def train(
    recipe: str = DEFAULT,
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    target: str | Sequence[str] | None = None,
    given: str | Sequence[str] | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    budget: str | float | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
    device: str | None = None,
    seed: int | None = None,
    strict: bool | None = None,
    processes: int = 1,
    fetch: bool = False,
    trackers: str | Sequence[str] | None = None,
    quiet: bool = False,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    began: float | None = None,
    **of_data: Any,
) -> Run:
    """Trains a model on your data and leaves a run folder.

    recipe:   a shipped recipe (`maquette recipes`), or the path of a recipe file
    data:     a folder, archive, array file, table or other file of your data, "digits", "mnist", "fashion-mnist" or
              "hf:NAME"
    out:      a new folder for the run; None: in `runs`, by the recipe's name
    target:   the column to make, or several; None: as the recipe says
    given:    columns the model is conditional on; None: the label if there is one; () or "none": nothing
    steps, epochs, budget: how long; one of them, e.g. budget="10m", all of the time it takes. None: as the recipe says
    settings: further settings of the recipe, {"train.batch_size": 64} or ["train.batch_size=64"]
    device:   "auto", "cpu", "cuda", "cuda:1" or "mps"; None: as the recipe says
    seed:     of the weights, the order and the noise; None: as the recipe says
    strict:   whether to stop at the first unusable item instead of leaving it out; None: as the recipe says
    processes: trained together on this machine, through accelerate
    fetch:    whether a data set that the recipe file names, and not you, may be fetched from the network
    trackers: of accelerate, that you want started: "tensorboard", "wandb", ...; () or "none": none. None: as the recipe
              says, if they connect to nothing
    progress: is told several times a second where the training is (step, total, items, values, alarms, eta_seconds)
    stop:     asked after each step; once it is true, everything is saved and the run is left as it is: `run.resume()`
              goes on with it. Neither with several processes
    began:    time.monotonic() at which the budget began; None: with this call
    of_data:  how the data is prepared: the options that a kind of data has for it, e.g. size=64
    """
    began = time.monotonic() if began is None else began
    check_watched(processes, progress, stop)
    notify = notifier(quiet)
    lengths = (steps, epochs, budget)
    resolved = resolve_recipe(
        recipe, data, target, given, *lengths, settings, device, seed, strict, trackers, **of_data
    )
    fetch = fetch or data is not None or is_set(settings, "data.source")
    world = join_world(resolved.train.device)
    if out is None:
        if world.size > 1:
            raise UserError("Several processes need one name for the run.", "Name it: out=FOLDER (-o FOLDER).")
        out = free_folder(Path("runs") / Path(recipe).stem)
    if world.leads:
        folder, dataset = prepare(resolved, Path(out), notify, processes, fetch, began)
    world.barrier()
    if not world.leads:
        folder = RunFolder(Path(out))
        dataset = Run(folder).dataset(fetch=fetch)  # by what the leader wrote there, as on resuming
    with or_nothing(folder) if world.leads else contextlib.nullcontext():
        if processes > 1:
            launch(folder, processes, quiet, trackers=resolved.train.trackers)
        else:
            train_folder(
                folder, dataset, quiet, trackers=resolved.train.trackers, progress=progress, stop=stop, began=began
            )
    return Run(folder, dataset)


def _trackers(asked: str | Sequence[str]) -> list[str]:
    return [name for name in ([asked] if isinstance(asked, str) else asked) if name != "none"]


def resolve_recipe(
    recipe: str,
    data: str | Path | None = None,
    target: str | Sequence[str] | None = None,
    given: str | Sequence[str] | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    budget: str | float | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
    device: str | None = None,
    seed: int | None = None,
    strict: bool | None = None,
    trackers: str | Sequence[str] | None = None,
    **of_data: Any,
) -> Recipe:
    """The recipe with what was asked for put in its place, and checked. Arguments as of `train`."""
    settings = [settings] if isinstance(settings, str) else settings
    lengths = {"steps": steps, "epochs": epochs, "budget": budget}
    if sum(value is not None for value in lengths.values()) > 1:
        raise UserError("steps, epochs and budget exclude one another.", "Give one of them.")
    overrides = (
        [f"{k}={json.dumps(v)}" for k, v in settings.items()] if isinstance(settings, Mapping) else list(settings)
    )
    if any(value is not None for value in lengths.values()):
        overrides += [f"train.{k}={json.dumps(v)}" for k, v in lengths.items()]
    if device is not None:
        overrides.append(f"train.device={json.dumps(device)}")
    overrides += _of_data(of_data)
    for key, value in (("train.seed", seed), ("data.strict", strict)):
        overrides += [] if value is None else [f"{key}={json.dumps(value)}"]
    if trackers is not None:
        overrides.append(f"train.trackers={json.dumps(_trackers(trackers))}")
    if target is not None:
        overrides.append(f"target={json.dumps([target] if isinstance(target, str) else list(target))}")
    if given is not None:
        names = [given] if isinstance(given, str) else list(given)
        overrides.append(f"given={json.dumps([n for n in names if n != 'none'])}")
    resolved = load_recipe(recipe, overrides)
    if data is not None:
        # Set apart from the overrides: a path is no YAML.
        resolved = resolved.model_copy(update={"data": resolved.data.model_copy(update={"source": str(data)})})
    if resolved.data.source is None:
        raise UserError("No data was named.", "Name data=FOLDER (--data FOLDER), or digits to try it out.")
    check_trackers(resolved.train.trackers, trackers is not None or is_set(settings, "train.trackers"))
    device_named(resolved.train.device, "train.device")
    return resolved


def _of_data(asked: Mapping[str, Any]) -> list[str]:
    """Settings of the recipe that options of data stand for."""
    asked = {name: value for name, value in asked.items() if value is not None}
    options = data_options()
    values = checked(options.values(), asked, "Training")
    return [f"{key}={json.dumps(values[o.name])}" for key, o in options.items() if o.name in values]


def load(path: str | Path, device: str = "auto") -> Run:
    """An existing run folder, to sample from, evaluate, report on or resume.

    device: where it samples and is evaluated: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1" or "mps"
    """
    return Run(open_run(path), device=device)


def inspect(
    data: str | Path,
    *,
    target: str | Sequence[str] = (),
    given: str | Sequence[str] = (),
    strict: bool = False,
    quiet: bool = False,
    **of_data: Any,
) -> Dataset:
    """What data holds, before anything is trained: its `summary` has counts, classes, what is left out and why, and
    copies; `train` and `test` are the tables that a model learns from and is judged on.

    target, given: what is to be made, of what; (): what suggests itself    of_data: as of `train`
    """
    config = DataConfig.model_validate({"strict": strict, **data_settings(of_data)})
    made, depends = ((name,) if isinstance(name, str) else tuple(name) for name in (target, given))
    return inspected(data, config, made, depends, notifier(quiet)).dataset


def recipes() -> dict[str, str]:
    """What can be trained: recipe name -> one line about it."""
    return {name: load_recipe(name).about for name in recipe_names()}


def compare(*runs: str | Path | Run) -> Comparison:
    """Metrics and settings of two or more runs side by side."""
    from maquette.report import compare as compare_folders

    folders = [run.folder if isinstance(run, Run) else open_run(run) for run in runs]
    for remark in (remark for folder in folders for remark in folder.remarks()):
        notifier(quiet=False)(remark)
    return compare_folders(folders)


_FINISHED = (
    "This run was finished: all of its {steps:,} steps are done, and nothing was done now. Train it longer with: "
    "maquette resume {path} --budget 10m, or --steps and a larger number."
)


def _checked_length(steps: int | None, budget: str | float | None, schedule: str) -> str | None:
    """The budget as a recipe holds it, once these go together."""
    if steps is not None and budget is not None:
        raise UserError("steps and budget exclude one another.", "Give one of them.")
    if schedule not in get_args(Schedule):
        raise UserError(f"There is no schedule '{schedule}'.", "Name continue or restart.")
    if schedule != "continue" and steps is None and budget is None:
        raise UserError("Schedules begin again only where a run is given another length.", "Give steps or a budget.")
    if budget == "auto":
        raise UserError("A budget of auto is for a new run.", "Say how much longer: --budget 10m, or --steps.")
    return None if budget is None else as_budget(budget)


class Run:
    """A run folder and what can be done with it.

    What only runs of one kind can do is there by name as well: what its modality has as TOOLS, such as `run.edit` or
    `run.translate`.
    """

    def __init__(self, folder: RunFolder, dataset: Dataset | None = None, device: str = "auto") -> None:
        self.folder = folder
        self.device = device
        self._dataset = dataset

    def __repr__(self) -> str:
        return cleaned(f"Run('{self.folder.path}', {self.recipe.family} of {', '.join(self.spec.target)})")

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    else:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            tools = {kind: part(kind, "TOOLS", "tools") for kind in modalities_with("tools")}
            owners = [kind for kind, own in tools.items() if name in own]
            if not owners:
                raise AttributeError(f"A run has no attribute {name!r}.")
            kinds = [self.spec.columns[column].kind for column in self.spec.target]
            kind = next((kind for kind in owners if kind in kinds), None)
            if kind is None:
                makes, takes = (", ".join(map(noun, some)) for some in (kinds, owners))
                raise UserError(f"This run makes {makes}; '{name}' is only for {takes}.", "Name a run of such a kind.")
            made = self.__dict__[name] = tools[kind][name](self)
            return made

    @functools.cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe, every default written out."""
        return self.folder.recipe()

    @functools.cached_property
    def spec(self) -> DataSpec:
        """The columns it was trained on, and which of them it makes."""
        return self.folder.spec()

    @property
    def undertrained(self) -> str:
        """What to say of a run that saw too little for a first look; "" of any other, and where nothing is known."""
        return undertrained(self.folder, self.folder.path)

    @functools.cached_property
    def generator(self) -> Generator:
        """The trained model, with the weights that sampling needs."""
        return Generator.load(self.folder, self.device, self.notify)

    @property
    def notify(self) -> Callable[[str], None]:
        """Tells people of what came up: lines on stderr."""
        return notifier(quiet=False)

    # -- data --------------------------------------------------------------------------------------------

    def dataset(self, data: str | Path | None = None, quiet: bool = False, fetch: bool = False) -> Dataset:
        """The data the run was trained on, or other data with the same columns.

        data:  a path or name, or a split that the run's own data names, such as "val"
        fetch: whether data that the run names, and not you, may be fetched from the network
        """
        if data is None:
            if self._dataset is None:
                recipe = located(self.folder, self.recipe)
                found = open_data(recipe, lambda note: None, fetch, like=self._like)
                self._dataset = self._used(fitting(found, self.spec))
            return self._dataset
        own = self._own_split(str(data), fetch)
        if own is not None:
            return own
        self._check_named(str(data))
        fingerprint = str(self.folder.data().get("fingerprint"))
        other = located(self.folder, self.recipe, data)
        notify = notifier(quiet)
        found = self._used(fitting(open_data(other, notify, True, like=self.spec, own=fingerprint), self.spec))
        for line in told(found.summary):
            notify(line)
        if self.trained_on(found):
            remember(fingerprint, data)
        return found

    def _used(self, dataset: Dataset) -> Dataset:
        """The rows of the run's own data that it uses: all, unless it went on with this data after other."""
        return only(dataset, self.folder.data().get("rows")) if self.trained_on(dataset) else dataset

    @property
    def _like(self) -> DataSpec | None:
        """Whose tokens the data is read with: a run of several runs has theirs, and one that went on with other data
        those that it began with; any other one has its own."""
        return self.spec if named_by(self.recipe) or self.folder.data().get("before") else None

    def _own_split(self, name: str, fetch: bool) -> Dataset | None:
        """The run's data with the split of that name held out; None when it has none."""
        if name not in self.folder.data().get("splits", {}) or Path(name).exists():
            return None
        own = self.dataset(fetch=fetch)
        return dataclasses.replace(own, source=f"{own.source}: {name}", test=own.splits[name])

    def _check_named(self, name: str) -> None:
        """Refuses what is neither a split, nor a path, nor a data set known by name; lists the splits there are."""
        splits = self.folder.data().get("splits", {})
        if splits and name not in NAMES and not name.startswith("hf:") and not expanded(name).exists():
            close = closest(name, splits)
            meant = f"Did you mean '{close}'? " if close else ""
            raise UserError(
                f"'{name}' is no split of this run's data, and there is no data at such a path.",
                f"{meant}Name a split ({', '.join(splits)}), or a path.",
            )

    def trained_on(self, dataset: Dataset) -> bool:
        """Whether this is the very data, prepared and split in the same way, that the run was trained on."""
        return bool(self.folder.data().get("fingerprint") == dataset.fingerprint)

    @shows_progress
    def resume(
        self, quiet: bool = False, processes: int = 1, data: str | Path | None = None, device: str | None = None, *,
        steps: int | None = None, budget: str | float | None = None, schedule: Schedule = "continue",
        fetch: bool = False, trackers: str | Sequence[str] | None = None,
        progress: Callable[[Progress], None] | None = None, stop: Callable[[], bool] | None = None,
        began: float | None = None,
    ) -> Run:  # fmt: skip
        """Goes on training from the newest whole checkpoint. A finished run needs `steps` or `budget` for that; without
        them nothing happens to it.

        data: where the data lies now, if it was moved    device: another one than the recipe's, this time
        steps:    another number of steps for the whole run, those done included
        budget:   how much longer it is trained from now on, e.g. "10m"
        schedule: of a run of another length: "continue", where learning rates and the like stand where they would in
                  one run of that length, or "restart", where they begin again
        fetch:    whether data that the run names, and not you, may be fetched from the network
        trackers, progress, stop, began: as of `train`
        """
        began = time.monotonic() if began is None else began
        check_watched(processes, progress, stop)
        budget = _checked_length(steps, budget, schedule)
        if device is not None:
            device_named(device)
        if self.finished and steps is None and budget is None and data is None:
            notifier(quiet)(_FINISHED.format(steps=self.recipe.train.steps, path=self.folder.path))
            return self
        check_processes(self.recipe.train, processes)
        tracked = self.recipe.train.trackers if trackers is None else _trackers(trackers)
        check_trackers(tracked, trackers is not None)
        longer, world = steps is not None or budget is not None, join_world(device or self.recipe.train.device)
        if world.leads:
            with sole_owner(self.folder.lock_file):  # what is decided of other data is written there
                for remark in self.folder.remarks():
                    notifier(quiet)(remark)
                self.folder.record()
                check_more(self.folder, steps)
                dataset = self._data_to_go_on(data, longer, notifier(quiet), fetch)
            if longer:
                decided = lengthen(self.folder, steps=steps, budget=budget, schedule=schedule, began=began)
                notifier(quiet)(decided)
        world.barrier()
        if not world.leads:
            dataset = Run(self.folder).dataset(fetch=fetch)  # as the leader left it
        with held(self.folder.path):
            if processes > 1:
                launch(self.folder, processes, quiet, device, tracked)
            else:
                train_folder(self.folder, dataset, quiet, device, tracked, progress=progress, stop=stop, began=began)
        return Run(self.folder, device=self.device)

    def _data_to_go_on(
        self, data: str | Path | None, longer: bool, notify: Callable[[str], None], fetch: bool
    ) -> Dataset:
        """The run's own data; or other data, where it is named and there is something left to learn from it."""
        recipe = located(self.folder, self.recipe, data)
        found = open_data(recipe, notify, fetch or data is not None, like=self._like)
        if self.trained_on(found):
            if data is not None:
                remember(found.fingerprint, data)
            return self._used(fitting(found, self.spec))
        other = f"The data at '{data or self.recipe.data.source}' is not, or no more, what this run began with"
        if data is None:
            raise UserError(f"{other}.", f"Put it back, or go on with what is there now: --data {recipe.data.source}")
        if self.finished and not longer:
            raise UserError(f"{other}, and the run was finished.", "Say how long it is to learn from it: --budget 10m.")
        return changed(self.folder, recipe, fitting(open_data(recipe, notify, True, like=self.spec), self.spec), notify)

    @property
    def finished(self) -> bool:
        """Whether all of its steps are done."""
        return is_finished(self.folder)

    # -- sampling ----------------------------------------------------------------------------------------

    @property
    def options(self) -> tuple[Option, ...]:
        """What `sample` takes more by keyword: the given columns, and what the model and its kinds of data have."""
        return self.generator.options

    @shows_progress
    def sample(
        self,
        n: int = 16,
        *,
        seed: int = 0,
        unconditional: bool = False,
        given: Mapping[str, Any] | None = None,
        quiet: bool = False,
        **asked: Any,
    ) -> Samples:
        """n items. Item i depends on (seed, i, what it is given) alone, never on n.

        unconditional: asks the model that was trained with all that it is given dropped
        given: values of given columns, by their names: one for all, or a list of one for each item
        quiet: shows no progress
        asked: the same by keyword, e.g. label=3, and the run's other `options`, e.g. steps=4. A label that is not asked
               for is drawn by its share in the training data
        """
        check_asked(n, seed)
        request = self.generator.request(asked, given)
        values = self.generator.given_for(n, request.given, seed, unconditional, notify=self.notify)
        plans = self.generator.plans(request, values, n, self.folder.data())
        keywords = {k: v for plan in plans.values() for k, v in plan.keywords.items()}
        chunk = n if any(plan.at_once for plan in plans.values()) else 250
        made = self.generator.sample(n, values, seed, chunk, **{**request.family, **keywords})
        made = {name: plans[name].finish(items) for name, items in made.items()}
        return Samples(made, values, self.spec, seed, self.about)

    def stream(
        self,
        item: int = 0,
        *,
        seed: int = 0,
        unconditional: bool = False,
        given: Mapping[str, Any] | None = None,
        **asked: Any,
    ) -> Iterator[str | bytes]:
        """One item as it is made, piece by piece: the same as `item` of a sample. Arguments as of `sample`.

        Of what is no words, the pieces are those of a file.
        """
        return streamed(
            self.generator, self.folder, self.recipe.family, item, seed, unconditional, given, asked, self.notify
        )

    @shows_progress
    def export(
        self, to: str = "onnx", out: str | Path = "model.onnx", *, int8: bool = False, quiet: bool = False, **asked: Any
    ) -> Exported:  # fmt: skip
        """Writes the model as files that other programs run, once it was seen that they compute the same.

        to:    "onnx", or "safetensors" with a file of plain PyTorch beside it
        int8:  of onnx: weights of 8 bits
        asked: what is settled then, such as steps
        """
        from maquette.export import export

        here = self.generator if self.generator.device.type == "cpu" else Generator.load(self.folder, "cpu")
        return export(here.model, self.spec, self.about, to, expanded(out), int8, **asked)

    @property
    def about(self) -> About:
        """What every file that this run writes says of where it comes from."""
        return of_run(self.folder.path, self.recipe.family)

    # -- looking -----------------------------------------------------------------------------------------

    def history(self) -> Any:
        """What training logged, a row a step: "step", "seconds", "items", and the values of each phase.

        A pandas DataFrame where pandas is installed; else a dict of columns. What a step lacks is NaN, or None.
        """
        from maquette.report.log import history

        lines = history(self.folder)
        names = dict.fromkeys(name for line in lines for name in line)
        columns = {name: [line.get(name) for line in lines] for name in names}
        try:
            import pandas
        except ImportError:
            return columns
        return pandas.DataFrame(columns)

    def plot(self) -> Any:
        """The losses over the steps, as a Matplotlib Figure; a notebook shows it, `.savefig(path)` writes it."""
        from maquette.report.figures import losses
        from maquette.report.log import read_log

        log = read_log(self.folder)
        if not log.curves:
            raise UserError("This run has logged nothing yet.", "Train it: run.resume(), or maquette resume.")
        return losses(log)

    def remove(self) -> list[Path]:
        """Removes the run from the disk, and nothing that is not its own; returns what else is left in its folder."""
        return remove_run(self.folder)

    # -- judging -----------------------------------------------------------------------------------------

    @shows_progress
    def evaluate(
        self,
        data: str | Path | None = None,
        *,
        features: str | None = None,
        samples: int | None = None,
        seed: int = 0,
        fetch: bool = False,
        quiet: bool = False,
    ) -> Evaluation:
        """Measures samples against held-out data, each number with an interval and beside its floor.

        features: the network that distances are measured in, e.g. "own" or "inception"; None: the first that the
        kind of data has. fetch: as of `dataset`. The result is also written to metrics.json and into the model card.
        """
        from maquette.evaluation import evaluate
        from maquette.report.card import write_card

        with held(self.folder.path):
            dataset = self.dataset(data, quiet, fetch)
            result = evaluate(
                self.generator, dataset, features=features, samples=samples, seed=seed, notify=notifier(quiet),
                own_data=self.trained_on(dataset), best=self._best,
            )  # fmt: skip
            self.folder.write_metrics(result.model_dump(mode="json"))
            write_card(self.folder)
        return result

    @shows_progress
    def report(self, for_sharing: bool = False, quiet: bool = False) -> Path:
        """Writes report.html: one file that works offline.

        for_sharing: without items of the data; and takes those that previews quote as captions out of the run folder
        quiet: shows no progress
        """
        from maquette.report import write_report
        from maquette.report.card import write_card
        from maquette.report.previews import uncaption

        try:
            found = self.dataset()  # only what is at hand: nothing is fetched
            # A run folder names its data only: what is called so here may be other data, or the data has changed.
            dataset = found if self.trained_on(found) else None
        except MaquetteError:
            dataset = None  # the run was moved away from its data; the report says which parts that costs
        with held(self.folder.path):
            if for_sharing:
                uncaption(self.folder)
            write_card(self.folder)
            return write_report(self.folder, self.generator, dataset, best=self._best, for_sharing=for_sharing)

    @property
    def _best(self) -> Callable[[dict[str, Tensor]], Tensor] | None:
        """From given tensors to the best targets, where the run's kind has such a way."""
        if len(self.spec.target) > 1:
            return None
        best = part(self.spec.only().kind, "best", "tools")
        found: Callable[[dict[str, Tensor]], Tensor] | None = best(self.generator) if best else None
        return found
