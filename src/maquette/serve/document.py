"""The OpenAPI document: for each endpoint what each run can be asked there, from the same schemas that requests are
checked against."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from types import ModuleType

from fastapi import FastAPI

from maquette.serve.asking import Schema
from maquette.serve.catalogue import Described
from maquette.serve.settings import Settings

ROOMS = ("pictures", "edits", "texts", "sounds", "clips", "standing")
ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"}, "type": {"type": "string"}, "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}  # fmt: skip
FAILURES = {
    "400": "It cannot be read.", "401": "The API key is missing or wrong.", "403": "Of a page of another host.",
    "404": "There is no such thing.", "405": "Not by this method.", "408": "The body did not come in time.",
    "409": "The run cannot be served now.", "413": "The body is too large.", "415": "Of another type.",
    "421": "The server does not answer to that name.", "422": "Not as the run can be asked.",
    "429": "The line is full: Retry-After says when to try again.",
    "500": "A fault of ours.", "503": "Not now.", "504": "It took too long.",
}  # fmt: skip


def rooms() -> Iterator[ModuleType]:
    """The modules that have endpoints."""
    for name in ROOMS:
        yield importlib.import_module(f"maquette.serve.{name}")


def forms() -> dict[str, Callable[[Described, Settings], Schema | None]]:
    """What a run can be asked, by path."""
    return {path: form for room in rooms() for path, form in getattr(room, "FORMS", {}).items()}


def forms_of(found: Described, settings: Settings) -> dict[str, Schema]:
    """What one run can be asked, by path."""
    made = {path: form(found, settings) for path, form in forms().items()}
    return {path: form for path, form in made.items() if form is not None}


def document(app: FastAPI, found: list[Described], settings: Settings) -> Schema:
    """The whole of it, of the runs as they are now."""
    from fastapi.openapi.utils import get_openapi

    made = get_openapi(title="Maquette", version=app.version, routes=app.routes, description=app.description)
    made.setdefault("components", {})["schemas"] = {"Error": ERROR}
    of_runs = [forms_of(one, settings) for one in found if not one.reason]
    forms_at = {
        path: [one for forms in of_runs if path in forms for one in forms[path].get("oneOf", [forms[path]])]
        for path in forms()
    }
    files = {path: kind for room in rooms() for path, kind in getattr(room, "ANSWERS", {}).items()}
    for path, there in forms_at.items():
        if not there:  # no run can be asked it
            del made["paths"][path]["post"]
    for path, methods in made["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            for status, words in FAILURES.items():
                content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
                operation["responses"][status] = {"description": words, "content": content}
            if path in files and operation is not methods.get("delete"):
                operation["responses"]["200"]["content"] = files[path]
        if forms_at.get(path):
            kind = "multipart/form-data" if path in _uploads() else "application/json"
            schema: Schema = {"oneOf": forms_at[path]}
            methods["post"]["requestBody"] = {"required": True, "content": {kind: {"schema": schema}}}
    if settings.api_key:
        made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"key": []}]
    return made


def _uploads() -> set[str]:
    return {path for room in rooms() for path in getattr(room, "UPLOADS", ())}
