"""Jobs for the engine: a toy family on made-up data, without the data room. Runs as a program, too."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.generator import build_model
from maquette.core.recipe import Recipe, TrainConfig, parse_recipe
from maquette.core.run import RunFolder
from maquette.engine import Job
from maquette.testing import image_spec, made_up_batch

ITEMS = 64


class ToyBatches:
    """Rows of a fixed table, in order; `pause` seconds for each batch let a test interrupt in time."""

    waited_seconds = 0.0

    def __init__(self, table: Batch, size: int, rank: int, world: int, pause: float) -> None:
        self.table, self.size, self.rank, self.world, self.pause = table, size, rank, world, pause

    def batch(self, step: int) -> Batch:
        time.sleep(self.pause)
        share = self.size // self.world
        start = (step * self.size) % ITEMS + self.rank * share
        return self.table.rows(start, start + share)

    def close(self) -> None:
        pass


def toy_job(path: Path, steps: int | None = 20, pause: float = 0.0, model: dict[str, Any] | None = None,
            **train: Any) -> Job:  # fmt: skip
    """A job in `path`; one that is there already is gone on with."""
    settings = {"batch_size": 8, "steps": steps, "precision": "fp32", "compile": "off", "log_every": 2,
                "preview_every": 5, "preview_items": 8, "trackers": (), "device": "cpu", **train}  # fmt: skip
    recipe = Recipe(about="toy", family="toy_family", given=(), model=model or {}, train=TrainConfig(**settings))
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
        batches=lambda size, rank, world: ToyBatches(table, size, rank, world, pause),
        items=ITEMS, reference=table.rows(0, 8), preview=preview, quiet=True,
    )  # fmt: skip


if __name__ == "__main__":
    from maquette.core.errors import MaquetteError
    from maquette.engine import train
    from maquette.engine.world import join_world

    os.write(1, f"{join_world('cpu').size}\n".encode())  # one write: two processes share this line's pipe
    try:
        train(toy_job(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), checkpoint_seconds=float(sys.argv[4])))
    except MaquetteError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    sys.stdout.flush()
    os._exit(0)  # as cli/main.py leaves a process of several, and for its reason
