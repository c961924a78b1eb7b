"""What can be measured of written text: likelihood, translation, variety, copies, form.

As of the general measures, a new one is a new object in a module here.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "MEASURES":  # found when they are asked for: the modules here are also used one by one
        from maquette.evaluation.measures import measures_in

        return measures_in(__name__)
    if name == "digest":
        from maquette.modalities.text.measures.read import text_digest

        return text_digest
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
