"""What is watched in the previews of a model of tunes while it trains: the held-out loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from maquette.core.model import Model
from maquette.core.spec import DataSpec
from maquette.core.table import Dataset
from maquette.evaluation.over_fitting import OVER_FITTING, held_out_nats

WATCHES = (OVER_FITTING,)


def inspector(dataset: Dataset, spec: DataSpec, column: str) -> Callable[[Model, dict[str, Tensor]], dict[str, float]]:
    """(model, samples of a preview) -> nats per token on a fixed batch of held-out tunes."""
    nats = held_out_nats(dataset, spec, column, np.random.default_rng(0).permutation(len(dataset.test)))
    return lambda model, samples: nats(model)
