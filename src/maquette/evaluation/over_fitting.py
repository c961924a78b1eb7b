"""Over-fitting, watched while a model that writes token by token trains: its loss on a batch of held-out items."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from maquette.core.model import Model, Streams, Watch
from maquette.core.spec import DataSpec
from maquette.core.table import Dataset
from maquette.evaluation.measures.tokens import batch_nats

TOKENS = 4096  # of the held-out batch
HELD_OUT = "preview/held_out_nats"
OVER_FITTING = Watch(
    name="over-fitting",
    key="preview/over_fitting",  # the engine derives it from HELD_OUT: how far that has risen above its best
    above=0.05,
    patience=0.1,
    after=0.1,
    saw="the loss on what is held out has risen above its best (share of it)",
    advice="fewer steps, a smaller model, more dropout or weight decay, or more data",
)


def held_out_nats(
    dataset: Dataset, spec: DataSpec, column: str, rows: np.ndarray
) -> Callable[[Model], dict[str, float]]:
    """model -> {HELD_OUT: nats per token} on the first of these held-out rows; {} of a model that tells none."""
    batch = dataset.test.batch(_some(rows, dataset, spec, column), spec) if len(rows) else None

    def nats(model: Model) -> dict[str, float]:
        if batch is None or not isinstance(model, Streams) or len(spec.target) > 1:
            return {}
        return {HELD_OUT: batch_nats(model, batch, _device(model))}

    return nats


def _some(rows: np.ndarray, dataset: Dataset, spec: DataSpec, column: str) -> np.ndarray:
    """Held-out rows of about TOKENS tokens together."""
    lengths = dataset.test.lengths(spec)
    own = dataset.test.columns[column].lengths
    width = spec.columns[column].shape[0] if lengths is None or own is None else float(np.asarray(own)[rows].mean())
    return rows[: max(1, int(TOKENS / max(width, 1)))]


def _device(model: torch.nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))
