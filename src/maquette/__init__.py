"""Maquette: train small generative models of your own data, from scratch, on the machine you have.

import maquette
run = maquette.train("image/gan", data="digits", out="runs/a", budget="2m")
run.sample(16, label=3, seed=1)      # pictures that display themselves in a notebook
run.evaluate()                       # numbers with intervals, each beside its floor
run.report()                         # one HTML file
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # nothing is imported here that Python has not imported already: see __main__.py
if TYPE_CHECKING:
    from typing import Any

    from maquette.api import Run, compare, inspect, load, recipes, train
    from maquette.core.errors import MaquetteError, UserError
    from maquette.core.samples import Samples
    from maquette.modalities.text.writing import Decoding
    from maquette.overview import runs

# Found on first use: importing torch takes a second, and `maquette --help` should not.
_HOMES = {
    "Run": "maquette.api",
    "compare": "maquette.api",
    "inspect": "maquette.api",
    "load": "maquette.api",
    "recipes": "maquette.api",
    "train": "maquette.api",
    "MaquetteError": "maquette.core.errors",
    "UserError": "maquette.core.errors",
    "Samples": "maquette.core.samples",
    "Decoding": "maquette.modalities.text.writing",
    "runs": "maquette.overview",
}
__all__ = [
    "Decoding",
    "MaquetteError",
    "Run",
    "Samples",
    "UserError",
    "__version__",
    "compare",
    "inspect",
    "load",
    "recipes",
    "runs",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("maquette")
        except PackageNotFoundError:  # run from a source tree that is not installed
            return "0+unknown"
    raise AttributeError(f"module 'maquette' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
