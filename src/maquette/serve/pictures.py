"""Pictures and clips, as `images.generate` of OpenAI's client asks for them: made together, sent as they finish."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from torch import Tensor

from maquette.core.errors import UserError
from maquette.serve import answers, asking, errors
from maquette.serve.asking import Schema
from maquette.serve.catalogue import Described
from maquette.serve.endpoints import Room, Streamed, body_of, checked, described, listening, room_of
from maquette.serve.errors import Refused
from maquette.serve.guard import say
from maquette.serve.jobs import Sampling
from maquette.serve.settings import Settings

router = APIRouter()
FORMATS = {"image": ("png", "jpeg", "webp"), "video": ("gif", "webp", "apng")}  # the first where none is named


def form(found: Described, settings: Settings) -> Schema | None:
    """Of a run that makes pictures or clips; None of any other."""
    if found.kind not in FORMATS or found.generator is None:
        return None
    formats = FORMATS[found.kind]
    return asking.form(found, {
        "prompt": asking.prompt(found, settings)[1],
        "size": size(found),
        "response_format": {"type": "string", "enum": ["b64_json"], "default": "b64_json"},
        "output_format": {"type": "string", "enum": list(formats), "default": formats[0]},
        "stream": {"type": "boolean", "default": False, "description": "Send each as soon as it is made."},
        "user": {"type": "string", "maxLength": 256, "description": "Of no effect."},
        **asking.own(found, settings),
    })  # fmt: skip


def size(found: Described) -> Schema:
    """That of a run's own pictures: there is no other."""
    height, width = found.generator.spec.only().shape[-2:]  # type: ignore[union-attr]
    return {"type": "string", "enum": ["auto", f"{width}x{height}"], "default": "auto"}


async def sampling(request: Request, found: Described, asked: Mapping[str, Any]) -> Sampling:
    """The job of a body that was checked."""
    settings, generator = room_of(request).settings, found.generator
    assert generator is not None
    n, seed, words = asked.get("n", 1), int(asked.get("seed", 0)), asked.get("prompt", "")
    given, rest = asking.given_of(found, asked)
    column, _ = asking.prompt(found, settings)
    if words and column:
        if column in given:
            raise Refused(422, f"The prompt and '{column}' say the same: give one of them.", "invalid_value", "prompt")
        given[column] = words
    say(request, items=n, prompt=words)

    def values() -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        wanted = generator.request(rest, given)
        if any(wanted.kinds.values()):
            raise UserError("These options are of what is written token by token.", "Leave them out.")
        return generator.given_for(n, wanted.given, seed, bool(asked.get("unconditional", False))), wanted.family

    tensors, options = await asyncio.to_thread(values)
    return Sampling(request.state.id, found.name, n, seed=seed, given=tensors, options=options)


async def files(
    room: Room, found: Described, job: Sampling, suffix: str
) -> AsyncIterator[tuple[int, bytes, dict[str, Any]]]:  # fmt: skip
    """Each item of a job as it is made: its number, its file, and where it comes from."""

    def one(event: Any) -> tuple[int, bytes, dict[str, Any]]:
        i, made, given = event
        content = answers.file_of(found, made, given, job.seed, i, suffix, room.settings.spool)
        return i, content, answers.said_of(found, given, job.seed, i)

    async for event in job.events():
        yield await asyncio.to_thread(one, event)


@router.post("/v1/images/generations", summary="Make pictures, or clips (output_format gif)")
async def generate(request: Request) -> Any:
    body = await body_of(request)
    found = await described(request, body)
    asked = await checked(needed(form(found, room_of(request).settings), found, "pictures"), body)
    suffix = asked.get("output_format", FORMATS[found.kind][0])
    job, room = await sampling(request, found, asked), room_of(request)
    head = {"created": int(time.time()), "id": job.id, "model": found.name, "output_format": suffix,
            "size": size(found)["enum"][-1]}  # fmt: skip
    if asked.get("stream"):
        made = _stream(request, room, found, job, suffix, head)
        return Streamed(room, job, made, "text/event-stream")
    data: list[dict[str, Any]] = [{}] * job.size
    async with listening(request, job):
        async for i, content, about in files(room, found, job, suffix):
            data[i] = {"b64_json": base64.b64encode(content).decode(), **about}
    return JSONResponse({**head, "seed": job.seed, "data": data})


async def _stream(
    request: Request, room: Room, found: Described, job: Sampling, suffix: str, head: dict[str, Any]
) -> AsyncIterator[bytes]:  # fmt: skip
    try:
        async with listening(request, job):
            async for _, content, about in files(room, found, job, suffix):
                name = "image_generation.completed"
                data = {"type": name, "b64_json": base64.b64encode(content).decode(), "created_at": head["created"],
                        "background": "opaque", "quality": "auto", "usage": None, **head, **about}  # fmt: skip
                yield answers.event(data, name)
        yield answers.event("[DONE]")
    except Exception as error:
        yield answers.event(errors.of(error).body, "error")


def needed(form: Schema | None, found: Described, what: str) -> Schema:
    """The form of a run that can do this; refuses any other by name."""
    if form is None:
        raise Refused(422, f"'{found.name}' makes {asking.makes(found)}, and no {what}.", "unsupported", "model")
    return form


FORMS = {"/v1/images/generations": form}
ANSWERS = {"/v1/images/generations": answers.STREAMED}
