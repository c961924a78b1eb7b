"""Jobs for the engine: a toy family on made-up data, without the data room; here, and in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.errors import MaquetteError
from maquette.core.generator import build_model
from maquette.core.recipe import Recipe, TrainConfig, parse_recipe
from maquette.core.run import RunFolder
from maquette.engine import Job, train
from maquette.engine.world import join_world
from maquette.testing import made_up_batch
from specs import image_spec

ITEMS = 64


def varying(step: int) -> int:
    """Items of a global batch, as one draws them that takes each item by chance: at times none, or too few to share."""
    return (8, 3, 0, 12, 1, 7)[step % 6]


class ToyBatches:
    """Rows of a fixed table, in order; `pause` seconds for each batch let a test interrupt in time."""

    waited_seconds = 0.0

    def __init__(self, table: Batch, size: Callable[[int], int], rank: int, world: int, pause: float = 0.0) -> None:
        self.table, self.size, self.rank, self.world, self.pause = table, size, rank, world, pause

    def batch(self, step: int) -> Batch:
        time.sleep(self.pause)
        size = self.size(step)
        first = step * size % (ITEMS - size)
        return self.table.rows(first + size * self.rank // self.world, first + size * (self.rank + 1) // self.world)

    def close(self) -> None:
        pass


def toy_job(path: Path, steps: int | None = 20, pause: float = 0.0, model: dict[str, Any] | None = None,
            sizes: Callable[[int], int] | None = None, **settings: Any) -> Job:  # fmt: skip
    """A job in `path`; one that is there already is gone on with. sizes: of each step's batch; None: batch_size."""
    train_config = {"batch_size": 8, "steps": steps, "precision": "fp32", "compile": "off", "log_every": 2,
                "preview_every": 5, "preview_items": 8, "trackers": (), "device": "cpu", **settings}  # fmt: skip
    recipe = Recipe(about="toy", family="toy_family", given=(), model=model or {}, train=TrainConfig(**train_config))
    spec = image_spec(1, 8, 8)
    folder = RunFolder(path)
    if folder.recipe_file.exists():
        recipe = parse_recipe(folder.recipe_file.read_text())
    else:
        path.mkdir(parents=True, exist_ok=True)
        folder.write_spec(spec)
        folder.write_recipe(recipe)
    table = made_up_batch(spec, ITEMS)

    def preview(samples: dict[str, Tensor], file: Path) -> None:
        file.with_suffix(".png").write_bytes(b"preview")

    return Job(
        folder=folder, recipe=recipe, spec=spec, model=build_model(recipe, spec),
        batches=lambda size, rank, world: ToyBatches(table, sizes or (lambda step: size), rank, world, pause),
        items=ITEMS, reference=table.rows(0, 8), preview=preview, quiet=True,
        trackers=recipe.train.trackers,
    )  # fmt: skip


# -- jobs in processes of their own ------------------------------------------------------------------

# Forked from a server that has imported torch once, and done nothing with it: they start at once.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["accelerate", "torch._dynamo", "maquette.engine", "maquette.testing"])


class ToyProcess:
    """A toy job that trains in a process of its own; what it prints is in `said`."""

    def __init__(self, path: Path, env: dict[str, str] | None = None, **job: Any) -> None:
        self._file = path.with_name(f"{path.name}.{(env or {}).get('RANK', 0)}.said")
        self.process = _CONTEXT.Process(target=_work, args=(path, self._file, env or {}, job))
        self.process.start()

    @property
    def said(self) -> str:
        return self._file.read_text()

    def send(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait(self, seconds: float = 60.0) -> int | None:
        """The exit code; None where it still runs after so long."""
        self.process.join(seconds)
        return self.process.exitcode


def together(path: Path, processes: int, **job: Any) -> list[ToyProcess]:
    """A toy job in several processes, which find each other as those of torchrun do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        ToyProcess(
            path,
            {"ACCELERATE_USE_CPU": "true"} | {k: str(v) for k, v in (common | {"RANK": r, "LOCAL_RANK": r}).items()},
            **job,
        )
        for r in range(processes)
    ]


def _work(path: Path, file: Path, env: dict[str, str], job: dict[str, Any]) -> None:
    os.environ.update(env)
    with file.open("w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    print(f"processes: {join_world('cpu').size}", file=sys.stderr, flush=True)
    try:
        train(toy_job(path, **job))
    except MaquetteError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(error.exit_code)
    os._exit(0)  # as cli/main.py leaves a process of several, and for its reason
