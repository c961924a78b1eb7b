"""Checkpoints: whole or absent. A damaged one is named, and the one before it is used."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from maquette.core.errors import UserError
from maquette.core.files import atomic_folder, make_folder, write_json
from maquette.core.parse import read_json
from maquette.core.run import read_tensors, write_tensors
from maquette.engine.state import State

_TENSORS, _FACTS = "state.safetensors", "state.json"
_DAMAGE = (UserError, OSError, KeyError, TypeError, ValueError, RuntimeError)


@dataclass(frozen=True)
class Facts:
    """Of a checkpoint: steps done, items seen, seconds trained, all since the run began."""

    step: int
    items: int
    seconds: float


def save(folder: Path, state: State, keep: int) -> Path:
    """Writes `folder/step-<n>` under a temporary name, renames it, and removes all but the last `keep`."""
    final = make_folder(folder) / f"step-{state.step:08d}"
    with atomic_folder(final) as temporary:
        write_tensors(temporary / _TENSORS, state.tensors())
        digest = _digest(temporary / _TENSORS)
        facts = {"step": state.step, "items": state.items, "seconds": state.seconds, "sha256": digest}
        write_json(temporary / _FACTS, facts)
    for old in _all(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
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
            reason = error.problem if isinstance(error, UserError) else str(error)
            notify(f"Checkpoint '{path}' is damaged and was passed over: {reason}")
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


def _whole(path: Path) -> Facts:
    """What a checkpoint says of itself, once its content is found to be undamaged."""
    facts = read_json(path / _FACTS)
    if _digest(path / _TENSORS) != facts["sha256"]:
        raise UserError("its content does not match its checksum")
    return Facts(int(facts["step"]), int(facts["items"]), float(facts["seconds"]))


def _all(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step-*") if p.is_dir()) if folder.is_dir() else []


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
