"""Checkpoints: whole or absent. A damaged one is named, and the one before it is used."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maquette.core.errors import UserError
from maquette.core.files import atomic_folder, make_folder, temporary_folder, write_json
from maquette.core.manifest import Manifest, digest
from maquette.core.parse import brief, read_json
from maquette.core.tensors import read_tensors, write_tensors
from maquette.engine.state import State

_TENSORS, _FACTS = "state.safetensors", "state.json"
_DAMAGE = (UserError, OSError, ValueError)


class Facts(BaseModel):
    """Of a checkpoint: steps done, items seen, seconds trained, all since the run began."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    step: int = Field(ge=0)
    items: int = Field(ge=0)
    seconds: float = Field(ge=0)


def save(folder: Path, state: State, keep: int) -> Path:
    """Writes `folder/step-<n>` under a temporary name, renames it, and removes all but the last `keep`; later ones too,
    which were passed over as damaged."""
    final = make_folder(folder) / _name(state.step)
    with atomic_folder(final) as temporary:
        write_tensors(temporary / _TENSORS, state.tensors())
        write_json(temporary / _FACTS, Facts(step=state.step, items=state.items, seconds=state.seconds).model_dump())
        Manifest(temporary).record([temporary / _TENSORS, temporary / _FACTS], alone=True)
    found = _all(folder)
    with temporary_folder(folder, "gone") as gone:  # a kill leaves none half removed, which would look damaged
        for old in set(found) - set(found[: found.index(final) + 1][-keep:]):
            with contextlib.suppress(OSError):
                old.rename(gone / old.name)
    return final


def load_latest(folder: Path, state: State, notify: Callable[[str], None]) -> bool:
    """Loads the newest checkpoint that is whole; False when there is none at all.

    Each damaged one is named through `notify`. Raises UserError when every one is damaged.
    """
    found = _all(folder)
    for path in reversed(found):
        try:
            facts = _whole(path)
            state.load(read_tensors(path / _TENSORS))
        except _DAMAGE as error:
            notify(f"Checkpoint '{path}' is damaged and was passed over: {_reason(error)}")
            continue
        state.step, state.items, state.seconds = facts.step, facts.items, facts.seconds
        return True
    if found:
        raise UserError(
            f"Every checkpoint under '{folder}' is damaged.", "Remove that folder to train this run from the start."
        )
    return False


def newest(folder: Path) -> Facts | None:
    """Of the newest checkpoint that is whole; None where there is none."""
    for path in reversed(_all(folder)):
        with contextlib.suppress(*_DAMAGE):
            return _whole(path)
    return None


def checked(folder: Path) -> dict[Path, str]:
    """Every checkpoint, and what is wrong with it; "" where it is whole."""
    found = dict.fromkeys(_all(folder), "")
    for path in found:
        try:
            _whole(path)
            read_tensors(path / _TENSORS)
        except _DAMAGE as error:
            found[path] = _reason(error)
    return found


def _whole(path: Path) -> Facts:
    """What a checkpoint says of itself, once its content is found to be undamaged."""
    manifest = Manifest(path)
    manifest.check(path / _FACTS)
    manifest.check(path / _TENSORS)
    plain = read_json(path / _FACTS)
    if manifest.listed() is None:  # of an earlier version
        known = plain.get("sha256") if isinstance(plain, dict) else None
        if digest(path / _TENSORS) != known:
            raise UserError(f"{_TENSORS} is not what {_FACTS} says.")
    try:
        facts = Facts.model_validate(plain)
    except ValidationError as error:
        raise UserError(f"{_FACTS}: {brief(error)}") from None
    if path.name != _name(facts.step):
        raise UserError(f"{_FACTS} is of step {facts.step:,}.")
    return facts


def _reason(error: Exception) -> str:
    return error.problem if isinstance(error, UserError) else str(error)


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _all(folder: Path) -> list[Path]:
    """Checkpoints by their steps."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{8,}", path.name) and path.is_dir()]
    return sorted(found, key=lambda path: (len(path.name), path.name))
