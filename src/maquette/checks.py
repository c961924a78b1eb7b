"""Whether a run is as it was written: each file by its digest, and all of it as it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.core.run import RunFolder
from maquette.engine import checkpoint


@dataclass(frozen=True)
class Checked:
    """A file of a run, by its name there, or a checkpoint.

    state: "whole", "changed", "missing" or "damaged"; "unknown" of what is no part of a run      why: of damage
    """

    name: str
    state: str
    why: str = ""


def check_run(folder: RunFolder) -> list[Checked]:
    """Each file that things are made from, each checkpoint, and what is no part of a run. What is for people (the log,
    samples, the report) is in no manifest. Raises UserError where there is no manifest, or a damaged one."""
    manifest = folder.manifest
    listed = manifest.listed()
    if listed is None:
        raise UserError(
            f"'{folder.path}' has no {manifest.file.name}: nobody can tell whether its files are undamaged.",
            "`maquette resume` lists what is there from then on.",
        )
    found = {name: Checked(name, manifest.standing(folder.path / name)) for name in listed}
    reads: dict[Path, Callable[[], Any]] = {
        folder.spec_file: folder.spec, folder.data_file: folder.data, folder.recipe_file: folder.recipe,
        folder.weights_file: folder.weights,
    }  # fmt: skip
    for file, read in reads.items():
        if file.is_file() and found.get(file.name, Checked("", "whole")).state == "whole":
            try:
                read()
            except UserError as error:
                found[file.name] = Checked(file.name, "damaged", error.problem)
    steps = checkpoint.checked(folder.checkpoints)
    states = [Checked(_within(path, folder), "damaged" if why else "whole", why) for path, why in steps.items()]
    unknown = [Checked(_within(path, folder), "unknown") for path in folder.unknown() if path not in steps]
    return [*found.values(), *states, *unknown]


def _within(path: Path, folder: RunFolder) -> str:
    return path.relative_to(folder.path).as_posix()
