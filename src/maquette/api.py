"""The public Python face, and the one place where the rooms of the house are wired together."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.errors import Interrupted, MaquetteError, UserError, nearest
from maquette.core.files import atomic, write_json
from maquette.core.find import find_modality, recipe_names
from maquette.core.generator import Generator, build_model
from maquette.core.recipe import Recipe, TrainConfig, load_recipe
from maquette.core.run import RunFolder, create_run, open_run
from maquette.core.samples import Samples
from maquette.core.spec import DataSpec
from maquette.core.table import Dataset
from maquette.data import NAMES, Loader, open_dataset
from maquette.engine import Job
from maquette.engine import train as run_job
from maquette.engine.log import check_trackers, speaker
from maquette.engine.world import check_device, join_world

if TYPE_CHECKING:
    from maquette.evaluation import Evaluation
    from maquette.evaluation.report import Comparison

Say = Callable[[str], None]


def train(
    recipe: str = "image/gan",
    data: str | Path | None = None,
    *,
    out: str | Path,
    given: str | Sequence[str] | None = None,
    size: int | tuple[int, int] | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    budget: str | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
    processes: int = 1,
    quiet: bool = False,
) -> Run:
    """Trains a model on your data and leaves a run folder.

    recipe:   a shipped recipe ("image/gan"), or the path of a recipe file
    data:     folder, archive, array file, "digits", "mnist", "fashion-mnist" or "hf:NAME"
    out:      a new folder for the run
    given:    columns the model is conditional on; None: the label if there is one; () or "none": nothing
    size:     height and width in pixels; None: the data's own
    steps, epochs, budget: how long; one of them, e.g. budget="10m". None: as the recipe says
    settings: further settings of the recipe, {"train.batch_size": 64} or ["train.batch_size=64"]
    processes: trained together on this machine, through accelerate
    """
    say = speaker(quiet)
    resolved = resolve_recipe(recipe, data, given, size, steps, epochs, budget, settings)
    _check_processes(resolved.train, processes)
    world = join_world(resolved.train.device)
    if world.leads:
        folder, dataset = _prepare(resolved, Path(out), say)
    world.barrier()
    if not world.leads:
        folder, dataset = RunFolder(Path(out)), _open_data(resolved, say)
    if processes > 1:
        _launch(folder, processes, quiet)
    else:
        _train(folder, dataset, quiet)
    return Run(folder, dataset)


def resolve_recipe(
    recipe: str,
    data: str | Path | None = None,
    given: str | Sequence[str] | None = None,
    size: int | tuple[int, int] | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    budget: str | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
) -> Recipe:
    """The recipe with what was asked for put in its place, and checked."""
    lengths = {"steps": steps, "epochs": epochs, "budget": budget}
    if sum(value is not None for value in lengths.values()) > 1:
        raise UserError("steps, epochs and budget exclude one another.", "Give one of them.")
    overrides = (
        [f"{k}={json.dumps(v)}" for k, v in settings.items()] if isinstance(settings, Mapping) else list(settings)
    )
    if any(value is not None for value in lengths.values()):
        overrides += [f"train.{k}={'null' if v is None else v}" for k, v in lengths.items()]
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        overrides.append(f"data.size=[{height}, {width}]")
    if given is not None:
        names = [given] if isinstance(given, str) else list(given)
        overrides.append(f"given=[{', '.join(n for n in names if n != 'none')}]")
    resolved = load_recipe(recipe, overrides)
    if data is not None:
        # Set apart from the overrides: a path is no YAML. Made absolute, so that a run resumes from anywhere.
        path = Path(data).expanduser()
        source = str(path.resolve()) if path.exists() and data not in NAMES else str(data)
        resolved = resolved.model_copy(update={"data": resolved.data.model_copy(update={"source": source})})
    if resolved.data.source is None:
        raise UserError("No data was named.", "Add --data FOLDER, or --data digits to try it out.")
    check_trackers(resolved.train.trackers)
    check_device(resolved.train.device)
    return resolved


def load(path: str | Path) -> Run:
    """An existing run folder, to sample from, evaluate, report on or resume."""
    return Run(open_run(path))


def recipes() -> dict[str, str]:
    """What can be trained: recipe name -> one line about it."""
    return {name: load_recipe(name).about for name in recipe_names()}


def compare(*runs: str | Path | Run) -> Comparison:
    """Metrics and settings of two or more runs side by side."""
    from maquette.evaluation.report import compare as compare_folders

    return compare_folders([run.folder if isinstance(run, Run) else open_run(run) for run in runs])


class Run:
    """A run folder and what can be done with it."""

    def __init__(self, folder: RunFolder, dataset: Dataset | None = None) -> None:
        self.folder = folder
        self._dataset = dataset

    def __repr__(self) -> str:
        return f"Run('{self.folder.path}', {self.recipe.family} of {', '.join(self.spec.target)})"

    @functools.cached_property
    def recipe(self) -> Recipe:
        return self.folder.recipe()

    @functools.cached_property
    def spec(self) -> DataSpec:
        return self.folder.spec()

    @functools.cached_property
    def generator(self) -> Generator:
        """The trained model, with the weights that sampling needs."""
        return Generator.load(self.folder)

    def dataset(self, data: str | Path | None = None) -> Dataset:
        """The data the run was trained on, or other data with the same columns."""
        if data is not None:
            config = self.recipe.data.model_copy(update={"source": str(data)})
            return _fitting(_open_data(self.recipe.model_copy(update={"data": config}), print), self.spec)
        if self._dataset is None:
            self._dataset = _fitting(_open_data(self.recipe, lambda text: None), self.spec)
        return self._dataset

    def resume(self, quiet: bool = False, processes: int = 1) -> Run:
        """Goes on training from the newest whole checkpoint; nothing happens to a finished run."""
        say = speaker(quiet)
        dataset = _fitting(_open_data(self.recipe, say), self.spec)
        if not self.trained_on(dataset):
            raise UserError(
                f"The data at '{self.recipe.data.source}' has changed since this run began.",
                "A resumed run must go on with the same data: put it back, or train a new run.",
            )
        _check_processes(self.recipe.train, processes)
        if processes > 1:
            _launch(self.folder, processes, quiet)
        else:
            _train(self.folder, dataset, quiet)
        return Run(self.folder)

    def trained_on(self, dataset: Dataset) -> bool:
        """Whether this is the very data, prepared and split in the same way, that the run was trained on."""
        return bool(self.folder.data().get("fingerprint") == dataset.fingerprint)

    def sample(
        self, n: int = 16, label: str | int | None = None, seed: int = 0, unconditional: bool = False
    ) -> Samples:
        """n items. Item i depends on (seed, i, its label) alone, never on n.

        label: one class for all; None: classes drawn by their share in the training data
        unconditional: asks the model that was trained with its labels dropped
        """
        if unconditional and label is not None:
            raise UserError("A label was asked of the unconditional model.", "Drop one of the two.")
        generator = self.generator
        given = {} if unconditional else generator.labels(max(n, 1), label, max(seed, 0))
        made = generator.sample(n, given, seed)
        return Samples(made, given, self.spec, seed, self.origin)

    @property
    def origin(self) -> dict[str, str]:
        """What a sample's metadata says of where it comes from."""
        from maquette import __version__

        return {
            "Software": f"Maquette {__version__}",
            "Source": "AI-generated",
            "run": self.folder.path.resolve().name,
            "recipe": self.recipe.family,
        }

    def evaluate(
        self,
        data: str | Path | None = None,
        *,
        features: str = "own",
        samples: int | None = None,
        seed: int = 0,
        quiet: bool = False,
    ) -> Evaluation:
        """Measures samples against held-out data, each number with an interval and beside its floor.

        The result is also written to metrics.json and into the model card.
        """
        from maquette.evaluation import evaluate
        from maquette.evaluation.card import write_card

        dataset = self.dataset(data)
        result = evaluate(
            self.generator, dataset, features=features, samples=samples, seed=seed, say=speaker(quiet),
            own_data=self.trained_on(dataset),
        )  # fmt: skip
        result.save(self.folder.metrics_file)
        write_card(self.folder)
        return result

    def report(self) -> Path:
        """Writes report.html: one file that works offline."""
        from maquette.evaluation.card import write_card
        from maquette.evaluation.report import write_report

        try:
            # Only what is at hand: opening a run that somebody sent must not fetch anything.
            dataset = _fitting(_open_data(self.recipe, lambda text: None, fetch=False), self.spec)
        except MaquetteError:
            dataset = None  # the run was moved away from its data; the report says which parts that costs
        write_card(self.folder)
        return write_report(self.folder, self.generator, dataset)


# -- wiring ----------------------------------------------------------------------------------------


def _prepare(recipe: Recipe, out: Path, say: Say) -> tuple[RunFolder, Dataset]:
    """Opens the data and lays down a run folder that `_train` can start, and resume."""
    dataset = _open_data(recipe, say)
    columns = dataset.train.columns
    given = recipe.given if recipe.given != "auto" else (("label",) if "label" in columns else ())
    for name in (*recipe.target, *given):
        if name not in columns:
            raise UserError(f"The data has no column '{name}'.", nearest(name, columns))
    if set(given) & set(recipe.target) or len(given) > 1:
        raise UserError(
            f"A model of {', '.join(recipe.target)} cannot be given {', '.join(given)} yet.",
            "Give one label column, or 'none'.",
        )
    spec = dataset.spec(recipe.target, given)
    recipe = recipe.model_copy(update={"given": given})
    build_model(recipe, spec)  # a setting that does not fit the data is refused before anything is written
    folder = create_run(out)
    folder.write_spec(spec)
    write_json(folder.data_file, {"fingerprint": dataset.fingerprint, **dataset.summary})
    # The recipe last: it is what makes a folder a run.
    folder.write_recipe(recipe)
    return folder, dataset


def _train(folder: RunFolder, dataset: Dataset, quiet: bool) -> None:
    recipe, spec = folder.recipe(), folder.spec()
    modality = find_modality(spec.x.kind)

    def preview(samples: dict[str, Tensor], path: Path) -> None:
        (items,) = samples.values()
        with atomic(path) as temporary:
            modality.preview(items).save(temporary)

    outcome = run_job(
        Job(
            folder=folder,
            recipe=recipe,
            spec=spec,
            model=build_model(recipe, spec),
            batches=lambda size, rank, world: Loader(dataset.train, spec, size, recipe.train.seed, (rank, world)),
            items=len(dataset.train),
            reference=_reference(dataset, spec, recipe.train.preview_items),
            preview=preview,
            quiet=quiet,
        )
    )
    if outcome.leads:
        from maquette.evaluation.animation import write_animation
        from maquette.evaluation.card import write_card

        write_animation(folder)
        write_card(folder)


def _reference(dataset: Dataset, spec: DataSpec, items: int) -> Batch:
    """Real items for the previews to stand beside; their labels go round the classes."""
    rows = np.arange(min(items, len(dataset.train)))
    if spec.label:
        labels = dataset.train.columns[spec.label].take(np.arange(len(dataset.train))).numpy()
        by_class = [group for c in range(spec.num_classes) if len(group := np.flatnonzero(labels == c))]
        turns = [divmod(i, len(by_class)) for i in range(items)]
        rows = np.array([by_class[c][turn % len(by_class[c])] for turn, c in turns])
    return dataset.train.batch(rows, spec)


def _open_data(recipe: Recipe, say: Say, fetch: bool = True) -> Dataset:
    assert recipe.data.source is not None
    return open_dataset(recipe.data.source, recipe.data, say=say, fetch=fetch)


def _fitting(dataset: Dataset, spec: DataSpec) -> Dataset:
    """Refuses data whose columns are not those the run was trained on."""
    for name in (*spec.target, *spec.given):
        if name not in dataset.train.columns:
            raise UserError(f"The data has no column '{name}', which this run uses.", "Name the run's own data.")
        ours, theirs = spec.columns[name], dataset.train.columns[name].spec
        if (ours.kind, ours.shape, ours.classes) != (theirs.kind, theirs.shape, theirs.classes):
            raise UserError(
                f"Column '{name}' is {theirs.kind} {theirs.shape or theirs.classes}; the run was trained on "
                f"{ours.shape or ours.classes}.",
                "Name data of the same shape and classes.",
            )
    return dataset


def _check_processes(train: TrainConfig, processes: int) -> None:
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


def _launch(folder: RunFolder, processes: int, quiet: bool) -> None:
    """Trains a prepared run in several processes of this machine, which find each other through accelerate.

    Started by torchrun, as `accelerate launch` starts one process only where there is no GPU.
    """
    import torch

    recipe, env = folder.recipe(), dict(os.environ)
    if not torch.cuda.is_available() or recipe.train.device == "cpu":
        env["ACCELERATE_USE_CPU"] = "true"
        # torchrun gives each process one thread unless told; the cores are shared out instead.
        env.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    env["MAQUETTE_FAMILIES"] = ",".join(filter(None, [env.get("MAQUETTE_FAMILIES"), recipe.family]))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes),
               "-m", "maquette", "resume", str(folder.path), *(["-q"] if quiet else [])]  # fmt: skip
    child = subprocess.Popen(command, env=env)
    try:
        code = child.wait()
    except KeyboardInterrupt:
        child.send_signal(signal.SIGINT)
        child.wait()  # until every process has saved
        raise Interrupted("Stopped; everything is saved.", f"Go on with: maquette resume {folder.path}") from None
    if code:
        raise MaquetteError(f"Training in {processes} processes ended with exit code {code}.", "See the lines above.")
