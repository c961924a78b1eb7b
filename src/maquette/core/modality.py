"""What a modality is: everything that Maquette knows of one kind of column.

A modality is a package found by name: `image` is `maquette.modalities.image`, `my_package.molecule` a user's own. What
is listed in `Modality` stands in its `__init__.py`. What is optional is found by name as well, as an attribute of the
package or of a module in it (see `part`), so that `maquette --help` imports none of it:

    measures.py   MEASURES   tuple[core.measure.Measure, ...]   what is measured of samples beyond what is general
    report.py     SECTIONS   tuple[core.section.Section, ...]   parts of the report
    options.py    OPTIONS    (model, spec) -> tuple[core.option.Option, ...]   of sampling
    verbs.py      VERBS      tuple of click commands            verbs of the command line
    watches.py    WATCHES    tuple[core.model.Watch, ...]       alarms;  inspector(dataset, spec, column) -> Inspect
    features.py   features(...)                                 the network that general distances are measured in
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from maquette.core.find import find_modality

if TYPE_CHECKING:  # they take a second to import, which naming a verb can do without
    import numpy as np
    from torch import Tensor

    from maquette.core.about import About
    from maquette.core.spec import ColumnSpec


class Unreadable(ValueError):
    """One item that cannot be used; the message is the reason, as it is listed."""


@runtime_checkable
class Modality(Protocol):
    """One kind of column. The stored form is what the cache keeps: u8[C, H, W] of a picture, u16[L] of a text."""

    KIND: str
    NOUN: tuple[str, str]  # ("sound", "sounds"): the one place for the word in errors, report and card
    Spec: Any  # type[ColumnSpec], one of the four forms with facts of its own
    Config: Any  # type[BaseModel], its section of a recipe, data.<kind>
    PREVIEW_SUFFIX: str

    if TYPE_CHECKING:
        # What a modality has beyond this is known to who asks for it, not to mypy.
        def __getattr__(self, name: str) -> Any: ...

    def canonical(self, stored: np.ndarray) -> Tensor:
        """Stored items [B, ...] -> canonical tensor [B, ...]."""
        ...

    def write(self, item: Tensor, path: Path, spec: ColumnSpec, about: About) -> Path:
        """Writes one canonical item as a file that says where it comes from; returns the path."""
        ...

    def preview(self, items: Tensor, path: Path, spec: ColumnSpec, captions: Sequence[str], about: About) -> Path:
        """Writes several items as one file that a person can look at (or hear), each under its caption, if any."""
        ...

    def made_up(self, spec: ColumnSpec, items: int, seed: int = 0) -> Tensor:
        """Canonical items that a model can learn something of, for the contract."""
        ...


def part(kind: str, name: str, module: str) -> Any:
    """What a modality may have: its attribute `name`, or that of its module `module`; None where it has neither."""
    modality = find_modality(kind)
    own = vars(modality).get(name)
    if own is not None and not isinstance(own, ModuleType):  # a module of that name is where it may stand
        return own
    package = getattr(modality, "__name__", "")
    if not hasattr(modality, "__path__"):
        return None
    try:
        found = importlib.import_module(f"{package}.{module}")
    except ModuleNotFoundError as error:
        if error.name != f"{package}.{module}":
            raise
        return None
    return getattr(found, name, None)


def noun(kind: str, count: int = 2) -> str:
    """What items of a kind are called: `noun("image", 1)` -> "picture"."""
    return find_modality(kind).NOUN[0 if count == 1 else 1]
