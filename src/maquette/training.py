"""From a recipe and data to a trained run folder: here the data room, the engine and the families meet."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from maquette.core.about import About, software
from maquette.core.batch import Batch
from maquette.core.counts import counted
from maquette.core.data_config import DataConfig
from maquette.core.errors import SAID, Interrupted, MaquetteError, UserError, handed_on, nearest
from maquette.core.files import expanded, temporary_folder
from maquette.core.find import find_family, find_modality, own_modalities, refuse_foreign_family
from maquette.core.generator import build_model
from maquette.core.location import recall, remember, shared_name
from maquette.core.modality import noun, part
from maquette.core.model import Model, Watch
from maquette.core.needs import enough
from maquette.core.recipe import Recipe, TrainConfig, load_recipe
from maquette.core.run import RunFolder, check_new, create_run, or_nothing
from maquette.core.samples import captions_shown
from maquette.core.scales import choose
from maquette.core.shown import file_stems, shown
from maquette.core.spec import ClassSpec, ColumnSpec, DataSpec, NumberSpec, TokenSpec, plain
from maquette.core.summary import Before
from maquette.core.table import Dataset, Table
from maquette.data import NAMES, Loader, apart, only, open_dataset, prepared_before, suggestion, told
from maquette.engine import Job, Outcome, Progress
from maquette.engine import train as run_job
from maquette.engine.plan import is_planned, time_left
from maquette.engine.speed import Speeds, budget_of, compiles_by_itself, fastest, usual
from maquette.engine.world import World
from maquette.members import check_member, codecs_of, members_of, named_by, prepared_as

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
SPENT = 0.92  # of the time that is left to train, that steps take; about: it only chooses a scale
LEAVING = 0.4  # seconds that an interpreter takes to end, after all is written

Notify = Callable[[str], None]
Inspect = Callable[[Model, dict[str, Tensor]], dict[str, float]]


def prepare(
    recipe: Recipe, out: Path, notify: Notify, processes: int = 1, fetch: bool = False, began: float | None = None
) -> tuple[RunFolder, Dataset]:
    """Opens the data and lays down a run folder that `train_folder` can start, and resume.

    Whatever is refused is refused before the folder is made. fetch: as of `open_data`      began: as of a Job
    """
    check_new(out)
    members, codecs = members_of(recipe), codecs_of(recipe)
    recipe = prepared_as(members, recipe)
    dataset = open_data(recipe, notify, fetch, like=members[0].spec() if members else None)
    target, given = _chosen(recipe, dataset)
    if not recipe.target:  # by what the run folder will name, since resuming opens that: other columns are left aside
        recipe = recipe.model_copy(update={"target": target, "given": given})
        dataset = open_data(recipe, notify, fetch, like=members[0].spec() if members else None)
    spec = dataset.spec(target, given)
    recipe = _scaled(recipe, spec, dataset.train, notify, processes, time.monotonic() if began is None else began)
    train = enough(recipe.model_copy(update={"train": _by_steps(_sized(recipe.train, spec))}), spec)
    if recipe.train.budget == "auto":
        notify(f"Budget auto: {train.steps:,} steps of {train.batch_size} are worth it.")
    check_processes(train, processes)
    chosen = recipe.model_copy(update={"target": target, "given": given, "train": train})
    recipe = _resolved(chosen, spec, dataset.train)
    # A setting that does not fit the data is refused before anything is written.
    _complete(build_model(recipe, spec))
    for member in members:
        check_member(member, recipe, dataset, lambda its, like: open_data(its, notify, fetch, like=like))
    for codec in codecs:
        if codec.data().get("fingerprint") != dataset.fingerprint:
            notify("Note: the codec has learned other data, or other items were held out of it: it may know these.")
    folder = create_run(out)
    with or_nothing(folder):
        folder.write_spec(spec)
        remembered, source = _named(recipe, dataset)
        folder.write_data({"fingerprint": dataset.fingerprint, **_facts(dataset, spec), "source": source})
        # The recipe last: it is what makes a folder a run.
        folder.write_recipe(remembered)
    for line in _told(dataset, spec):
        notify(line)
    notify(f"Run folder: {out}")
    return folder, dataset


def _chosen(recipe: Recipe, dataset: Dataset) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The target and the given columns, by name; refuses those that are not there, and those that the family cannot be
    given."""
    columns = {name: column.spec for name, column in dataset.train.columns.items()}
    target = recipe.target or tuple(n for n, c in columns.items() if not isinstance(c, ClassSpec | NumberSpec))
    if not recipe.target and len(target) != 1:
        raise UserError(f"The recipe names no target, and the data has {', '.join(columns)}.", "Name a target column.")
    given = recipe.given if recipe.given != "auto" else (("label",) if "label" in columns else ())
    for name in (*target, *given):
        if name not in columns:
            raise UserError(f"The data has no column '{name}'.", nearest(name, columns))
    forms = getattr(find_family(recipe.family), "GIVEN", None)
    refused = [n for n in given if n in target or not isinstance(columns[n], forms or (ClassSpec, TokenSpec))]
    if forms is None:  # one of each at most, for a family that does not say that it takes more
        kept = [columns[n] for n in given if n not in refused]
        for form in (ClassSpec, TokenSpec):
            refused += [n for n in given if isinstance(columns[n], form)][1:] if _several(kept, form) else []
    if refused:
        takes = "any columns of the forms it takes" if forms else "one label column, one sequence, one of each"
        raise UserError(
            f"A model of {', '.join(target)} ({recipe.family}) cannot be given {', '.join(refused)} yet.",
            f"Give {takes}, or 'none'.",
        )
    return target, tuple(given)


def _several(columns: Sequence[ColumnSpec], form: type[ColumnSpec]) -> bool:
    return sum(isinstance(column, form) for column in columns) > 1


def _named(recipe: Recipe, dataset: Dataset) -> tuple[Recipe, str]:
    """The recipe as the run folder holds it, with its data by name; where that lies is kept by this machine alone."""
    source = str(recipe.data.source)
    name = source
    if not (source in NAMES or source.startswith("hf:")):
        remember(dataset.fingerprint, source)
        name = shown(str(expanded(source).resolve())) if recipe.train.keep_path else shared_name(source)
    # How each kind of column was prepared, every default written out: defaults may change.
    kinds = sorted({column.spec.kind for column in dataset.train.columns.values()})
    sections = {kind: recipe.data.of(kind) for kind in kinds if type(recipe.data.of(kind)).model_fields}
    changes = {"source": name, **sections}
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=changes)}), shared_name(name)


def changed(folder: RunFolder, recipe: Recipe, dataset: Dataset, notify: Notify) -> Dataset:
    """Other data than a run began with, for it to go on with: written into the run folder as its data.

    recipe: the run's, with the data where it lies now      dataset: that data, in the run's tokens, classes and shapes
    What was held out is not learned from, and what was learned from is not held out, however the data is split now.
    """
    spec, facts = folder.spec(), folder.data()
    now = Before(fingerprint=facts.get("fingerprint"), source=facts.get("source"), rows=facts.get("rows"))
    parts = [*facts.get("before", ()), now]
    before = [prepared_before(str(part["fingerprint"]), part["rows"]) for part in parts]
    known = [one for one in before if one is not None]
    if len(known) < len(before):
        raise UserError(
            f"The data at '{recipe.data.source}' is not, or no more, what this run began with, and what it held out "
            "then is not known on this machine any more.",
            "Put the data back, or train a new run.",
        )
    rows = apart(dataset, known, spec)
    kept = only(dataset, rows)
    remembered, source = _named(recipe, dataset)
    new = {"fingerprint": dataset.fingerprint, **_facts(dataset, spec), "source": source, "rows": rows, "before": parts}
    folder.write_data(new)
    folder.write_recipe(remembered)
    first, *notes = _told(kept, spec)
    for less, was in (
        (len(dataset.train) - len(kept.train), "held out before: not learned from"),
        (len(dataset.test) - len(kept.test), "learned from before: not held out"),
    ):
        notes += [f"Note: {_counted(kept, less)} {'was' if less == 1 else 'were'} {was}."] if less else []
    for line in (f"The data has changed. {first}", *notes):
        notify(line)
    return kept


def _counted(dataset: Dataset, count: int) -> str:
    what = "item" if dataset.train.spans is None else "window"
    return counted(count, what, f"{what}s")


def located(folder: RunFolder, recipe: Recipe, data: str | Path | None = None) -> Recipe:
    """The recipe of a run with its data where it lies on this machine.

    data: where it lies, if that is not known or has changed
    """
    source = str(recipe.data.source) if data is None else str(data)
    if data is None and not (source in NAMES or source.startswith("hf:")):
        places = [recall(str(folder.data().get("fingerprint"))), expanded(source)]
        found = next((place for place in places if place is not None and place.exists()), None)
        if found is None:
            raise UserError(
                f"The data of this run, '{source}', is not at '{places[0] or places[1]}', where it was last seen.",
                "Say where it is now: data=PATH, or --data PATH.",
            )
        source = str(found)
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": source})})


def _facts(dataset: Dataset, spec: DataSpec) -> dict[str, Any]:
    """What a run folder holds of its data: its summary, and what the targets' modalities want to know when sampling."""
    facts = dict(dataset.summary)
    for name in spec.target:
        own = part(spec.columns[name].kind, "facts", "options")
        facts |= own(dataset, spec, name) if own and len(spec.target) == 1 else {}
    return facts


def _told(dataset: Dataset, spec: DataSpec) -> list[str]:
    """What is learned from, and what was left out or guessed on the way to it."""
    given = f" given {', '.join(spec.given)}" if spec.given else ""
    sides = f"{_counted(dataset, len(dataset.train))} to learn from, {len(dataset.test):,} held out"
    columns = {name: column.spec for name, column in dataset.train.columns.items()}
    aside = [name for name, column in columns.items() if isinstance(column, ClassSpec) and name not in spec.columns]
    notes = [f"Note: {', '.join(aside)}: classes that are not given, for evaluation alone (--given)."] if aside else []
    return [f"{', '.join(spec.target)}{given}: {sides}.", *notes, *told(dataset.summary)]


def train_folder(
    folder: RunFolder, dataset: Dataset, quiet: bool, device: str | None = None, trackers: Sequence[str] = (), *,
    progress: Callable[[Progress], None] | None = None, stop: Callable[[], bool] | None = None,
    began: float | None = None,
) -> Outcome:  # fmt: skip
    """Trains a run from where it is to its end, or until it is asked to stop.

    device: another one than the recipe's, this time      trackers, progress, stop, began: as of a Job
    """
    recipe, spec = folder.recipe(), folder.spec()
    if device is not None:
        recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"device": device})})
    model = build_model(recipe, spec)
    if not any(folder.checkpoints.glob("step-*")):  # a run that has begun holds all of its weights itself
        _complete(model)
    reference = _reference(dataset, spec, recipe.train.preview_items)
    outcome = run_job(
        Job(
            folder=folder,
            recipe=recipe,
            spec=spec,
            model=model,
            batches=lambda size, rank, world: Loader(dataset.train, spec, size, recipe.train.seed, (rank, world)),
            items=dataset.train.items,
            reference=reference,
            preview=_previewer(folder, recipe, spec, reference),
            inspect=_inspector(dataset, spec),
            trackers=tuple(trackers),
            quiet=quiet,
            watches=_watches(spec),
            progress=progress or (lambda values: None),
            stop=stop or (lambda: False),
            began=began,
        )
    )
    if outcome.leads:
        from maquette.report.card import write_card
        from maquette.report.previews import write_animation

        ended = time.monotonic()
        write_animation(folder, About(software(), folder.path.resolve().name, recipe.family))
        write_card(folder)
        if outcome.speed is not None and not is_planned(recipe.train):  # of a run from its beginning
            speed = replace(outcome.speed, end=time.monotonic() - ended + LEAVING)
            Speeds(recipe, spec, World(recipe.train.device).device, outcome.processes).keep(speed)
    return outcome


def _previewer(
    folder: RunFolder, recipe: Recipe, spec: DataSpec, reference: Batch
) -> Callable[[dict[str, Tensor], Path], None]:
    """Writes one file for each target column, the first of which has the path's name."""
    about = About(software(), folder.path.resolve().name, recipe.family)
    given = {name: value.cpu() for name, value in reference.given.items()}

    def preview(samples: dict[str, Tensor], path: Path) -> None:
        step = path.name.rpartition("-")[2].lstrip("0") or "0"
        for name, items in samples.items():
            column = spec.columns[name]
            modality = find_modality(column.kind)
            end = "" if len(samples) == 1 else f"-{file_stems(spec.target)[name]}"
            file = path.with_name(f"{path.name}{end}{modality.PREVIEW_SUFFIX}")
            modality.preview(items, file, column, captions_shown(given, spec, column.kind), about.of(step=step))

    return preview


def _inspector(dataset: Dataset, spec: DataSpec) -> Inspect:
    """What to look for in the previews of the targets' kinds, beyond their diversity."""

    @functools.cache  # when it is asked for: what it reads of the data for it takes a second or more
    def found() -> list[Inspect]:
        makers = {name: part(spec.columns[name].kind, "inspector", "watches") for name in spec.target}
        return [maker(dataset, spec, name) for name, maker in makers.items() if maker is not None]

    def inspect(model: Model, samples: dict[str, Tensor]) -> dict[str, float]:
        return {key: value for each in found() for key, value in each(model, samples).items()}

    return inspect


def _watches(spec: DataSpec) -> tuple[Watch, ...]:
    """The alarms of the targets' kinds."""
    kinds = dict.fromkeys(spec.columns[name].kind for name in spec.target)
    return tuple(watch for kind in kinds for watch in part(kind, "WATCHES", "watches") or ())


def _reference(dataset: Dataset, spec: DataSpec, items: int) -> Batch:
    """Real items for the previews to stand beside; their classes go round."""
    rows = np.arange(min(items, len(dataset.train)))
    if spec.givens(TokenSpec):  # a sequence that was learned from says little
        return dataset.test.batch(np.arange(min(items, len(dataset.test))), spec)
    for name, column in list(spec.givens(ClassSpec).items())[:1]:
        labels = dataset.train.columns[name].take(np.arange(len(dataset.train))).numpy()
        by_class = [group for c in range(column.num_classes) if len(group := np.flatnonzero(labels == c))]
        turns = [divmod(i, len(by_class)) for i in range(items)]
        rows = np.array([by_class[c][turn % len(by_class[c])] for turn, c in turns])
    return dataset.train.batch(rows, spec)


def _resolved(recipe: Recipe, spec: DataSpec, train: Table) -> Recipe:
    """The recipe with what its settings refer to (other runs, the training data) put in its place, where the family
    can do so."""
    resolve = getattr(find_family(recipe.family), "resolve", None)
    if resolve is None:
        return recipe
    return recipe.model_copy(update={"model": resolve(recipe.config, spec, train).model_dump(mode="json")})


def _scaled(
    recipe: Recipe, spec: DataSpec, train: Table, notify: Notify, processes: int, began: float
) -> Recipe:  # fmt: skip
    """The recipe at the scale that suits its budget, where it has scales and none was asked for."""
    if not recipe.scales:
        return recipe
    import torch

    budget, world = budget_of(recipe.train), World(recipe.train.device)
    each = {name: recipe.at_scale(name) for name in recipe.scales}
    # As the plan will see them: what training tells of speeds is remembered for settings that are resolved.
    each = {
        name: _resolved(its.model_copy(update={"train": _sized(its.train, spec)}), spec, train)
        for name, its in each.items()
    }
    speeds = {name: Speeds(its, spec, world.device, processes) for name, its in each.items()}
    known = {name: its.recall() for name, its in speeds.items()}
    sizes = {name: its.train.batch_size for name, its in each.items()}

    def glanced(name: str) -> float:
        its = each[name].train
        loader = Loader(train, spec, its.batch_size, its.seed)
        batch = usual(loader).to(world.device, its.channels_last)
        loader.close()
        speed = fastest(build_model(each[name], spec), its, batch, world)
        if processes > 1 and world.device.type == "cuda":  # those that train want the memory
            torch.cuda.empty_cache()
        if processes == 1 and not compiles_by_itself(its):  # otherwise the plan has more to measure
            speeds[name].keep(speed)
        return speed.step / sizes[name] / (processes if world.device.type == "cuda" else 1)  # a GPU each; or all cores

    seconds = None if budget is None else SPENT * time_left(budget, began)
    here = {name: speed.step / sizes[name] for name, speed in known.items() if speed is not None}
    choice = choose(recipe, spec, train.items, seconds, here, glanced)
    if choice.words:
        notify(choice.words)
    return recipe.at_scale(choice.name)


def _sized(train: TrainConfig, spec: DataSpec) -> TrainConfig:
    """Tokens in a batch as items in a batch: a multiple of 8 where it can be, so that processes can share it."""
    targets = [spec.columns[name] for name in spec.target]
    length = sum(column.mean_length for column in targets if isinstance(column, TokenSpec))
    if train.batch_tokens is None or not length:
        return train
    items = train.batch_tokens / length
    size = 8 * round(items / 8) if items >= 8 else max(1, round(items))
    return train.model_copy(update={"batch_size": size, "batch_tokens": None})


def _by_steps(train: TrainConfig) -> TrainConfig:
    """Without the times of a run that the recipe comes from: it is repeated step by step, however long that takes."""
    return train.model_copy(update={"course": tuple(leg.model_copy(update={"until": None}) for leg in train.course)})


def _complete(model: Model) -> None:
    """Refuses to begin with a model that lacks some of what its first weights are made of."""
    if model.missing_weights:
        raise UserError(
            f"There are no weights to begin with: {', '.join(model.missing_weights)}.",
            "Put the run folders that the recipe names back, or name others.",
        )


# -- data --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inspected:
    """Data as the recipe that suits it would see it.

    target, given: what was asked for, else what suggests itself; (), () where nothing does and all is looked at
    recipe:        the name of one that ships; None where none is known for such columns
    """

    dataset: Dataset
    target: tuple[str, ...]
    given: tuple[str, ...]
    recipe: str | None


def inspected(
    source: str | Path, config: DataConfig, target: Sequence[str], given: Sequence[str], notify: Notify
) -> Inspected:
    """What data holds, before anything is trained. given: "none" is nothing, and () whatever suggests itself"""
    chosen = tuple(plain(name) for name in given if name != "none")
    made, depends, kinds = suggestion(source, config, tuple(map(plain, target)), chosen)
    depends = chosen if given else depends
    recipe = first = None
    forms = [find_modality(kinds[name]).Spec for name in depends if name in kinds]
    if len(made) == 1 and {*made, *depends} <= {*kinds}:
        first = part(kinds[made[0]], "first_recipe", "options")
        recipe = first(forms, None) if first else None
    gaps = _may_miss(load_recipe(recipe).family) if recipe else ()
    dataset = open_dataset(source, config, target=made, given=depends, may_miss=gaps, notify=notify)
    if first:
        recipe = first(forms, dataset.train.columns[made[0]].spec)
    return Inspected(dataset, made, depends, recipe)


def open_data(
    recipe: Recipe, notify: Notify, fetch: bool = False, like: DataSpec | None = None, own: str | None = None
) -> Dataset:
    """The data that a recipe names, as open_dataset does.

    fetch: whether the user asked for it, where it has to be fetched: a recipe may come from somebody else
    like:  a specification whose tokens it is read with
    """
    assert recipe.data.source is not None
    given = () if recipe.given == "auto" else recipe.given
    return open_dataset(
        recipe.data.source,
        recipe.data,
        target=recipe.target,
        given=given,
        like=like,
        own=own,
        may_miss=_may_miss(recipe.family),
        notify=notify,
        fetch=fetch,
    )


def _may_miss(family: str) -> tuple[type[ColumnSpec], ...]:
    """Forms of given columns that rows may lack: those that the family reads and can do without."""
    module = find_family(family)
    forms, needs = getattr(module, "GIVEN", None) or (), getattr(module, "NEEDS", ())
    return tuple(form for form in (NumberSpec, TokenSpec) if form in forms and form not in needs)


def fitting(dataset: Dataset, spec: DataSpec) -> Dataset:
    """Refuses data whose columns are not those the run was trained on."""
    for name in (*spec.target, *spec.given):
        if name not in dataset.train.columns:
            raise UserError(f"The data has no column '{name}', which this run uses.", "Name the run's own data.")
        ours, theirs = spec.columns[name], dataset.train.columns[name].spec
        if isinstance(ours, TokenSpec) and ours.kind == theirs.kind:
            if not ours.same_tokens(theirs):
                raise UserError(
                    f"Column '{name}' was prepared with another vocabulary than the run's.",
                    "The data has changed since the run began: train a new run, or put the data back.",
                )
        elif (ours.kind, _what(ours)) != (theirs.kind, _what(theirs)):
            raise UserError(
                f"Column '{name}' is {noun(theirs.kind)} {_what(theirs)}; the run was trained on {noun(ours.kind)} "
                f"{_what(ours)}.",
                "Name data of the same shape and classes.",
            )
    return dataset


def _what(column: ColumnSpec) -> Sequence[object]:
    """What must be the same in other data: its classes, or its shape."""
    return column.classes if isinstance(column, ClassSpec) else column.shape


def check_processes(train: TrainConfig, processes: int) -> None:
    """Refuses what several processes cannot share, before anything is written."""
    import torch

    if train.batch_size % processes:
        raise UserError(
            f"train.batch_size = {train.batch_size} cannot be shared out evenly to {processes} processes.",
            f"Use a multiple of {processes}.",
        )
    if torch.cuda.is_available() and train.device != "cpu" and processes > torch.cuda.device_count():
        raise UserError(
            f"{processes} processes were asked for, and there are {torch.cuda.device_count()} GPUs.",
            "Ask for one process a GPU, or set train.device=cpu.",
        )


def check_watched(processes: int, *asked: object) -> None:
    """Refuses functions that other processes cannot call."""
    if processes > 1 and any(one is not None for one in asked):
        raise UserError(
            "progress and stop are functions of this process; training in several processes cannot call them.",
            "Leave them out (log.jsonl tells the progress, Ctrl-C stops), or train in one process.",
        )


def launch(
    folder: RunFolder, processes: int, quiet: bool, device: str | None = None, trackers: Sequence[str] = ()
) -> None:
    """Trains a prepared run in several processes of this machine, which find each other through accelerate.

    Started by what torchrun is made of, as `accelerate launch` starts one process only where there is no GPU. What the
    first of them to fail says is raised here.
    """
    import torch
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    recipe, env = folder.recipe(), dict[str, str](os.environ)
    if not torch.cuda.is_available() or (device or recipe.train.device) == "cpu":
        env["ACCELERATE_USE_CPU"] = "true"
        # torchrun gives each process one thread unless told; the cores are shared out instead.
        env.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    families = (recipe.family, *named_by(recipe, "families"))
    for family in families:
        refuse_foreign_family(family, str(folder.recipe_file))
    env["MAQUETTE_FAMILIES"] = ",".join(filter(None, [env.get("MAQUETTE_FAMILIES"), *families]))
    env["MAQUETTE_MODALITIES"] = ",".join(own_modalities())
    env["PYTHONPATH"] = os.pathsep.join(_searched(folder, ("maquette", *families, *own_modalities())))
    env["PYTHONSAFEPATH"] = "1"  # of those that they start in turn, too: not the folder one stands in
    command = ["-m", "maquette", "resume", *(["-q"] if quiet else []), *(["--device", device] if device else []),
               *(word for name in trackers or ["none"] for word in ("--tracker", name)),
               "--", str(folder.path)]  # fmt: skip
    with temporary_folder(Path(tempfile.gettempdir()), "processes") as said, _as_launcher(env | {SAID: str(said)}):
        together = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=processes, run_id="maquette", rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0", local_addr="127.0.0.1", max_restarts=0, logs_specs=DefaultLogsSpecs(str(said)),
        )  # fmt: skip
        try:
            elastic_launch(together, sys.executable)(*command)
        except SignalException:
            raise Interrupted("Stopped; everything is saved.", f"Go on with: maquette resume {folder.path}") from None
        except ChildFailedError as error:
            codes = [failure.exitcode for failure in error.failures.values()]
            # What the others say of one that was killed is that they are alone; those left over are sent SIGTERM.
            killed = any(code < 0 for code in codes if code != -signal.SIGTERM)
            raise (None if killed else handed_on(said)) or MaquetteError(
                f"A process of {processes} that train together "
                + (f"was killed by signal {-min(codes)}." if min(codes) < 0 else f"ended with exit code {codes[0]}."),
                f"Go on with: maquette resume {folder.path}",
            ) from None


@contextlib.contextmanager
def _as_launcher(env: Mapping[str, str]) -> Iterator[None]:
    """This process with the environment of those that it starts, and with signals and log of its own afterwards."""
    own, handlers = dict(os.environ), {number: signal.getsignal(number) for number in _SIGNALS}
    os.environ.update(env)
    logging.disable(logging.CRITICAL)  # it tells of a failed process in thirty lines
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        os.environ.clear()
        os.environ.update(own)
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _searched(run: RunFolder, vouched: Sequence[str]) -> list[str]:
    """Folders in which other processes look for modules: where this one does, so that what is the user's own is found,
    e.g. beside a script. Left out are the folder one stands in and the run, whose files may be somebody else's; but
    where a module lies that the user vouched for, others are found, too.
    """
    tops = [sys.modules[top] for name in vouched if (top := name.partition(".")[0]) in sys.modules]
    files = [place for one in tops for place in (getattr(one, "__path__", None) or [one.__file__]) if place]
    own, here, its = {Path(file).resolve().parent for file in files}, Path.cwd(), run.path.resolve()
    searched = [Path(entry).resolve() for entry in filter(None, sys.path)]
    kept = [path for path in searched if path in own or (path != here and not path.is_relative_to(its))]
    # Where `python -m maquette` stands beside its own source, that is not among them: it was taken out at the start.
    return [str(path) for path in (*sorted(own.difference(kept)), *kept)]
