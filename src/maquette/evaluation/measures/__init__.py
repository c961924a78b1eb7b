"""The measures that any kind of item can have. A new one is a new object in a module here, and nothing else."""

from __future__ import annotations

import importlib
import pkgutil

from maquette.core.measure import Measure


def measures_in(package: str) -> tuple[Measure, ...]:
    """MEASURES of every module of a package, by the names of the modules."""
    paths = importlib.import_module(package).__path__
    modules = sorted(module.name for module in pkgutil.iter_modules(paths))
    found = (getattr(importlib.import_module(f"{package}.{name}"), "MEASURES", ()) for name in modules)
    return tuple(measure for measures in found for measure in measures)
