"""What a run leaves on disk, and where. Nothing in it executes on load."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.files import atomic, read_json, write_json, write_text
from maquette.core.find import find_modality
from maquette.core.recipe import Recipe, parse_recipe
from maquette.core.spec import DataSpec

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
    def lock_file(self) -> Path:
        """Held while a process trains here."""
        return self.path / ".lock"

    # -- reading ---------------------------------------------------------------------------------

    def recipe(self) -> Recipe:
        """Raises UserError where it names a family that is neither ours nor vouched for (core/find.py)."""
        return parse_recipe(self.recipe_file.read_text(encoding="utf-8"), name=str(self.recipe_file), received=True)

    def spec(self) -> DataSpec:
        """The columns, assets read in; UserError where it is damaged or of another format."""
        try:
            plain = dict(read_json(self.spec_file))
            self._check_format(plain.pop("format", None))
            for column in plain["columns"].values():
                for asset in find_modality(str(column.get("kind"))).Spec.assets:
                    if column.get(asset):  # a name within `assets`
                        file = self.assets / Path(column[asset]).name
                        column[asset] = file.read_text(encoding="utf-8")
            return DataSpec.model_validate(plain)
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise UserError(f"'{self.spec_file}' is damaged: {error}", "Restore it from a copy of the run.") from None

    def _check_format(self, found: object) -> None:
        """Refuses a run of another format, by its number."""
        if found != FORMAT:
            number = f"format {found}" if found is not None else "a format without a number"
            raise UserError(
                f"'{self.path}' is a run of {number}, and this version reads format {FORMAT}.",
                "Open it with the version of Maquette that wrote it, or train again.",
            )

    def data(self) -> dict[str, Any]:
        """Facts about the training data; UserError where they are missing or damaged."""
        return dict(read_json(self.data_file))

    def log(self) -> Iterator[dict[str, Any]]:
        """The log's lines in order; a last line cut short by a crash is left out."""
        if not self.log_file.exists():
            return
        with self.log_file.open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    return

    def weights(self) -> dict[str, Tensor]:
        """Tensors of `weights.safetensors`, by `<net>.<parameter>`."""
        return read_tensors(self.weights_file)

    # -- writing ---------------------------------------------------------------------------------

    def write_recipe(self, recipe: Recipe) -> None:
        """Writes recipe.yaml."""
        write_text(self.recipe_file, recipe.dump())

    def write_spec(self, spec: DataSpec) -> None:
        """Writes spec.json, and each asset to a file of its own beside it; equal ones share a file."""
        plain, written = spec.model_dump(mode="json"), dict[str, str]()
        for name, column in plain["columns"].items():
            for asset in spec.columns[name].assets:
                if content := column[asset]:
                    tail = re.sub(r"[^A-Za-z0-9]+", "_", name)
                    file = written.setdefault(content, f"{len(written)}-{asset}-{tail}.json")
                    write_text(self.assets / file, content)
                    column[asset] = file
        write_json(self.spec_file, {"format": FORMAT, **plain})


def create_run(path: Path) -> RunFolder:
    """A new run folder; refuses one that holds anything already."""
    check_new(path)
    folder = RunFolder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"'{path}' cannot be made: {error.strerror}.", "Choose a folder you own with -o.") from None
    return folder


@contextlib.contextmanager
def or_nothing(folder: RunFolder) -> Iterator[None]:
    """Takes a new run folder away again where the block fails before there is anything to go on from, so that the next
    try may have its name."""
    try:
        yield
    except BaseException:
        if not any(folder.checkpoints.glob("step-*")):
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


def open_run(path: str | Path) -> RunFolder:
    """An existing run folder; says so when it is not one."""
    path = Path(path)
    if not path.exists():
        raise UserError(
            f"There is no run at '{path}'.", "Name the folder that `maquette train` was given with -o, or chose itself."
        )
    if not (path / "recipe.yaml").is_file():
        raise UserError(f"'{path}' is not a run folder: it has no recipe.yaml.", "Name the folder given to -o.")
    return RunFolder(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file; anything else (a pickle, a truncated file) is refused by name."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"'{path}' is missing.", "The run has no weights yet: maquette resume it.")
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise UserError(
            f"'{path}' is refused: not a safetensors file ({error}).", "Nothing was loaded; use an undamaged copy."
        ) from None


def write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, str] | None = None) -> None:
    """Writes a safetensors file atomically; tensors are copied to the CPU, contiguous."""
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic(path) as temporary:
        # As bytes of ours to write: a full disk is then an OSError like any other, and explained.
        temporary.write_bytes(save(plain, about))
