"""What endpoints share: the body of a request, its job from the line to its end, and who listens to it."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.datastructures import UploadFile
from starlette.types import Receive, Scope, Send

from maquette.serve import asking
from maquette.serve.catalogue import Catalogue, Described
from maquette.serve.engine import Engine
from maquette.serve.errors import Refused, overdue
from maquette.serve.guard import say
from maquette.serve.jobs import Job
from maquette.serve.settings import Settings


@dataclass
class Room:
    """What every endpoint needs: stands in `request.app.state.room`."""

    settings: Settings
    catalogue: Catalogue
    engine: Engine
    videos: dict[str, Any] = field(default_factory=dict)
    draining: bool = False


def room_of(request: Request) -> Room:
    """That of the application."""
    room: Room = request.app.state.room
    return room


async def body_of(request: Request) -> Any:
    """The body, as JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "The body must be JSON: Content-Type: application/json.", "unsupported_media_type")
    return await asyncio.to_thread(asking.parsed, await request.body())


async def checked(form: asking.Schema, body: Any) -> dict[str, Any]:
    """What was asked for, held against its form; aside, so that no body keeps others waiting."""
    return await asyncio.to_thread(asking.checked, form, body)


async def described(request: Request, body: Any) -> Described:
    """The run that a body names."""
    name = body.get("model") if isinstance(body, Mapping) else None
    if not isinstance(name, str):
        raise Refused(
            422, "'model' is missing: the name of a run; GET /v1/models lists them.", "missing_field", "model"
        )
    return await named(request, name)


async def named(request: Request, name: str) -> Described:
    """A run by its name."""
    found = await asyncio.to_thread(room_of(request).catalogue.describe, name)
    say(request, model=found.name)
    return found


@contextlib.asynccontextmanager
async def listening(request: Request, job: Job) -> AsyncIterator[Job]:
    """Puts a job into the line; at the end of the block, when the client leaves, and when its time is over, it is given
    up."""
    room = room_of(request)
    if job.id not in room.engine.jobs:
        room.engine.submit(job)
    watcher = asyncio.create_task(_gone(request, job))
    try:
        async with asyncio.timeout(room.settings.seconds):
            yield job
    except TimeoutError:
        raise overdue(room.settings.seconds) from None
    finally:
        watcher.cancel()
        room.engine.leave(job)


class Streamed(StreamingResponse):
    """What a job tells, sent as it comes. Its place in the line is taken before anything is: a full line is a 429."""

    def __init__(self, room: Room, job: Job, content: AsyncIterator[bytes], media_type: str,
                 headers: Mapping[str, str] | None = None) -> None:  # fmt: skip
        room.engine.submit(job)
        self._left = lambda: room.engine.leave(job)
        super().__init__(content, media_type=media_type, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._left()  # where nobody was there to listen from the first


async def _gone(request: Request, job: Job) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    job.cancel()


async def form_of(
    request: Request, files: Mapping[str, int], spool: str
) -> tuple[dict[str, str], dict[str, list[Path]]]:
    """The fields of a form, and its files, by name: each put under a name of ours. files: how many there may be.

    Whoever calls removes them.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Refused(415, "The body must be a form: Content-Type: multipart/form-data.", "unsupported_media_type")
    fields: dict[str, str] = {}
    found: dict[str, list[Path]] = {}
    try:
        async with request.form(max_files=16, max_fields=64, max_part_size=2**20) as form:
            for name, value in form.multi_items():
                name = name.removesuffix("[]")
                content = await value.read() if isinstance(value, UploadFile) else None
                if name in files:
                    kept = found.setdefault(name, [])
                    if len(kept) >= files[name]:
                        raise Refused(422, f"'{name}' may be given {files[name]} times at most.", "invalid_value", name)
                    sent = _bytes_of(str(value)) if content is None else content
                    kept.append(await asyncio.to_thread(_keep, sent, name, spool))
                elif content is not None:
                    raise Refused(422, f"There is no file '{name[:60]}' here: it takes {', '.join(files)}.",
                                  "unknown_field", name[:60])  # fmt: skip
                elif name in fields:
                    raise Refused(422, f"'{name[:60]}' stands there twice.", "invalid_value", name[:60])
                else:
                    fields[name] = str(value)
    except BaseException as error:
        remove(found)
        if isinstance(error, Refused | asyncio.CancelledError):
            raise
        raise Refused(400, "The form cannot be read.", "invalid_form") from None
    return fields, found


def _bytes_of(value: str) -> bytes:
    """What was sent as a value rather than a file: the form's reader took it for Latin-1 where it was no UTF-8."""
    try:
        content = value.encode("latin-1")
        content.decode()
    except UnicodeEncodeError:
        return value.encode()
    except UnicodeDecodeError:
        return content
    return value.encode()


def _keep(content: bytes, name: str, spool: str) -> Path:
    if not content:
        raise Refused(422, f"The file '{name}' is empty.", "invalid_value", name)
    path = Path(spool) / uuid.uuid4().hex
    path.write_bytes(content)
    return path


def remove(found: Mapping[str, list[Path]]) -> None:
    """Removes files that were sent."""
    for paths in found.values():
        for path in paths:
            path.unlink(missing_ok=True)
