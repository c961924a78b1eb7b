"""What a request may hold, as JSON schema made from a run's own options, and what it did hold, checked against that.

The same schemas stand in the OpenAPI document: what it says is what is checked.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from maquette.core.errors import closest
from maquette.core.modality import noun
from maquette.core.option import MANY, OF_ANY_SAMPLE, Option
from maquette.core.spec import ClassSpec, NumberSpec, TokenSpec
from maquette.serve.catalogue import Described
from maquette.serve.errors import Refused
from maquette.serve.settings import Settings

Schema = dict[str, Any]
SHOWN = 60  # characters of a value that stand in a message
NESTED = 64  # how deep a body may be


def form(described: Described, properties: Mapping[str, Schema], required: Iterable[str] = ()) -> Schema:
    """The schema of a body for one run: nothing beyond these."""
    model = {"const": described.name, "description": "The run."}
    return {
        "type": "object", "title": described.name, "properties": {"model": model, **properties},
        "required": ["model", *required], "additionalProperties": False,
    }  # fmt: skip


def own(described: Described, settings: Settings) -> dict[str, Schema]:
    """The fields that a run's own options are, and those of any sample."""
    general = {option.name: option.schema for option in OF_ANY_SAMPLE}
    general["n"] |= {"maximum": settings.n, "default": 1, "description": "How many."}
    if not options(described) or not described.generator or not described.generator.spec.given:
        general.pop("unconditional")
    return {**general, **{option.name: _limited(option.schema, settings) for option in options(described)}}


def options(described: Described) -> list[Option]:
    """What of a run's options can be asked for over a network: nothing that is the path of a file."""
    assert described.generator is not None
    return [o for o in described.generator.options if o.only == "" and not o.file]


def _limited(schema: Schema, settings: Settings) -> Schema:
    """Strings within their limit."""
    if "anyOf" in schema:
        schema = {**schema, "anyOf": [_limited(one, settings) for one in schema["anyOf"]]}
    most = min(settings.characters, schema.get("maxLength", settings.characters))
    return {**schema, "maxLength": most} if schema.get("type") == "string" else schema


def prompt(described: Described, settings: Settings) -> tuple[str, Schema]:
    """The column that a prompt of what is no text stands for: its text, else its first label ("" of a run that has
    neither); and what the prompt may be."""
    assert described.generator is not None
    spec = described.generator.spec
    column = next(iter(spec.givens(TokenSpec)), None) or next(iter(spec.givens(ClassSpec)), "")
    if not column:
        return "", {"const": "", "description": "This run is given nothing: leave it empty."}
    form = spec.columns[column]
    if isinstance(form, ClassSpec):
        drawn = {"enum": ["", *form.classes], "description": f"The {column}; empty: drawn by its share."}
        return column, {"type": "string", **drawn, "default": ""}
    return column, {"type": "string", "maxLength": settings.characters, "description": f"The {column}."}


def checked(form: Schema, body: Any) -> dict[str, Any]:
    """The body, as its form says it must be; refuses any other with one sentence."""
    if not isinstance(body, dict):
        raise Refused(422, "The body is no JSON object.", "invalid_body")
    known = form["properties"]
    if unknown := [name for name in body if name not in known]:
        name = unknown[0][:SHOWN]
        near = closest(name, known)
        meant = f"Did you mean '{near}'?" if near else f"It takes {', '.join(known)}."
        raise Refused(422, f"'{form['title']}' takes no '{name}' here. {meant}", "unknown_field", name)
    error = best_match(
        Draft202012Validator(form).iter_errors(body), key=lambda e: (-len(e.path), e.validator == "anyOf")
    )
    if error is not None:
        raise _refusal(error, form)
    return {name: _whole(known[name], value) for name, value in body.items() if value is not None}


def _whole(schema: Schema, value: Any) -> Any:
    """A whole number as such, where it came as 7.0, which is one in JSON: except where any number may stand."""
    if isinstance(value, list):
        return [_whole(schema, one) for one in value]
    if isinstance(value, float) and value.is_integer() and "number" not in _kinds(schema):
        return int(value)
    return value


def _kinds(schema: Schema) -> set[Any]:
    """The types that a value may have."""
    types = [one.get("type") for one in (schema, *schema.get("anyOf", ()))]
    return {one for kind in types for one in (kind if isinstance(kind, list) else [kind])}


def _refusal(error: ValidationError, form: Schema) -> Refused:
    if error.validator == "required":
        missing = next(name for name in form["required"] if name not in error.instance)
        return Refused(422, f"'{missing}' is missing.", "missing_field", missing)
    if error.validator == "not":
        either = (one["required"] for one in error.validator_value["anyOf"])
        both = next(names for names in either if {*names} <= {*error.instance})
        return Refused(422, f"{' and '.join(both)} exclude one another.", "invalid_value", both[-1])
    name = str(error.absolute_path[0]) if error.absolute_path else None
    value = json.dumps(error.instance, ensure_ascii=True)
    shown = value if len(value) <= SHOWN else f"{value[:SHOWN]}..."
    where = ".".join(map(str, error.absolute_path)) or "The body"
    return Refused(422, f"{where} = {shown} is not possible. It must be {_words(error.schema, error.instance)}.",
                   "invalid_value", name)  # fmt: skip


def _words(schema: Any, value: Any) -> str:
    """What a value must be."""
    if not isinstance(schema, Mapping):
        return "something else"
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        near = closest(value, map(str, schema["enum"])) if isinstance(value, str) and len(value) < SHOWN else None
        few = [one for one in schema["enum"] if one != ""][:10]
        more = ", ..." if sum(one != "" for one in schema["enum"]) > 10 else ""
        return f"'{near}', perhaps" if near else f"one of {', '.join(map(str, few))}{more}"
    if "anyOf" in schema and "type" not in schema:
        return " or ".join(dict.fromkeys(_words(one, value) for one in schema["anyOf"]))
    kind = schema.get("type", "")
    words = {"integer": "a whole number", "number": "a number", "string": "a string", "boolean": "true or false",
             "array": "a list", "object": "an object",
             "null": "null"}.get(kind, "a value")  # fmt: skip
    for key, said in (("minimum", "from {}"), ("exclusiveMinimum", "above {}"), ("maximum", "up to {}"),
                      ("minLength", "of {} characters at least"), ("maxLength", "of {} characters at most"),
                      ("minItems", "of {} at least"), ("maxItems", "of {} at most")):  # fmt: skip
        if key in schema:
            words += f" {said.format(schema[key])}"
    if "pattern" in schema:
        words += ", in characters that the model knows"
    if any("const" in one for one in schema.get("anyOf", ())):
        words += f", {_words({'anyOf': schema['anyOf']}, value)}"
    return words


def parsed(content: bytes) -> Any:
    """A body of JSON: UTF-8, no NaN, no number beyond f64, not nested without end, no name twice."""

    def no(word: str) -> Any:
        raise ValueError(f"{word} is no number of JSON")

    def number(word: str) -> float:
        made = float(word)
        return made if math.isfinite(made) else no(word[:20])

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(made := dict(found)) < len(found):
            raise ValueError("a name stands twice in one object")
        return made

    try:
        text = content.decode("utf-8")
        made = json.loads(text, parse_constant=no, parse_float=number, object_pairs_hook=pairs)
        json.dumps(made, ensure_ascii=False).encode("utf-8")  # halves of surrogate pairs
        _bounded(made)
        return made
    except (ValueError, RecursionError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeError) else str(error)[:100] or "it is nested too deeply"
        raise Refused(400, f"The body is no JSON: {why}.", "invalid_json") from None


def _bounded(made: Any) -> None:
    """Refuses what takes long to hold against a schema: lists without end, and depth."""
    level = [made]
    for _ in range(NESTED):
        if any(isinstance(one, list) and len(one) > MANY for one in level):
            raise Refused(422, f"A list holds {MANY} values at most here.", "invalid_value")
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [value for values in inner for value in values]
        if not level:
            return
    raise ValueError("it is nested too deeply")


def typed(form: Schema, fields: Mapping[str, str]) -> dict[str, Any]:
    """Fields of a form, which come as strings, in the types that they are to have."""
    return {name: _typed(form["properties"].get(name, {}), value) for name, value in fields.items()}


def _typed(schema: Schema, value: str) -> Any:
    kinds = _kinds(schema)
    names = [name for one in schema.get("anyOf", ()) for name in one.get("enum", ())]
    if "integer" in kinds and re.fullmatch(r"-?\d{1,20}", value, re.ASCII) and value not in names:
        return int(value)
    if "number" in kinds and re.fullmatch(r"-?\d{1,20}(\.\d{1,20})?(e-?\d{1,3})?", value, re.ASCII):
        return float(value)
    if "boolean" in kinds and value in ("true", "false"):
        return value == "true"
    return value


def given_of(described: Described, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields that are given columns, by the columns' own names; and the run's other options."""
    assert described.generator is not None
    columns = described.generator.columns
    known = {option.name for option in options(described)}
    given = {columns[name]: value for name, value in fields.items() if name in columns}
    return given, {name: value for name, value in fields.items() if name in known and name not in columns}


def makes(described: Described) -> str:
    """What a run makes, in words."""
    spec = described.generator.spec if described.generator else None
    return ", ".join(noun(spec.columns[name].kind) for name in spec.target) if spec else "nothing"


def plain_columns(described: Described) -> dict[str, str]:
    """The given columns that can be said by a value, by the name of their option."""
    assert described.generator is not None
    forms = described.generator.spec.columns
    return {
        option: name for option, name in described.generator.columns.items()
        if isinstance(forms[name], ClassSpec | NumberSpec | TokenSpec)
    }  # fmt: skip
