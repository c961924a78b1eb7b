"""Whether a model can be built at all: its sizes are known, and held against memory and files, before it takes any."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn
from torch.overrides import TorchFunctionMode

from maquette.core.errors import UserError
from maquette.core.find import find_family
from maquette.core.hardware import best_device, memory
from maquette.core.model import Model
from maquette.core.recipe import Recipe
from maquette.core.spec import DataSpec, GridSpec
from maquette.core.tensors import misfit

FIT = "Use the recipe.yaml and spec.json that the run was trained with."
VALUE = 1024  # bytes that networks take for each value of an item: what a few layers of 64 channels say of it
TRAINED = 5  # times its weights: they, their gradients, two moments of each, their moving average

_DRAWS = ("normal_", "uniform_", "trunc_normal_", "random_", "exponential_", "bernoulli_")


def outline(recipe: Recipe, spec: DataSpec, trains: bool) -> Model | None:
    """The recipe's model in names and shapes alone; None of a user's own family that looks at values while it is built.

    Raises UserError for settings or shapes that cannot work, and for a model that is larger than the memory there is.
    """
    model = _outline(recipe, spec)
    if model is None:
        return None
    host = not trains or recipe.train.device == "cpu" or best_device() == "cpu"  # a GPU has memory of its own
    weights, item = _bytes(model) * (TRAINED if trains and host else 1), _values(spec) * VALUE * host
    size, there = weights + item, memory()
    if size > there:
        raise UserError(
            f"{'Training this' if trains else 'This'} model takes {size / 2**30:,.1f} GiB of memory at least, and "
            f"{there / 2**30:,.1f} GiB are free.",
            f"Ask for less: {_largest(recipe, spec, model) if weights > item else _shapes(spec)}.",
        )
    return model


def check_weights(model: Model, found: Mapping[str, Sequence[int]], file: Path) -> None:
    """Raises UserError where the weights in a file, shapes by name as its header says, are not those that the networks
    that the model keeps have: what a recipe asks for takes memory only once weights of that size are there."""
    if wrong := misfit(model.kept, found):
        raise UserError(f"'{file}' does not fit the recipe beside it: {wrong}.", FIT)


def _outline(recipe: Recipe, spec: DataSpec) -> Model | None:
    try:
        with torch.device("meta"), _Unfilled():
            model: Model = find_family(recipe.family).build(recipe.config, spec)
    except (NotImplementedError, RuntimeError):
        return None
    return model


class _Unfilled(TorchFunctionMode):
    """Leaves out what draws values: tensors without values have none, and torch imports its compiler to find that out,
    which takes seconds of a slow core."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if getattr(func, "__module__", "") == "torch.nn.init" or name in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        if name in ("randn", "rand"):
            return torch.empty(*args, **{key: value for key, value in kwargs.items() if key != "generator"})
        if name in ("mul", "__rmul__") and getattr(args[0], "is_meta", False) and isinstance(args[1], int | float):
            return torch.empty(args[0].shape, dtype=torch.result_type(*args))
        return func(*args, **kwargs)


def _values(spec: DataSpec) -> int:
    """Of the largest item on a grid."""
    return max((math.prod(c.shape) for c in spec.columns.values() if isinstance(c, GridSpec)), default=0)


def _shapes(spec: DataSpec) -> str:
    return "items are of " + ", ".join("x".join(map(str, column.shape)) for column in spec.columns.values())


def _bytes(model: nn.Module) -> int:
    return sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))


def _largest(recipe: Recipe, spec: DataSpec, model: Model) -> str:
    """What makes a model so large: the setting whose usual value would make it smallest; else its largest tensor."""
    sizes = {}
    for name, value in _unusual(recipe):
        with contextlib.suppress(UserError, ValidationError, ValueError):
            usual = recipe.model_copy(update={"model": {k: v for k, v in recipe.model.items() if k != name}})
            if smaller := _outline(usual, spec):
                sizes[f"model.{name} is {value}"] = _bytes(smaller)
    if sizes and min(sizes.values()) < _bytes(model) / 2:
        return min(sizes, key=lambda name: sizes[name])
    name, tensor = max(model.state_dict().items(), key=lambda item: item[1].numel())
    return f"the largest of them is {name}, {tuple(tensor.shape)}"


def _unusual(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    usual = type(recipe.config).model_construct()
    for name in type(recipe.config).model_fields:
        value = getattr(recipe.config, name)
        if value != getattr(usual, name) and not isinstance(value, str | float | bool):
            yield name, value
