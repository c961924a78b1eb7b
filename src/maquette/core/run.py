"""What a run leaves on disk, and where. Nothing in it executes on load."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from maquette.core.errors import UserError
from maquette.core.files import make_folder, ready, to_json
from maquette.core.find import find_modality
from maquette.core.held import held, in_place
from maquette.core.lock import sole_owner
from maquette.core.log_lines import LONGEST, read_lines
from maquette.core.manifest import LOCK, NAME, RESTORE, Manifest
from maquette.core.parse import COPY_OF_RUN, MOST_YAML, brief, characters_of, read_json
from maquette.core.recipe import Recipe, parse_recipe
from maquette.core.shown import file_stem
from maquette.core.spec import DataSpec
from maquette.core.summary import Summary, summary_of
from maquette.core.tensors import pack_tensors, read_arrays, read_tensors

if TYPE_CHECKING:  # it takes a second to import, which listing runs can do without
    import numpy as np
    from torch import Tensor

TAIL = 2 * LONGEST  # bytes at the end of a log that hold a whole line
READ = 8 * 2**20  # bytes of a log from which on a report reads a part of it
DEPTH = 3  # folders below the one that is named in which runs are looked for
LISTED = 10  # runs of a folder that are named
FORMAT = 1  # of run folders: raise it where one that was written before could not be read any more


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run folder, and how each file is read and written."""

    path: Path

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe: every default written out, the plan's choices included."""
        return self.path / "recipe.yaml"

    @property
    def spec_file(self) -> Path:
        """The columns, without what `assets` holds."""
        return self.path / "spec.json"

    @property
    def assets(self) -> Path:
        """What of the specification is a file of its own, such as a tokenizer (ColumnSpec.assets)."""
        return self.path / "assets"

    @property
    def data_file(self) -> Path:
        """Facts about the data the run was trained on (Dataset.summary, source, fingerprint)."""
        return self.path / "data.json"

    @property
    def weights_file(self) -> Path:
        """What sampling needs: the moving average of the networks a model keeps."""
        return self.path / "weights.safetensors"

    @property
    def checkpoints(self) -> Path:
        """What training resumes from, a folder per step."""
        return self.path / "checkpoints"

    @property
    def log_file(self) -> Path:
        """One JSON object a line: {"step", "seconds", "items", "<phase>/<part>", ...} or {"alarm": ...}."""
        return self.path / "log.jsonl"

    @property
    def samples(self) -> Path:
        """Previews (`preview-<step>`, with the suffix of their kind) and the animation of the training."""
        return self.path / "samples"

    @property
    def metrics_file(self) -> Path:
        """The evaluation, once there is one."""
        return self.path / "metrics.json"

    @property
    def report_file(self) -> Path:
        """The report, one HTML file."""
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        """The report's figures as PNG, for papers."""
        return self.path / "figures"

    @property
    def card_file(self) -> Path:
        """The model card."""
        return self.path / "README.md"

    @property
    def tracking(self) -> Path:
        """What accelerate's trackers write, such as TensorBoard's files."""
        return self.path / "tracking"

    @property
    def lock_file(self) -> Path:
        """Held while a process trains here."""
        return self.path / ".lock"

    @property
    def manifest_file(self) -> Path:
        """The digests of what things are made from (core/manifest.py)."""
        return self.path / NAME

    @property
    def manifest_lock(self) -> Path:
        """Held while a file is listed in the manifest."""
        return self.path / LOCK

    # -- reading ---------------------------------------------------------------------------------

    @property
    def manifest(self) -> Manifest:
        """What tells whether files are as they were written."""
        return Manifest(self.path)

    def remarks(self) -> list[str]:
        """What to tell people who use this run of its files, a line each; what may not be used is refused elsewhere."""
        if self.manifest.listed() is None:
            return [f"Note: '{self.path}' has no {NAME}, so that nobody can tell whether its files are undamaged."]
        if self.manifest.standing(self.recipe_file) != "whole":
            return [f"Note: '{self.recipe_file}' was changed since it was written; it is used as it is."]
        return []

    def recipe(self) -> Recipe:
        """Raises UserError where it names a family that is neither ours nor vouched for (core/find.py)."""
        return parse_recipe(characters_of(self.recipe_file, MOST_YAML), name=str(self.recipe_file), received=True)

    def spec(self) -> DataSpec:
        """The columns, assets read in; UserError where it is damaged or of another format."""
        try:
            plain = dict(self._json(self.spec_file))
            self._check_format(plain.pop("format", None))
            for column in plain["columns"].values():
                for asset in find_modality(str(column.get("kind"))).Spec.assets:
                    if column.get(asset):  # a name within `assets`
                        file = self.assets / Path(column[asset]).name
                        self.manifest.check(file)
                        column[asset] = characters_of(file).replace("\r\n", "\n")
            return DataSpec.model_validate(plain)
        except ValidationError as error:
            raise UserError(f"'{self.spec_file}' is damaged: {brief(error)}.", COPY_OF_RUN) from None
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise UserError(f"'{self.spec_file}' is damaged: {type(error).__name__} {error}.", COPY_OF_RUN) from None

    def _check_format(self, found: object) -> None:
        """Refuses a run of another format, by its number."""
        if found != FORMAT:
            number = f"format {found}" if found is not None else "a format without a number"
            raise UserError(
                f"'{self.path}' is a run of {number}, and this version reads format {FORMAT}.",
                "Open it with the version of Maquette that wrote it, or train again.",
            )

    def data(self) -> Summary:
        """Facts about the training data; UserError where they are missing or damaged."""
        return summary_of(self._json(self.data_file), self.data_file)

    def log(self, thinned: bool = False, tell: Callable[[str], None] = lambda words: None) -> Iterator[dict[str, Any]]:
        """The log's lines in order; those that are damaged are passed over, and a last one cut short by a crash.

        thinned: of a log that is larger than a run of days writes, lines from all over it and its alarms alone
        tell: told once, at the end, of what was damaged
        """
        if self.log_file.is_file():
            with self.log_file.open("rb") as file:
                yield from read_lines(file, READ if thinned else math.inf, tell)

    def recent(self, tell: Callable[[str], None] = lambda words: None) -> list[dict[str, Any]]:
        """The newest lines of the log, without reading those before them."""
        if not self.log_file.is_file():
            return []
        with self.log_file.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - TAIL)
            file.seek(start)
            if start:
                file.readline(TAIL)  # the end of a line
            return list(read_lines(file, tell=tell))

    def last_line(self, key: str = "step") -> dict[str, Any]:
        """The newest line of the log that has this value; {} where there is none."""
        return next((line for line in reversed(self.recent()) if key in line), {})

    def trained_steps(self) -> int | None:
        """The step that the weights are of; None where there are none, or they do not say."""
        from safetensors import SafetensorError, safe_open

        if not self.weights_file.is_file():  # a pipe would be waited for
            return None
        try:
            with safe_open(self.weights_file, framework="numpy") as file:
                return int((file.metadata() or {})["step"])
        except (OSError, KeyError, ValueError, SafetensorError):
            return None

    def weights(self) -> dict[str, Tensor]:
        """Tensors of `weights.safetensors`, by `<net>.<parameter>`; UserError where they are damaged."""
        self._check_weights()
        return read_tensors(self.weights_file)

    def arrays(self) -> dict[str, np.ndarray]:
        """The same in numpy, without torch."""
        self._check_weights()
        return read_arrays(self.weights_file)

    def _check_weights(self) -> None:
        if self.weights_file.is_file():
            again = f"`maquette resume {self.path}` writes it again from a checkpoint. "
            self.manifest.check(self.weights_file, (again if any(self.checkpoints.glob("step-*")) else "") + RESTORE)

    def _json(self, file: Path) -> Any:
        """A JSON file of the run that is as it was written."""
        self.manifest.check(file)
        return read_json(file)

    # -- writing ---------------------------------------------------------------------------------

    def write_recipe(self, recipe: Recipe) -> None:
        """Writes recipe.yaml."""
        self._write(self.recipe_file, recipe.dump().encode())

    def write_spec(self, spec: DataSpec) -> None:
        """Writes spec.json, and each asset to a file of its own beside it; equal ones share a file."""
        plain, written = spec.model_dump(mode="json"), dict[str, str]()
        for name, column in plain["columns"].items():
            for asset in spec.columns[name].assets:
                if content := column[asset]:
                    file = written.setdefault(content, f"{len(written)}-{asset}-{file_stem(name)}.json")
                    self._write(ready(self.assets / file), content.encode())
                    column[asset] = file
        self._write_json(self.spec_file, {"format": FORMAT, **plain})

    def write_data(self, facts: Mapping[str, Any]) -> None:
        """Writes data.json."""
        self._write_json(self.data_file, facts)

    def write_metrics(self, evaluation: Mapping[str, Any]) -> None:
        """Writes metrics.json."""
        self._write_json(self.metrics_file, evaluation)

    def write_weights(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Writes weights.safetensors, those of a step."""
        self._write(self.weights_file, pack_tensors(tensors, {"step": str(step)}))

    def record(self) -> None:
        """Lists the recipe as it is now, and of a run without a manifest all that it holds."""
        if self.manifest.listed() is None:
            self.manifest.record(filter(Path.is_file, self._recorded()))
        elif self.manifest.standing(self.recipe_file) != "whole":
            self.manifest.record([self.recipe_file])

    def paths(self) -> list[Path]:
        """All that a run may have in its folder."""
        named = [value.__get__(self) for value in vars(RunFolder).values() if isinstance(value, property)]
        return [path for path in named if isinstance(path, Path)]

    def unknown(self) -> list[Path]:
        """What is in the folder and is no part of a run, and what else is among its assets and checkpoints."""
        listed = self.manifest.listed() or {}
        own = {*self.paths(), *(self.path / name for name in listed), self.lock_file.with_name(".owner")}
        within = (self.path, self.assets, self.checkpoints)
        return sorted(path for folder in within if folder.is_dir() for path in folder.iterdir() if path not in own)

    def _recorded(self) -> list[Path]:
        """What things are made from."""
        own = [self.recipe_file, self.spec_file, self.data_file, self.weights_file, self.metrics_file]
        return [*own, *self.assets.glob("[!.]*")]

    def _write_json(self, file: Path, value: Mapping[str, Any]) -> None:
        self._write(file, to_json(value).encode())

    def _write(self, file: Path, content: bytes) -> None:
        if self.manifest.listed() is None:
            self.record()  # what an earlier version has written would count as not of this run
        self.manifest.write(file, content)


def remove_run(folder: RunFolder) -> list[Path]:
    """Removes a run, and its folder where nothing else is in it; returns what of others' is left there.

    Raises UserError where a process trains it, where it is a link, and where there is a recipe and no run.
    """
    if folder.path.is_symlink():
        raise UserError(f"'{folder.path}' is a link to a run.", f"Name the run itself: {folder.path.resolve()}")
    if not folder.spec_file.is_file():
        raise UserError(f"'{folder.path}' is not a run folder: it has no spec.json.", "Remove it by hand.")
    folder = RunFolder(folder.path.resolve())
    last = (folder.recipe_file, folder.spec_file)  # what is left half removed can be removed again
    with sole_owner(folder.lock_file):
        for path in sorted(folder.paths(), key=lambda path: path in last):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path != folder.lock_file:
                path.unlink(missing_ok=True)
    folder.lock_file.unlink(missing_ok=True)
    left = sorted(folder.path.iterdir())
    if not left:
        folder.path.rmdir()
    return left


def create_run(path: Path) -> RunFolder:
    """A new run folder; refuses one that holds anything already."""
    check_new(path)
    return RunFolder(make_folder(path))


@contextlib.contextmanager
def or_nothing(folder: RunFolder) -> Iterator[None]:
    """Takes a new run folder away again where the block fails before there is anything to go on from, so that the next
    try may have its name."""
    with held(folder.path):
        try:
            yield
        except BaseException:
            if in_place(folder.path) and not any(folder.checkpoints.glob("step-*")):
                shutil.rmtree(folder.path, ignore_errors=True)
            raise


def check_new(path: Path) -> None:
    """Refuses a path that cannot become a run folder, because something is there; makes nothing."""
    if path.is_file():
        raise UserError(f"'{path}' is a file.", "Name a new folder with -o.")
    if path.is_dir() and any(path.iterdir()):
        run = (path / "recipe.yaml").exists()
        raise UserError(
            f"'{path}' already holds {'a run' if run else 'other files'}; nothing was changed.",
            (f"Go on with it: `maquette resume {path}` (--budget 10m trains longer); or n" if run else "N")
            + "ame a new folder with -o.",
        )


def free_folder(path: Path) -> Path:
    """The path, or path-2, path-3, ... when it holds something."""
    candidate, n = path, 1
    while candidate.exists() and (candidate.is_file() or any(candidate.iterdir())):
        n += 1
        candidate = path.with_name(f"{path.name}-{n}")
    return candidate


def is_run(path: str | Path) -> bool:
    """Whether a run folder is there; for any words that may name none."""
    try:
        return (Path(path) / "recipe.yaml").is_file()
    except (OSError, ValueError):  # too long for a path, or with what none has in it
        return False


def run_paths(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """Run folders, in no order; nothing is looked for within a run, in hidden folders and behind links."""
    if is_run(folder):
        yield folder
    elif depth:
        with os.scandir(folder) as entries:
            below = [e.name for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")]
        for name in below:
            try:
                yield from run_paths(folder / name, depth - 1)
            except PermissionError:
                continue


def open_run(path: str | Path) -> RunFolder:
    """An existing run folder; says so when it is not one."""
    path = Path(path)
    if not path.exists():
        raise UserError(
            f"There is no run at '{path}'.", "Name the folder that `maquette train` was given with -o, or chose itself."
        )
    if not is_run(path):
        within = sorted(map(str, run_paths(path))) if path.is_dir() else []
        shown = ", ".join(within[:LISTED]) + (f" and {len(within) - LISTED} more" if len(within) > LISTED else "")
        remedy = f"Name one of the runs in it: {shown}." if within else "Name the folder given to -o."
        raise UserError(f"'{path}' is not a run folder: it has no recipe.yaml.", remedy)
    _refuse_odd_files(path)
    return RunFolder(path)


def _refuse_odd_files(path: Path) -> None:
    """Refuses a run in which links lead out of it: what is written there would land in other files of the user's, and
    what is read from there be shown. And one with pipes and the like, which would be waited for without an end."""
    whole = path.resolve()
    for file in path.rglob("*"):
        if file.is_symlink() and not Path(os.path.realpath(file)).is_relative_to(whole):
            raise UserError(
                f"'{file}' is a link that leads out of the run, to '{os.path.realpath(file)}'; nothing was read.",
                "Put what it leads to in its place, or remove it.",
            )
        if file.exists() and not (file.is_file() or file.is_dir()):
            raise UserError(f"'{file}' is a pipe or a device, and no file; nothing was read.", "Remove it.")
