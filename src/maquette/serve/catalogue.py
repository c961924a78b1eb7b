"""The runs below a folder: what each can be asked, and those that are loaded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.api import Run
from maquette.core.errors import MaquetteError, UserError, nearest
from maquette.core.generator import Generator, build_model
from maquette.core.held import held
from maquette.core.outline import check_weights, outline
from maquette.core.run import RunFolder, open_run, run_paths
from maquette.core.tensors import shapes_in
from maquette.serve import errors
from maquette.serve.errors import Refused

Stamp = tuple[tuple[str, int, int], ...]


@dataclass
class Described:
    """A run as it is on disk, without its weights. generator: of a model in names and shapes alone, for what can be
    asked; reason: why it cannot be served, or ""."""

    name: str
    path: Path
    stamp: Stamp
    created: int
    reason: str = ""
    generator: Generator | None = field(default=None, repr=False)
    run: Run | None = field(default=None, repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def kind(self) -> str:
        """Of what it makes; "" of several targets, and where it cannot be told."""
        spec = self.generator.spec if self.generator else None
        return spec.only().kind if spec and len(spec.target) == 1 else ""


@dataclass
class Loaded:
    """A run with its weights, in memory. more: what goes with it, such as texts under way"""

    described: Described
    run: Run
    size: int
    more: dict[str, Any] = field(default_factory=dict)


class Catalogue:
    """The runs in a folder. `describe` may be called from any thread; `load` from the one that computes."""

    def __init__(self, folder: Path, memory: int, device: str = "auto") -> None:
        self.folder, self.memory, self.device = folder, memory, device
        self._described: dict[str, Described] = {}
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()
        self._lock = threading.Lock()
        self.on_load: Callable[[Loaded], None] = lambda loaded: None

    def names(self) -> dict[str, Path]:
        """The runs that are there now, by the names that they have here."""
        paths = sorted(run_paths(self.folder))
        return {path.relative_to(self.folder).as_posix() if path != self.folder else path.name: path for path in paths}

    def all(self) -> list[Described]:
        """Every run, with the reason why it cannot be served, where there is one."""
        return [self._describe(name, path) for name, path in self.names().items()]

    def describe(self, name: str) -> Described:
        """A run that can be served; refuses any other."""
        path = self._path(name)
        if path is None:
            known = nearest(name[:100], self.names())
            raise Refused(404, f"There is no model '{name[:100]}'. {known}".strip(), "model_not_found", "model")
        found = self._describe(name, path)
        if found.reason:
            raise _unfit(name, found.reason)
        return found

    def _path(self, name: str) -> Path | None:
        """Where a run is: without a look at all of the folder, where it is known already."""
        known = self._described.get(name)
        if known is not None and (known.path / "recipe.yaml").is_file():
            return known.path
        return self.names().get(name)

    def _describe(self, name: str, path: Path) -> Described:
        stamp = _stamp(RunFolder(path))
        with self._lock:
            known = self._described.get(name)
            if known is None or known.stamp != stamp:
                known = self._described[name] = self._looked_at(name, path, stamp)
            return known

    def _looked_at(self, name: str, path: Path, stamp: Stamp) -> Described:
        found = Described(name, path, stamp, max((when for _, when, _ in stamp), default=0) // 10**9)
        try:
            folder = open_run(path)
            spec, recipe = folder.spec(), folder.recipe()
            if not folder.weights_file.is_file():
                raise UserError("It has no weights yet.", "They come with the first checkpoint of its training.")
            folder.manifest.check(folder.weights_file)
            if folder.trained_steps() is None:
                raise UserError("Its weights are damaged.", "Use another copy.")
            model = outline(recipe, spec, trains=False) or build_model(recipe, spec)
            check_weights(model, shapes_in(folder.weights_file), folder.weights_file)
            found.generator, found.run, found.facts = Generator.described(model, spec), Run(folder), folder.data()
        except MaquetteError as error:
            found.reason = errors.of(error).message
        except Exception as error:  # of whatever a stranger wrote into it: never the others' concern
            found.reason = f"It is damaged: {type(error).__name__}."
        return found

    # -- with weights ------------------------------------------------------------------------------------

    def load(self, name: str, busy: Callable[[Loaded], bool] = lambda loaded: False) -> Loaded:
        """A run in memory as it is on disk now; those that were used least recently leave, where they are not busy."""
        described = self.describe(name)
        kept = self._loaded.get(name)
        if kept is not None and kept.described.stamp == described.stamp:
            self._loaded.move_to_end(name)
            return kept
        self._loaded.pop(name, None)
        size = described.path.joinpath("weights.safetensors").stat().st_size
        if size > self.memory:
            raise Refused(503, f"The run '{name}' is larger than the memory that is set for runs.", "out_of_memory")
        for other in [key for key, one in self._loaded.items() if not busy(one)]:
            if self.held + size <= self.memory:
                break
            del self._loaded[other]
        try:
            run = Run(open_run(described.path), device=self.device)
            with held(run.folder.path):
                loaded = Loaded(described, run, size)
                run.generator.model.requires_grad_(False)
        except UserError as error:  # it is the run that does not fit, not what was asked of it
            raise _unfit(name, errors.of(error).message) from error
        self.on_load(loaded)
        self._loaded[name] = loaded
        return loaded

    @property
    def held(self) -> int:
        """Bytes of the weights in memory."""
        return sum(one.size for one in self._loaded.values())

    @property
    def loaded(self) -> list[str]:
        """The runs in memory, the one used last at the end."""
        return list(self._loaded)


def _unfit(name: str, why: str) -> Refused:
    return Refused(409, f"The run '{name}' cannot be served: {why}", "model_not_ready", "model")


def _stamp(folder: RunFolder) -> Stamp:
    """What changes where a run does."""
    files = (folder.recipe_file, folder.spec_file, folder.weights_file, folder.manifest_file, folder.data_file)
    found = []
    for file in (*files, *sorted(folder.assets.glob("*"))):
        try:
            there = file.stat()
            found.append((file.name, there.st_mtime_ns, there.st_size))
        except OSError:
            continue
    return tuple(found)
