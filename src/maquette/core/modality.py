"""What a modality is: everything that Maquette knows of one kind of column.

A modality is a package found by name: `image` is `maquette.modalities.image`, `my_package.molecule` a user's own. What
is listed in `Modality` stands in its `__init__.py`. What is optional is found by name as well, as an attribute of the
package or of a module in it (see `part`), so that `maquette --help` imports none of it:

    measures.py   MEASURES   tuple[core.measure.Measure, ...]   what is measured of samples beyond what is general
    report.py     SECTIONS   tuple[core.section.Section, ...]   parts of the report
    watches.py    WATCHES    tuple[core.model.Watch, ...]       alarms;  inspector(dataset, spec, column) -> Inspect
    features.py   features(...)                                 the network that general distances are measured in

What people ask of it and see of it:

    values.py   asked(value, spec, notify) -> Tensor   one canonical item of what a person gives (`--label seven`)
                caption(item, spec) -> str             an item in a few words; "" where it has none
                view(item, spec) -> Any                an item as Python has it: a string, a PIL object, a float
                PRINTED    True: samples are shown on the terminal, as `sheet` and `view` have them; RULE between them
                CAPTIONED  False: a preview has no room for captions
    options.py  OPTIONS(model, spec) -> tuple[Option, ...]     of sampling; spec: of the target column
                plan(generator, column, asked, given, n, facts) -> core.option.Plan   what they ask of the model
                stream(generator, column, asked, given, seed, item, facts) -> Iterator[str]   an item as it is made
                facts(dataset, spec, column) -> dict           what a run keeps of its data for sampling (data.json)
                DATA_OPTIONS  tuple[Option, ...]               of `train`: keys of its Config
                first_command(spec, run) -> str                what to try after training
    verbs.py    VERBS     tuple of click commands, whose context object is a function (run, device) -> api.Run
                EXAMPLES  tuple of lines for `maquette --help`;  imports nothing but click
    tools.py    TOOLS     name -> function of a Run: `run.<name>` is what it returns
                best(generator) -> function of given tensors, or None   the best targets, where there is such a way
    content.py  content(table, column) -> Iterator[bytes]      what is the same however it is read (windows)
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from maquette.core.find import find_modality, modalities_with

if TYPE_CHECKING:  # they take a second to import, which naming a verb can do without
    import numpy as np
    from torch import Tensor

    from maquette.core.about import About
    from maquette.core.option import Option
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
    if own is not None and not isinstance(own, ModuleType):  # a module may have the name of what is in it
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


def data_options() -> dict[str, Option]:
    """How data may be prepared: DATA_OPTIONS of the modalities, by the key of the recipe, `data.<kind>.<name>`."""
    found = {}
    for kind in modalities_with("options"):
        for option in part(kind, "DATA_OPTIONS", "options") or ():
            found[f"data.{kind}.{option.name}"] = option
    return found


def noun(kind: str, count: int = 2) -> str:
    """What items of a kind are called: `noun("image", 1)` -> "picture"."""
    return find_modality(kind).NOUN[0 if count == 1 else 1]
