"""From a recipe and data to a trained run folder: here the data room, the engine and the families meet."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from maquette.core.about import About, software
from maquette.core.batch import Batch
from maquette.core.errors import Interrupted, MaquetteError, UserError, nearest
from maquette.core.files import write_json
from maquette.core.find import find_family, find_modality
from maquette.core.generator import build_model
from maquette.core.model import Model
from maquette.core.recipe import Recipe, TrainConfig
from maquette.core.run import RunFolder, check_new, create_run, open_run
from maquette.core.spec import ColumnSpec, DataSpec
from maquette.core.table import Dataset, Table
from maquette.data import Loader, left_out, open_dataset, remarks
from maquette.engine import Job
from maquette.engine import train as run_job
from maquette.modalities.text import writing

Say = Callable[[str], None]


def prepare(recipe: Recipe, out: Path, say: Say, processes: int = 1) -> tuple[RunFolder, Dataset]:
    """Opens the data and lays down a run folder that `train_folder` can start, and resume.

    Whatever is refused is refused before the folder is made.
    """
    check_new(out)
    members, codec = _members(recipe), _codec(recipe)
    recipe = _prepared_as(members, recipe)
    dataset = open_data(recipe, say, like=members[0].spec() if members else None)
    columns = dataset.train.columns
    given = recipe.given if recipe.given != "auto" else (("label",) if "label" in columns else ())
    for name in (*recipe.target, *given):
        if name not in columns:
            raise UserError(f"The data has no column '{name}'.", nearest(name, columns))
    kinds = [columns[name].spec.kind for name in given]
    if set(given) & set(recipe.target) or set(kinds) - {"label", "text"} or len(set(kinds)) < len(kinds):
        raise UserError(
            f"A model of {', '.join(recipe.target)} cannot be given {', '.join(given)} yet.",
            "Give one label column, one text column, one of each, or 'none'.",
        )
    spec = dataset.spec(recipe.target, given)
    train = _sized(recipe.train, spec)
    check_processes(train, processes)
    recipe = _resolved(recipe.model_copy(update={"given": given, "train": train}), spec, dataset.train)
    # A setting that does not fit the data is refused before anything is written.
    _complete(build_model(recipe, spec))
    for member in members:
        _check_member(member, recipe, dataset, say)
    if codec is not None and codec.data().get("fingerprint") != dataset.fingerprint:
        say("Note: the codec has learned other data, or other pictures were held out of it: it may know these.")
    folder = create_run(out)
    folder.write_spec(spec)
    facts = {"fingerprint": dataset.fingerprint, **dataset.summary}
    if spec.x.kind == "text" and (layouts := writing.layouts(dataset, spec)):
        facts["layouts"] = layouts
    write_json(folder.data_file, facts)
    # The recipe last: it is what makes a folder a run.
    folder.write_recipe(recipe)
    for text in _told(dataset, spec):
        say(text)
    say(f"Run folder: {out}")
    return folder, dataset


def _told(dataset: Dataset, spec: DataSpec) -> list[str]:
    """What is learned from, and what was left out or guessed on the way to it."""
    summary, items = dataset.summary, "windows" if spec.x.kind == "text" and not spec.x.framed else "items"
    given = f" given {', '.join(spec.given)}" if spec.given else ""
    sides = f"{len(dataset.train):,} {items} to learn from, {len(dataset.test):,} held out"
    notes = [f"Note: {text}" for text in (*left_out(summary), *remarks(summary))]
    return [f"{', '.join(spec.target)}{given}: {sides}.", *notes]


def train_folder(folder: RunFolder, dataset: Dataset, quiet: bool) -> None:
    recipe, spec = folder.recipe(), folder.spec()
    reference = _reference(dataset, spec, recipe.train.preview_items)
    captions = _captions(reference, spec) if spec.x.kind == "text" else []
    model = build_model(recipe, spec)
    if not any(folder.checkpoints.glob("step-*")):  # a run that has begun holds all of its weights itself
        _complete(model)

    def preview(samples: dict[str, Tensor], path: Path) -> None:
        (items,) = samples.values()
        modality = find_modality(spec.x.kind)
        about = About(software(), folder.path.resolve().name, recipe.family)
        modality.preview(items, path.with_name(path.name + modality.PREVIEW_SUFFIX), spec.x, captions, about)

    outcome = run_job(
        Job(
            folder=folder,
            recipe=recipe,
            spec=spec,
            model=model,
            batches=lambda size, rank, world: Loader(dataset.train, spec, size, recipe.train.seed, (rank, world)),
            items=dataset.train.items,
            reference=reference,
            preview=preview,
            inspect=_inspector(dataset, spec),
            quiet=quiet,
        )
    )
    if outcome.leads:
        from maquette.evaluation.animation import write_animation
        from maquette.evaluation.card import write_card

        write_animation(folder)
        write_card(folder)


def _inspector(dataset: Dataset, spec: DataSpec) -> Callable[[Model, dict[str, Tensor]], dict[str, float]]:
    """What to look for in the previews of a kind of data, beyond their diversity."""
    if spec.x.kind != "text":
        return lambda model, samples: {}
    from maquette.modalities.text.measures.inspect import text_inspector

    return text_inspector(dataset, spec)


def _reference(dataset: Dataset, spec: DataSpec, items: int) -> Batch:
    """Real items for the previews to stand beside; their labels go round the classes."""
    rows = np.arange(min(items, len(dataset.train)))
    if spec.source:  # a source that was learned from says little
        return dataset.test.batch(np.arange(min(items, len(dataset.test))), spec)
    if spec.label:
        labels = dataset.train.columns[spec.label].take(np.arange(len(dataset.train))).numpy()
        by_class = [group for c in range(spec.num_classes) if len(group := np.flatnonzero(labels == c))]
        turns = [divmod(i, len(by_class)) for i in range(items)]
        rows = np.array([by_class[c][turn % len(by_class[c])] for turn, c in turns])
    return dataset.train.batch(rows, spec)


def _captions(batch: Batch, spec: DataSpec) -> list[str]:
    """What each item of a batch was made from: its label, or the source text."""
    if spec.source:
        return writing.texts(batch.given[spec.source], spec.columns[spec.source])
    return [spec.columns[spec.label].classes[i] for i in batch.given[spec.label].tolist()] if spec.label else []


def _resolved(recipe: Recipe, spec: DataSpec, train: Table) -> Recipe:
    """The recipe with what its settings refer to (other runs, the training data) put in its place, where the family
    can do so."""
    resolve = getattr(find_family(recipe.family), "resolve", None)
    if resolve is None:
        return recipe
    return recipe.model_copy(update={"model": resolve(recipe.config, spec, train).model_dump(mode="json")})


def _sized(train: TrainConfig, spec: DataSpec) -> TrainConfig:
    """Tokens in a batch as items in a batch: a multiple of 8 where it can be, so that processes can share it."""
    if train.batch_tokens is None or not spec.x.mean_length:
        return train
    items = train.batch_tokens / spec.x.mean_length
    size = 8 * round(items / 8) if items >= 8 else max(1, round(items))
    return train.model_copy(update={"batch_size": size, "batch_tokens": None})


def _complete(model: Model) -> None:
    """Refuses to begin with a model that lacks some of what its first weights are made of."""
    if model.missing_weights:
        raise UserError(
            f"There are no weights to begin with: {', '.join(model.missing_weights)}.",
            "Put the run folders that the recipe names back, or name others.",
        )


# -- runs made of runs -------------------------------------------------------------------------------

SHARED = ("test_share", "split_seed")
SHARED_OF_TEXT = ("tokenizer", "vocab", "joint", "lowercase", "context", "longest")


def _members(recipe: Recipe) -> list[RunFolder]:
    """The runs that a recipe brings together; refuses runs that cannot write one text."""
    named = [member.get("run") if isinstance(member, dict) else member for member in recipe.model.get("members", ())]
    members = [_member(str(path)) for path in named if path]
    for other in members[1:]:
        ours, theirs = members[0].spec().x, other.spec().x
        if ours.tokenizer != theirs.tokenizer:
            raise UserError(
                f"The members read text in different tokens: '{members[0].path}' {_tokens(ours)}, '{other.path}' "
                f"{_tokens(theirs)}.",
                "Train them on the same data, with the same data.text.tokenizer and data.text.vocab.",
            )
    return members


def _codec(recipe: Recipe) -> RunFolder | None:
    """The run whose codes a recipe is about, if it is about any."""
    named = recipe.model.get("codec")
    path = named.get("run") if isinstance(named, dict) else named
    return open_run(str(path)) if path else None


def _member(path: str) -> RunFolder:
    """A run of a model of text."""
    remedy = "Name run folders of language models: model.members=[runs/a, runs/b]"
    try:
        folder = open_run(path)
    except UserError as error:
        raise UserError(f"A member cannot take part. {error.problem}", remedy) from None
    kind = folder.spec().x.kind
    if kind != "text":
        raise UserError(f"Member '{path}' makes {kind}s, not texts.", remedy)
    return folder


def _tokens(spec: ColumnSpec) -> str:
    """Tokenizers by what is known of them."""
    return f"in {spec.vocab:,} tokens ({spec.unit})"


def _prepared_as(members: Sequence[RunFolder], recipe: Recipe) -> Recipe:
    """The recipe with its texts prepared and split as those of its first member, so that no member has learned what
    is held out here."""
    if not members:
        return recipe
    theirs = members[0].recipe().data
    ours_of, its_of = recipe.data.of("text"), theirs.of("text")
    named = [(key, recipe.data, theirs) for key in SHARED]
    named += [(f"text.{key}", ours_of, its_of) for key in SHARED_OF_TEXT]
    for key, here, there in named:
        field = key.rpartition(".")[2]
        ours, its = getattr(here, field), getattr(there, field)
        if field in here.model_fields_set and ours != its:
            raise UserError(
                f"data.{key} = {ours} was asked for, and member '{members[0].path}' was trained with {its}.",
                f"Leave data.{key} out: texts are prepared and split as those of the members.",
            )
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"text": its_of, **{key: getattr(theirs, key) for key in SHARED}})
        }
    )


def _check_member(member: RunFolder, recipe: Recipe, dataset: Dataset, say: Say) -> None:
    """Refuses a member that learned from other texts than these, or from what is held out here."""
    its = member.recipe()
    its = its.model_copy(update={"data": its.data.model_copy(update={"source": recipe.data.source})})
    own = open_data(its, say, like=member.spec() if its.model.get("members") else None)
    if own.fingerprint != member.data().get("fingerprint"):
        raise UserError(
            f"Member '{member.path}' was not trained on '{dataset.source}' as it is now: what is held out here may be "
            "what it has learned.",
            "Name the data that the members were trained on, or train them on this.",
        )
    if _held_out(own, its) != _held_out(dataset, recipe):
        raise UserError(
            f"Member '{member.path}' held out other texts of '{dataset.source}' than are held out here: some of these "
            "it has learned.",
            "Train all members with the same columns, data.split_seed, data.test_share and data.text.longest.",
        )


def _held_out(dataset: Dataset, recipe: Recipe) -> str:
    """Digest of all held-out text, in whatever windows it is read."""
    from maquette.modalities.text.measures.read import passages

    (name,) = recipe.target
    state = hashlib.blake2b(digest_size=16)
    for passage in passages(dataset.test, name, sys.maxsize):
        state.update(passage.text.encode("utf-8") + b"\0")
    return state.hexdigest()


# -- data --------------------------------------------------------------------------------------------


def open_data(
    recipe: Recipe, say: Say, fetch: bool = True, like: DataSpec | None = None, own: str | None = None
) -> Dataset:
    assert recipe.data.source is not None
    given = () if recipe.given == "auto" else recipe.given
    return open_dataset(
        recipe.data.source, recipe.data, target=recipe.target, given=given, like=like, own=own, notify=say, fetch=fetch
    )


def fitting(dataset: Dataset, spec: DataSpec) -> Dataset:
    """Refuses data whose columns are not those the run was trained on."""
    for name in (*spec.target, *spec.given):
        if name not in dataset.train.columns:
            raise UserError(f"The data has no column '{name}', which this run uses.", "Name the run's own data.")
        ours, theirs = spec.columns[name], dataset.train.columns[name].spec
        if ours.kind == theirs.kind == "text":
            if ours.tokenizer != theirs.tokenizer:
                raise UserError(
                    f"Column '{name}' was prepared with another vocabulary than the run's.",
                    "The data has changed since the run began: train a new run, or put the data back.",
                )
            continue
        if (ours.kind, ours.shape, ours.classes) != (theirs.kind, theirs.shape, theirs.classes):
            raise UserError(
                f"Column '{name}' is {theirs.kind} {theirs.shape or theirs.classes}; the run was trained on "
                f"{ours.shape or ours.classes}.",
                "Name data of the same shape and classes.",
            )
    return dataset


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


def launch(folder: RunFolder, processes: int, quiet: bool) -> None:
    """Trains a prepared run in several processes of this machine, which find each other through accelerate.

    Started by torchrun, as `accelerate launch` starts one process only where there is no GPU.
    """
    import torch

    recipe, env = folder.recipe(), dict(os.environ)
    if not torch.cuda.is_available() or recipe.train.device == "cpu":
        env["ACCELERATE_USE_CPU"] = "true"
        # torchrun gives each process one thread unless told; the cores are shared out instead.
        env.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    prior = recipe.model.get("prior") or {}
    vouched = [env.get("MAQUETTE_FAMILIES"), recipe.family, prior.get("family")]
    env["MAQUETTE_FAMILIES"] = ",".join(filter(None, vouched))
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
