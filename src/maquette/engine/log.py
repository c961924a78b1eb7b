"""What training leaves and shows: log.jsonl for programs, trackers for dashboards, lines for people."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from maquette.core.errors import UserError, nearest
from maquette.core.files import atomic, explained
from maquette.core.held import check_held
from maquette.core.progress import in_notebook
from maquette.core.run import RunFolder
from maquette.core.shown import cleaned
from maquette.engine.alarms import Alarm, per_unit

LOCAL = ("tensorboard",)  # trackers that write into the run folder and connect to nothing


class Means:
    """Running means of logged values. Those on a GPU stay there until asked for: reading one back waits for it."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = {}
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, key: str, value: Tensor) -> None:
        plain = value.detach().float() if value.is_cuda else value.item()
        self._sums[key] = self._sums.get(key, 0.0) + plain
        self._counts[key] += 1

    def take(self) -> dict[str, float]:
        """The means since the last call."""
        out = {key: float(total) / self._counts[key] for key, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return out


class Log:
    """`log.jsonl` of a run, mirrored to accelerate's trackers."""

    def __init__(self, folder: RunFolder, trackers: tuple[str, ...], config: Mapping[str, Any]) -> None:
        self._folder = folder
        with explained(folder.log_file):
            self._file = folder.log_file.open("a", encoding="utf-8")
        self._trackers, self._config = trackers, config
        self._accelerator: Any = None

    def write(self, line: Mapping[str, Any]) -> None:
        with explained(self._folder.log_file):
            self._file.write(_line({**line, "time": round(time.time())}))
            self._file.flush()
        if self._trackers and "step" in line and "alarm" not in line:
            self._track(line)

    def alarm(self, alarm: Alarm) -> None:
        fields = asdict(alarm)
        self.write({"alarm": fields.pop("name"), **fields})

    def _track(self, line: Mapping[str, Any]) -> None:
        if self._accelerator is None:
            check_held(self._folder.log_file)  # it makes the folders that it writes into
            self._accelerator = _start_trackers(self._folder, self._trackers, self._config)
        values = {k: v for k, v in line.items() if isinstance(v, int | float) and k != "step"}
        self._accelerator.log(values, step=line["step"])

    def close(self) -> None:
        with explained(self._folder.log_file), self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        if self._accelerator is not None:
            for tracker in self._accelerator.trackers:  # not end_training(): it takes the process group with it
                tracker.finish()


def _line(values: Mapping[str, Any]) -> str:
    return cleaned(json.dumps(values, ensure_ascii=False)) + "\n"


def check_trackers(trackers: Sequence[str], named: bool) -> None:
    """Refuses a tracker that is unknown or not installed, and one that connects and was not named by the user.

    named: whether the user named them in this command or call; a recipe may come from somebody else
    """
    others = [name for name in trackers if name not in LOCAL]
    known = _accelerate().tracking.LOGGER_TYPE_TO_CLASS if others else {}
    for name in others:
        if name not in known:  # and "all" would start whatever is installed
            raise UserError(f"There is no tracker '{name}'.", nearest(name, known))
        if not named:
            raise UserError(
                f"The recipe names the tracker '{name}', which may send what is logged elsewhere; it was not started.",
                f"Name it yourself: --tracker {name} (trackers=['{name}']); or go on without: --tracker none.",
            )
        if importlib.util.find_spec(name) is None:
            raise UserError(f"The tracker '{name}' is not installed.", f"pip install {name}, or --tracker tensorboard.")


def _accelerate() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")  # for notebooks: our progress needs no widgets
        import accelerate.tracking
    return accelerate


def _start_trackers(folder: RunFolder, trackers: tuple[str, ...], config: Mapping[str, Any]) -> Any:
    # Started at the first line rather than with the run: the imports cost a second or two.
    accelerator = _accelerate().Accelerator(log_with=list(trackers), project_dir=folder.path)
    plain = {k: v if isinstance(v, int | float | str | bool) else str(v) for k, v in config.items()}
    accelerator.init_trackers("tracking", plain)
    return accelerator


def rewind(folder: RunFolder, step: int) -> list[Alarm]:
    """Drops log lines after `step`, which a resumed run will write again; returns the alarms that stay."""
    if not folder.log_file.exists():
        return []
    alarms = []
    with atomic(folder.log_file) as temporary, temporary.open("w", encoding="utf-8") as file:
        for line in folder.log():
            if line["step"] <= step:
                file.write(_line(line))
                if "alarm" in line:
                    alarms.append(Alarm(line["alarm"], line["step"], line["saw"], line["advice"]))
    return alarms


def notifier(quiet: bool) -> Callable[[str], None]:
    """Prints lines for people to stderr, or nothing. In a notebook, which shows that in red, to stdout."""

    def notify(line: str) -> None:
        if not quiet:
            print(cleaned(line), file=sys.stdout if in_notebook() else sys.stderr, flush=True)

    return notify


def headline(values: Mapping[str, float]) -> str:
    """What people see of a line of the log: of each phase its loss in nats per unit, or else as it is."""
    shown = []
    for phase in dict.fromkeys(key.partition("/")[0] for key in values if key.endswith("/loss")):
        key = per_unit(phase, values)
        value = f"{values[key or f'{phase}/loss']:.3f}"
        shown.append(f"{phase} {value} {key.partition('/')[2].replace('_', ' ')}" if key else f"{phase} {value}")
    return "  ".join(shown)
