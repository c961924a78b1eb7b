"""Honest numbers about a generator: on held-out data, with intervals, beside what real data scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maquette.evaluation.judge import evaluate
    from maquette.evaluation.likelihood import Effort
    from maquette.evaluation.results import (
        HEADER,
        ClassRow,
        CopiedPassage,
        Copy,
        Evaluation,
        FormRow,
        Metric,
        Settings,
    )

__all__ = [
    "HEADER",
    "ClassRow",
    "CopiedPassage",
    "Copy",
    "Effort",
    "Evaluation",
    "FormRow",
    "Metric",
    "Settings",
    "evaluate",
]


def __getattr__(name: str) -> Any:
    import importlib

    where = {"evaluate": "judge", "Effort": "likelihood"}.get(name, "results")
    if name in __all__:
        return getattr(importlib.import_module(f"maquette.evaluation.{where}"), name)
    raise AttributeError(f"module 'maquette.evaluation' has no attribute {name!r}")
