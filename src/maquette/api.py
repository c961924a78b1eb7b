"""The public Python face: train, load, compare, and what can be done with a run."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from maquette.core.about import About, software
from maquette.core.errors import MaquetteError, UserError, closest
from maquette.core.find import recipe_names
from maquette.core.generator import Generator
from maquette.core.recipe import Recipe, load_recipe
from maquette.core.run import RunFolder, open_run
from maquette.core.samples import Samples
from maquette.core.spec import DataSpec
from maquette.core.table import Dataset
from maquette.data import NAMES
from maquette.engine.log import check_trackers, speaker
from maquette.engine.world import check_device, join_world
from maquette.modalities.image.edit import Editor
from maquette.modalities.text import writing
from maquette.modalities.text.writing import Decoding
from maquette.training import check_processes, fitting, launch, open_data, prepare, train_folder

if TYPE_CHECKING:
    from maquette.evaluation import Evaluation
    from maquette.report import Comparison


def train(
    recipe: str = "image/gan",
    data: str | Path | None = None,
    *,
    out: str | Path,
    target: str | None = None,
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
    data:     folder, archive, array file, text, table, "digits", "mnist", "fashion-mnist" or "hf:NAME"
    out:      a new folder for the run
    target:   the column to make; None: as the recipe says ("image", "text")
    given:    columns the model is conditional on; None: the label if there is one; () or "none": nothing
    size:     height and width in pixels; None: the data's own
    steps, epochs, budget: how long; one of them, e.g. budget="10m". None: as the recipe says
    settings: further settings of the recipe, {"train.batch_size": 64} or ["train.batch_size=64"]
    processes: trained together on this machine, through accelerate
    """
    say = speaker(quiet)
    resolved = resolve_recipe(recipe, data, target, given, size, steps, epochs, budget, settings)
    world = join_world(resolved.train.device)
    if world.leads:
        folder, dataset = prepare(resolved, Path(out), say, processes)
    world.barrier()
    if not world.leads:
        folder = RunFolder(Path(out))
        dataset = Run(folder).dataset()  # by what the leader wrote there, as on resuming
    if processes > 1:
        launch(folder, processes, quiet)
    else:
        train_folder(folder, dataset, quiet)
    return Run(folder, dataset)


def resolve_recipe(
    recipe: str,
    data: str | Path | None = None,
    target: str | None = None,
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
        overrides.append(f"data.image.size=[{height}, {width}]")
    if target is not None:
        overrides.append(f"target={json.dumps([target])}")
    if given is not None:
        names = [given] if isinstance(given, str) else list(given)
        overrides.append(f"given={json.dumps([n for n in names if n != 'none'])}")
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
    from maquette.report import compare as compare_folders

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

    def dataset(self, data: str | Path | None = None, quiet: bool = False) -> Dataset:
        """The data the run was trained on, or other data with the same columns.

        data: a path or name, or a split that the run's own data names, such as "val"
        """
        if data is not None:
            own = self._own_split(str(data))
            if own is not None:
                return own
            self._check_named(str(data))
            config = self.recipe.data.model_copy(update={"source": str(data)})
            other = self.recipe.model_copy(update={"data": config})
            own_data = str(self.folder.data().get("fingerprint"))
            return fitting(open_data(other, speaker(quiet), like=self.spec, own=own_data), self.spec)
        if self._dataset is None:
            self._dataset = fitting(open_data(self.recipe, lambda text: None, like=self._like), self.spec)
        return self._dataset

    @property
    def _like(self) -> DataSpec | None:
        """Whose tokens the data is read with: a run of several runs has theirs; any other one has its own."""
        return self.spec if self.recipe.model.get("members") else None

    @property
    def _write(self) -> Callable[[dict[str, Tensor]], Tensor] | None:
        """From given tensors to the best targets, for runs that have a source."""
        return functools.partial(writing.best, self.generator) if self.spec.source else None

    def _own_split(self, name: str) -> Dataset | None:
        """The run's data with the split of that name held out; None when it has none."""
        if name not in self.folder.data().get("splits", {}) or Path(name).exists():
            return None
        own = self.dataset()
        return dataclasses.replace(own, source=f"{own.source}: {name}", test=own.splits[name])

    def _check_named(self, name: str) -> None:
        """Refuses what is neither a split, nor a path, nor a data set known by name; lists the splits there are."""
        splits = self.folder.data().get("splits", {})
        if splits and name not in NAMES and not name.startswith("hf:") and not Path(name).expanduser().exists():
            close = closest(name, splits)
            meant = f"Did you mean '{close}'? " if close else ""
            raise UserError(
                f"'{name}' is no split of this run's data, and there is no data at such a path.",
                f"{meant}Name a split ({', '.join(splits)}), or a path.",
            )

    def resume(self, quiet: bool = False, processes: int = 1) -> Run:
        """Goes on training from the newest whole checkpoint; nothing happens to a finished run."""
        say = speaker(quiet)
        dataset = fitting(open_data(self.recipe, say, like=self._like), self.spec)
        if not self.trained_on(dataset):
            raise UserError(
                f"The data at '{self.recipe.data.source}' has changed since this run began.",
                "A resumed run must go on with the same data: put it back, or train a new run.",
            )
        check_processes(self.recipe.train, processes)
        if processes > 1:
            launch(self.folder, processes, quiet)
        else:
            train_folder(self.folder, dataset, quiet)
        return Run(self.folder)

    def trained_on(self, dataset: Dataset) -> bool:
        """Whether this is the very data, prepared and split in the same way, that the run was trained on."""
        return bool(self.folder.data().get("fingerprint") == dataset.fingerprint)

    def sample(
        self,
        n: int = 16,
        label: str | int | None = None,
        seed: int = 0,
        unconditional: bool = False,
        decoding: Decoding | None = None,
        **options: Any,
    ) -> Samples:
        """n items. Item i depends on (seed, i, its label) alone, never on n.

        label: one class for all; None: classes drawn by their share in the training data
        unconditional: asks the model that was trained with its labels dropped
        decoding: of a text: its prompt, the temperature, where to stop (maquette.Decoding)
        options: of the family's sampler, e.g. steps=4, sampler="heun", guidance=2 of a flow
        """
        given = self._labels(n, label, seed, unconditional)
        if decoding is None:
            made = self.generator.sample(n, given, seed, **options)
        else:
            # In one piece: a form is kept row by row.
            chunk = max(n, 1) if decoding.pattern else 250
            made = self.generator.sample(
                n, given, seed, chunk, **decoding.options(self.generator, max(n, 1), self._forms(decoding, given))
            )
            made = {name: writing.cut(x, decoding, self.spec.x) for name, x in made.items()}
        return Samples(made, given, self.spec, seed, self.about)

    def stream(
        self,
        item: int = 0,
        label: str | int | None = None,
        seed: int = 0,
        unconditional: bool = False,
        decoding: Decoding | None = None,
    ) -> Iterator[str]:
        """One text as it is written, piece by piece: the same as `item` of a sample."""
        given = {k: v[item:] for k, v in self._labels(item + 1, label, seed, unconditional).items()}
        decoding = decoding or Decoding()
        return writing.stream(self.generator, given, seed, item, decoding, self._forms(decoding, given))

    def translate(
        self,
        texts: Iterable[str] | Iterable[list[str]],
        beam: int = 4,
        length_penalty: float = 1.0,
        label: str | int | None = None,
    ) -> Iterator[str]:
        """The target text of each source text, in order, by beam search. An empty text stays empty.

        Translation, summaries, or whatever else the pairs of the training data are.

        texts: a list, or what comes one by one: each item, a text or a list, is answered before the next is asked for
        label: of a run that is given one, too: one class for all; None: drawn by their share in the training data
        """
        return writing.translate(self.generator, texts, beam, length_penalty, label, speaker(quiet=False))

    def _forms(self, decoding: Decoding, given: dict[str, Tensor]) -> list[str]:
        """The layout of each text by its label, where the form of the label is to be kept."""
        if decoding.pattern != writing.FORM:
            return []
        known, label = self.folder.data().get("layouts", {}), self.spec.label
        remedy = "Give the form itself: --pattern '___, ___.', _ for a letter."
        if label is None:
            raise UserError("This run knows no labels, whose form could be kept.", remedy)
        if label not in given:
            raise UserError("The unconditional model was asked for, and a form is that of a label.", remedy)
        classes = self.spec.columns[label].classes
        asked = [classes[i] for i in given[label].tolist()]
        if lacking := sorted(set(asked) - set(known)):
            raise UserError(
                f"There is no form to keep for {lacking[0]!r}: at least half of its texts must share one layout.",
                remedy,
            )
        return [known[name] for name in asked]

    def _labels(self, n: int, label: str | int | None, seed: int, unconditional: bool) -> dict[str, Tensor]:
        if unconditional and label is not None:
            raise UserError("A label was asked of the unconditional model.", "Drop one of the two.")
        if not unconditional or self.spec.source is not None:
            return self.generator.labels(max(n, 1), label, max(seed, 0))
        if self.spec.label is None:
            raise UserError("This run knows no labels: all that it makes is unconditional.", "Drop --unconditional.")
        return {}

    @property
    def about(self) -> About:
        """What every file that this run writes says of where it comes from."""
        return About(software(), self.folder.path.resolve().name, self.recipe.family)

    @functools.cached_property
    def edit(self) -> Editor:
        """Changes pictures: run.edit.upscale("small.png", factor=4), .inpaint, .restore, .variations, ..."""
        return Editor(self.generator, self.about)

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
        from maquette.report.card import write_card

        dataset = self.dataset(data, quiet)
        result = evaluate(
            self.generator, dataset, features=features, samples=samples, seed=seed, notify=speaker(quiet),
            own_data=self.trained_on(dataset), best=self._write,
        )  # fmt: skip
        result.save(self.folder.metrics_file)
        write_card(self.folder)
        return result

    def report(self) -> Path:
        """Writes report.html: one file that works offline."""
        from maquette.report import write_report
        from maquette.report.card import write_card

        try:
            # Only what is at hand: opening a run that somebody sent must not fetch anything.
            dataset = fitting(open_data(self.recipe, lambda text: None, fetch=False, like=self._like), self.spec)
        except MaquetteError:
            dataset = None  # the run was moved away from its data; the report says which parts that costs
        write_card(self.folder)
        return write_report(self.folder, self.generator, dataset, best=self._write)
