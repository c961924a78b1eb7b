"""JSON and YAML that anybody may have written: limits are kept, and every fault is a UserError that names the file.

Both come out as None, bool, int, float, str, list and dict, whose keys are strings, each there once. Of YAML, dates
stay strings, and tags (`!!set`) and aliases (`*name`) are refused: few aliases can stand for more than a memory holds.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from maquette.core.errors import UserError

MOST_JSON = 64 * 2**20  # bytes: a tokenizer of a million tokens has 40 MB
MOST_YAML = 128 * 2**10  # bytes: a recipe has 3 kB, and YAML is read slowly
CONTAINERS = 2**22  # or more brackets: each takes 30 times its bytes
DEPTH = 50  # containers within one another
DIGITS = 40  # of a whole number
COPY, COPY_OF_RUN = "Use an undamaged copy of it.", "Restore it from a copy of the run."


def parse_json(content: str | bytes, name: str, remedy: str = COPY, most: int = MOST_JSON) -> Any:
    """What a JSON file holds; NaN and Infinity may stand in it.

    name: of the file, for UserError, which is raised for whatever is wrong with it       most: bytes
    """
    try:
        plain = _characters(content, most)
        if plain.count("[") + plain.count("{") > CONTAINERS:
            raise ValueError(f"it has more than {CONTAINERS:,} lists and objects")
        value = _JSON.decode(plain)
        if _HALF.search(plain):
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair can be written nowhere
        return _shallow(value)
    except (ValueError, RecursionError) as error:
        raise _fault(name, "damaged", error, remedy) from None


def parse_yaml(content: str | bytes, name: str, remedy: str = COPY, most: int = MOST_YAML) -> Any:
    """What a YAML file holds; see parse_json."""
    try:
        return _shallow(yaml.load(_characters(content, most), _Plain))  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _fault(name, "not valid YAML", error, remedy) from None


def read_json(path: Path) -> Any:
    """The JSON of a run in `path`; UserError where it is missing or damaged."""
    return parse_json(characters_of(path), str(path), COPY_OF_RUN)


def characters_of(path: Path, most: int = MOST_JSON) -> str:
    """The characters of a file in UTF-8; UserError where it is missing, no plain file, too long or of other bytes."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, a device may have no end
            raise ValueError("it is no file")
        with path.open("rb") as file:
            return _characters(file.read(most + 1), most)
    except FileNotFoundError:
        raise UserError(f"'{path}' is missing.", "Is the run folder complete?") from None
    except (OSError, ValueError) as error:
        raise _fault(str(path), "not to be read", error, COPY) from None


def brief(error: ValidationError) -> str:
    """What a schema says of the first thing that is wrong: `columns.x.shape: ...`."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}".removeprefix(": ")


def _characters(content: str | bytes, most: int) -> str:
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return content.removeprefix("\ufeff") if isinstance(content, str) else content.decode("utf-8-sig")


def _shallow(value: Any) -> Any:
    """The value, where it is not nested deeper than what reads it can follow."""
    level = [value]
    for _ in range(DEPTH):
        level = [
            part
            for whole in level
            for part in (whole.values() if isinstance(whole, dict) else whole if isinstance(whole, list) else ())
            if isinstance(part, dict | list)
        ]
        if not level:
            return value
    raise RecursionError


def _fault(name: str, what: str, error: Exception, remedy: str) -> UserError:
    if isinstance(error, RecursionError):
        why = f"it is nested more than {DEPTH} deep"
    elif isinstance(error, yaml.MarkedYAMLError):
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        why = f"{', '.join(filter(None, (error.context, error.problem)))}{line}"
    else:
        why = " ".join(str(error).split())
    return UserError(f"'{name}' is {what}: {why[:200]}.", remedy)


# -- JSON --------------------------------------------------------------------------------------------

_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        often = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"'{often}' stands twice in one object")
    return made


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)


_JSON = json.JSONDecoder(object_pairs_hook=_once, parse_int=_whole)


# -- YAML --------------------------------------------------------------------------------------------

_STRING, _INT, _FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float"))
_DROPPED = tuple(f"tag:yaml.org,2002:{name}" for name in ("timestamp", "merge", "value", "yaml"))


class _Plain(yaml.SafeLoader):
    """Makes nothing but what JSON has."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _wrong(f"'*{event.anchor}' stands for what is written elsewhere: write it out", event)
        if tag := getattr(event, "tag", None):
            raise _wrong(f"the tag '{tag}' is not read", event)
        return super().compose_node(parent, index)

    def construct_scalar(self, node: Any) -> Any:
        if node.tag in (_INT, _FLOAT) and len(node.value) > DIGITS:
            raise _wrong(f"a number has {len(node.value):,} digits", node)
        value = super().construct_scalar(node)
        value.encode()  # half of a surrogate pair can be written nowhere
        return value

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if key.tag != _STRING:
                raise _wrong("a key is no string: set quotes around it", key)
            if key.value in seen:
                raise _wrong(f"'{key.value}' stands twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _wrong(problem: str, where: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)


_Plain.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag not in _DROPPED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
