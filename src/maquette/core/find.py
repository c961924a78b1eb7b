"""Finds families, modalities and recipes by name. There is no registry to keep in step."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import pkgutil
import sys
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from maquette.core.errors import UserError, closest, nearest

if TYPE_CHECKING:  # it imports torch, which listing recipes can do without
    from maquette.core.modality import Modality


@functools.cache
def _names_in(package: str) -> list[str]:
    found = importlib.util.find_spec(package)
    paths = found.submodule_search_locations if found else None
    return sorted(m.name for m in pkgutil.iter_modules(paths or []) if not m.name.startswith("_"))


def find_family(name: str) -> ModuleType:
    """The module of a family: `gan` -> `maquette.models.gan`; any other name is a user's own module.

    It exports Config (pydantic), SUPPORTS (forms of its targets, e.g. (GridSpec,)) and build(config, spec) -> Model.
    """
    known = _names_in("maquette.models")
    if not all(part.isidentifier() for part in name.split(".")):
        raise UserError(f"There is no model family '{name}'.", nearest(name, known))
    own = "." in name or (name not in known and importlib.util.find_spec(name) is not None)
    dotted = name if own else f"maquette.models.{name}"
    try:
        module = importlib.import_module(dotted)
    except ModuleNotFoundError as error:
        if error.name is None or not dotted.startswith(error.name):
            raise  # the family exists; something that it imports does not
        raise UserError(f"There is no model family '{name}'.", nearest(name, known)) from None
    missing = [part for part in ("Config", "SUPPORTS", "build") if not hasattr(module, part)]
    if missing:
        raise UserError(
            f"Module '{dotted}' is not a model family: it lacks {', '.join(missing)}.",
            "See docs/add_a_model.md.",
        )
    return module


def refuse_foreign_family(name: str, where: str) -> None:
    """Raises UserError when a file names a family that is not ours and that nobody has vouched for.

    Finding a family imports it, and a run or a recipe that somebody sent must not choose what is executed. A module
    that is imported already, or is named in MAQUETTE_FAMILIES, is the user's own choice.
    """
    vouched = filter(None, os.environ.get("MAQUETTE_FAMILIES", "").split(","))
    known = _names_in("maquette.models")
    if name in known or name in sys.modules or name in vouched:
        return
    meant = closest(name, known)
    raise UserError(
        f"'{where}' uses the family '{name}', which is not part of Maquette; it was not imported.",
        (f"Did you mean '{meant}'? " if meant else "")
        + f"If you trust that module: set MAQUETTE_FAMILIES={name}, or import it first.",
    )


def modality_names() -> list[str]:
    """Modalities that can be found: those that ship, and the user's own."""
    return [*_names_in("maquette.modalities"), *own_modalities()]


def own_modalities() -> list[str]:
    """The user's own modalities: named in MAQUETTE_MODALITIES, or imported."""
    named = [name.strip() for name in os.environ.get("MAQUETTE_MODALITIES", "").split(",")]
    imported = [
        name for name, module in list(sys.modules.items()) if getattr(module, "__dict__", {}).get("KIND") == name
    ]
    return list(dict.fromkeys([*filter(None, named), *imported]))


def modalities_with(module: str) -> list[str]:
    """Modalities that have a module of this name; of those that ship none is imported to see it."""
    root = importlib.util.find_spec("maquette.modalities")
    paths = list(root.submodule_search_locations or []) if root else []
    found = []
    for kind in modality_names():
        if any((Path(path) / kind).is_dir() for path in paths):
            if any((Path(path) / kind / f"{module}.py").is_file() for path in paths):
                found.append(kind)
        elif importlib.util.find_spec(kind) and _has(kind, module):
            found.append(kind)
    return found


def _has(package: str, module: str) -> bool:
    """Whether a package of a user's own has a module; a modality that is one module has none."""
    try:
        return importlib.util.find_spec(f"{package}.{module}") is not None
    except ModuleNotFoundError:
        return False


def find_modality(kind: str) -> Modality:
    """The package of a modality: `label` -> `maquette.modalities.label`; any other name is a user's own module.

    A name that is not part of Maquette is imported only where the user vouched for it: by MAQUETTE_MODALITIES, or by
    an import of their own.
    """
    shipped = _names_in("maquette.modalities")
    ours = kind in shipped
    if not ours and kind not in modality_names() and kind not in sys.modules:
        raise UserError(
            f"Maquette knows no columns of the kind '{kind}'.",
            f"{nearest(kind, modality_names())} A modality of your own: set MAQUETTE_MODALITIES={kind}, or import it.",
        )
    dotted = f"maquette.modalities.{kind}" if ours else kind
    try:
        module = importlib.import_module(dotted)
    except ModuleNotFoundError as error:
        if error.name is None or not dotted.startswith(error.name):
            raise
        raise UserError(f"There is no modality '{kind}'.", nearest(kind, modality_names())) from None
    # A package that finds its parts when they are asked for is not made to import them all only to be named.
    lazy = "__getattr__" in vars(module)
    required = ("KIND", "NOUN") if lazy else ("KIND", "NOUN", "Spec", "Config")
    if missing := [part for part in required if part not in vars(module)]:
        raise UserError(
            f"Module '{dotted}' is not a modality: it lacks {', '.join(missing)}.", "See docs/add_a_modality.md."
        )
    return cast("Modality", module)


def recipe_names() -> list[str]:
    """Names of the shipped recipes, `<folder>/<name>`."""
    root = cast(Any, files("maquette")) / "recipes"
    return sorted(
        f"{folder.name}/{item.name.removesuffix('.yaml')}"
        for folder in root.iterdir()
        if folder.is_dir()
        for item in folder.iterdir()
        if item.name.endswith(".yaml")
    )


def recipe_text(name: str) -> str:
    """What stands in a recipe: a shipped one by name, or the path of a YAML file."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"There is no recipe file '{name}'.", "`maquette recipes` lists those that ship.")
        from maquette.core.parse import MOST_YAML, characters_of  # YAML, which listing recipes can do without

        return characters_of(path, MOST_YAML)
    if name not in recipe_names():
        raise UserError(f"There is no recipe '{name}'.", f"{nearest(name, recipe_names())} See `maquette recipes`.")
    return (files("maquette") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")


def runs_from(start: str) -> list[str]:
    """Run folders whose paths begin as what is typed, as it is typed; of nothing, those in `runs` too, where they are
    made."""
    place, slash, name = start.rpartition("/")
    found = []
    for parent in (place + slash, "runs/") if not start else (place + slash,):
        with contextlib.suppress(OSError, RuntimeError):  # no such folder, or user; or not to be read
            runs = (path.parent for path in Path(parent).expanduser().glob("*/recipe.yaml"))
            found += sorted(f"{parent}{run.name}" for run in runs if run.name.startswith(name))
    return found


def kinds_of_run(path: str) -> list[str]:
    """The kinds of what the run in a folder makes, as its specification says; [] where there is none to be read. Who
    loads the run finds out whether it is as it was written."""
    from maquette.core.parse import read_json

    with contextlib.suppress(UserError, OSError, ValueError, KeyError, TypeError, AttributeError):
        file = Path(path) / "spec.json"
        if file.is_file():
            plain = read_json(file)
            return [str(plain["columns"][name]["kind"]) for name in plain["target"]]
    return []
