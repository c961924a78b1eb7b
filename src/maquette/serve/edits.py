"""Edits of files that are sent: the verbs below `maquette edit` of the run's kind. Their options are read off its
commands, and what is asked is made by these."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import itertools
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from maquette.core.errors import MaquetteError
from maquette.core.modality import part
from maquette.serve import asking, pictures
from maquette.serve.asking import Schema
from maquette.serve.catalogue import Described, Loaded
from maquette.serve.endpoints import checked, form_of, listening, named, remove, room_of
from maquette.serve.errors import Refused
from maquette.serve.guard import say
from maquette.serve.jobs import Alone
from maquette.serve.settings import Settings

router = APIRouter()
NOT_ASKED = ("out", "device", "quiet", "given")  # where it is written, and what may name files
OWN = ("label", "steps")  # as the run's own options have them
COUNTS = {"samples": "n", "frames": "frames"}  # options that say how many are made, as fields
EITHER = ("noise", "blur", "jpeg")  # what a picture suffers from is named once
SEVERAL = {"interpolate": 2}  # files that a verb takes at least
MOST = 16  # files at once
UPLOADED: Schema = {"type": "string", "format": "binary"}


def verbs(found: Described) -> dict[str, click.Command]:
    """What the model of a run can do to files, by name."""
    group = next((verb for verb in part(found.kind, "VERBS", "verbs") or () if verb.name == "edit"), None)
    able = part(found.kind, "edits", "tools")
    if not isinstance(group, click.Group) or able is None or found.generator is None:
        return {}
    return {name: group.commands[name] for name in able(found.generator.model) if name in group.commands}


def fields_of(found: Described, verb: click.Command, settings: Settings) -> tuple[dict[str, Schema], list[str]]:
    """The fields that a verb's options are, and the names of those that are files."""
    assert found.generator is not None
    fields, files = dict[str, Schema](), list[str]()
    of_run = {option.name: option.schema for option in found.generator.options}
    for option in verb.params:
        if not isinstance(option, click.Option) or option.name in NOT_ASKED or option.name is None:
            continue
        if isinstance(option.type, click.Path):
            files.append(option.name)
        elif option.name in OWN and option.name in of_run:
            fields[option.name] = of_run[option.name]
        elif option.name != "label":
            form = {**_form(option), "description": option.help or ""}
            if option.name in COUNTS:
                usual = {"default": min(option.default, settings.n)} if isinstance(option.default, int) else {}
                form |= {"minimum": 1, "maximum": settings.n, **usual}
            fields[COUNTS.get(option.name, option.name)] = form
    return fields, files


def _form(option: click.Option) -> Schema:
    if option.is_flag:
        return {"type": "boolean", "default": False}
    if isinstance(option.type, click.Choice):
        return {"type": "string", "enum": list(option.type.choices)}
    if option.name == "seed":
        return {"type": "integer", "minimum": 0, "maximum": 2**63 - 1, "default": 0}
    if isinstance(option.type, type(click.INT)):
        return {"type": "integer", "minimum": 1, "maximum": 100 if option.name == "jpeg" else 10_000}
    if isinstance(option.type, type(click.FLOAT)):
        return {"type": "number", "exclusiveMinimum": 0, "maximum": 1 if option.name == "strength" else 1000}
    return {"type": "string", "maxLength": 100}


def form(found: Described, settings: Settings, name: str = "", file: str = "image") -> Schema | None:
    """Of one verb, or of each ("oneOf"); None of a run that has none. file: what the files are called"""
    made = []
    for verb, command in verbs(found).items():
        if name and verb != name:
            continue
        fields, files = fields_of(found, command, settings)
        sent = dict.fromkeys(files, UPLOADED)
        several = {"type": "array", "items": UPLOADED, "minItems": SEVERAL.get(verb, 1), "maxItems": MOST}
        words: dict[str, Schema] = {} if name else {"edit": {"const": verb, "description": command.help or ""}}
        usual = {"size": pictures.size(found)} if file == "image" else {}
        if "label" in fields and file == "image":
            usual["prompt"] = asking.prompt(found, settings)[1]
        whole = asking.form(found, {
            **words, file: several if verb in SEVERAL else UPLOADED, **sent, **fields, **usual,
            "response_format": {"type": "string", "enum": ["b64_json"], "default": "b64_json"},
        }, [file, *files, *(["edit"] if words and verb != "inpaint" else [])])  # fmt: skip
        pairs = [{"required": list(two)} for two in itertools.combinations((n for n in EITHER if n in fields), 2)]
        made.append(whole | ({"not": {"anyOf": pairs}} if pairs else {}))
    return {"oneOf": made, "title": found.name} if len(made) > 1 else made[0] if made else None


def edits_form(found: Described, settings: Settings) -> Schema | None:
    """Of `images.edit`."""
    return form(found, settings) if found.kind == "image" else None


def variations_form(found: Described, settings: Settings) -> Schema | None:
    """Of `images.create_variation`."""
    return form(found, settings, "variations") if found.kind == "image" else None


def any_form(found: Described, settings: Settings) -> Schema | None:
    """Of files of any kind."""
    return form(found, settings, file="file")


@router.post("/v1/images/edits", summary="Fill what is white, or transparent, in a mask; enlarge, restore, ...")
async def edit(request: Request) -> Any:
    return await _edited(request, "image", "inpaint")


@router.post("/v1/images/variations", summary="Make pictures like one that is sent")
async def variation(request: Request) -> Any:
    return await _edited(request, "image", "variations", only=True)


@router.post("/v1/edits", summary="Change files of any kind: pictures, sounds, clips")
async def any_edit(request: Request) -> Any:
    return await _edited(request, "file", "")


async def _edited(request: Request, file: str, usual: str, only: bool = False) -> Any:
    room = room_of(request)
    fields, sent = await form_of(request, {file: MOST, "mask": 1, "like": 1}, room.settings.spool)
    try:
        found = await named(request, fields.get("model", ""))
        known = verbs(found)
        verb = usual if only else fields.pop("edit", usual)
        if (file == "image" and found.kind != "image") or verb not in known:
            able = f"It can {', '.join(known)}." if known else "It changes no files that are sent."
            raise Refused(422, f"'{found.name}' makes {asking.makes(found)}, and cannot {verb[:60]!r} here. {able}",
                          "unsupported", "edit")  # fmt: skip
        wanted = form(found, room.settings, verb, file)
        assert wanted is not None
        typed = asking.typed(wanted, fields)
        files = {name: [""] * len(paths) if name == file and verb in SEVERAL else "" for name, paths in sent.items()}
        if len(sent.get(file, ())) > 1 and verb not in SEVERAL:
            raise Refused(422, f"'{verb}' takes one file here.", "invalid_value", file)
        asked = await checked(wanted, {**typed, **files})
        inputs = dict(sent)
        for name in sent:
            del asked[name]
        changed = inputs.pop(file)
        words = asked.pop("prompt", "")
        if words and "label" not in asked:
            asked["label"] = words
        for name in COUNTS.values():
            if "default" in (count := wanted["properties"].get(name, {})):
                asked.setdefault(name, count["default"])
        items = max(asked.get(name, 1) for name in COUNTS.values())
        job = Alone(request.state.id, found.name, items, make=lambda loaded: _made(
            loaded, verb, known[verb], changed, inputs, asked, Path(room.settings.spool)
        ))  # fmt: skip
        say(request, items=job.size, edit=verb)
        data = []
        async with listening(request, job):
            async for content in job.events():
                data.append(await asyncio.to_thread(lambda c: base64.b64encode(c).decode(), content))
    finally:
        remove(sent)
    about = {"source": "AI-generated", "run": found.path.resolve().name, "seed": asked.get("seed", 0)}
    items = [{"b64_json": one, **about, "item": i} for i, one in enumerate(data)]
    return JSONResponse({"created": int(time.time()), "id": job.id, "model": found.name, "edit": verb,
                         "seed": asked.get("seed", 0), "data": items})  # fmt: skip


def _made(
    loaded: Loaded, verb: str, command: click.Command, inputs: Sequence[Path], more: Mapping[str, Sequence[Path]],
    asked: Mapping[str, Any], spool: Path,
) -> Iterator[bytes]:  # fmt: skip
    """What the command makes, file by file."""
    folder = spool / uuid.uuid4().hex
    flags = {"n": "samples"}
    args = [*map(str, inputs), "-o", str(folder), *(f"--{name}={paths[0]}" for name, paths in more.items())]
    for name, value in asked.items():
        if name not in ("model", "response_format", "edit", "size"):
            flag = f"--{flags.get(name, name).replace('_', '-')}"
            args += [flag] * value if isinstance(value, bool) else [f"{flag}={value}"]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            command.main(args, verb, standalone_mode=False, obj=lambda device: loaded.run)
        yield from [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    except click.ClickException as error:
        raise Refused(422, error.format_message(), "invalid_value") from None
    except MaquetteError as error:
        for i, path in enumerate(inputs):
            error.problem = error.problem.replace(str(path), f"file {i + 1}")
        for name, (path,) in more.items():
            error.problem = error.problem.replace(str(path), name)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


FORMS = {"/v1/images/edits": edits_form, "/v1/images/variations": variations_form, "/v1/edits": any_form}
UPLOADS = tuple(FORMS)
