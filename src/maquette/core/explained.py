"""What a schema finds wrong with settings, as one clear line."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ValidationError

from maquette.core.errors import UserError, closest, nearest

EXAMPLE = "`maquette recipes show NAME` prints one that ships."
SHOWN = 100  # characters of a value that cannot be
# What pydantic puts into the place of an error to say which of several types it tried.
_OF_UNIONS = ("literal[", "dict[", "list[", "tuple[", "constrained-", "function-")


def explain(error: ValidationError, schema: type[BaseModel], prefix: str = "") -> UserError:
    """A pydantic error as one clear line: the key, what was given, what was expected, the nearest key."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if not str(part).startswith(_OF_UNIONS)]
    key = (prefix + ".".join(path)).rstrip(".")
    if first["type"] == "extra_forbidden":
        known = list(_keys(schema, path[:-1]))
        close, section = closest(path[-1], known), key.removesuffix(path[-1])  # "model." of model.width
        hint = f"Did you mean '{section}{close}'?" if close else nearest(path[-1], known)
        return UserError(f"There is no setting '{key}'.", hint)
    if first["type"] == "missing":
        return UserError(f"The recipe lacks '{key}'.", EXAMPLE)
    shown = repr(first.get("input"))
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
    return UserError(f"'{key}' cannot be {shown}.", f"{first['msg'].removeprefix('Value error, ')}.")


def _keys(schema: type[BaseModel], path: Sequence[str]) -> list[str]:
    for part in path:
        annotation = schema.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        schema = annotation
    return list(schema.model_fields)
