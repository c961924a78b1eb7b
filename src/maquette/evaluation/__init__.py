"""Honest numbers about a generator: on held-out data, with intervals, beside what real data scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maquette.evaluation.judge import evaluate, feature_names
    from maquette.evaluation.measures.likelihood import Effort
    from maquette.evaluation.results import HEADER, Evaluation, Metric, Settings

__all__ = ["HEADER", "Effort", "Evaluation", "Metric", "Settings", "evaluate", "feature_names"]

_WHERE = {"evaluate": "judge", "feature_names": "judge", "Effort": "measures.likelihood"}


def __getattr__(name: str) -> Any:
    import importlib

    if name in __all__:
        return getattr(importlib.import_module(f"maquette.evaluation.{_WHERE.get(name, 'results')}"), name)
    raise AttributeError(f"module 'maquette.evaluation' has no attribute {name!r}")
