"""Clips as a job, as `videos` of OpenAI's client asks for them: create, retrieve, list, content, delete.

What there is to know of one lies in the server's own folder, so that each of its processes can tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
import uuid
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from maquette.serve import answers, asking, errors, pictures
from maquette.serve.asking import Schema
from maquette.serve.catalogue import Described
from maquette.serve.endpoints import body_of, checked, described, form_of, remove, room_of
from maquette.serve.errors import Refused
from maquette.serve.settings import Settings

router = APIRouter()
KEPT = 3600  # seconds
MOST = 64  # that are kept at once
FORMATS = ("gif", "webp", "mp4")


def form(found: Described, settings: Settings) -> Schema | None:
    """Of a run that makes clips; None of any other."""
    made = pictures.form(found, settings) if found.kind == "video" else None
    if made is None or found.generator is None:
        return None
    spec = found.generator.spec.only()
    fields = made["properties"]
    for name in ("n", "stream", "response_format", "model"):
        fields.pop(name, None)
    fields["output_format"] = {"type": "string", "enum": list(FORMATS), "default": FORMATS[0]}
    seconds = f"{spec.shape[1] / spec.fps:.3g}"
    return asking.form(found, {**fields, "seconds": {"type": "string", "enum": ["auto", seconds], "default": "auto"}})


@router.post("/v1/videos", summary="Make a clip, in a job")
async def create(request: Request) -> Any:
    room = room_of(request)
    form_sent = request.headers.get("content-type", "").startswith("multipart/")
    if form_sent:
        body, sent = await form_of(request, {}, room.settings.spool)
        remove(sent)
    else:
        body = await body_of(request)
    found = await described(request, body)
    wanted = pictures.needed(form(found, room.settings), found, "clips")
    asked = await checked(wanted, asking.typed(wanted, body) if form_sent else body)
    kept = _all(room.settings)
    if len(kept) >= MOST:
        raise Refused(429, f"{MOST} clips are kept already: delete one.", "queue_full", headers={"Retry-After": "60"})
    job = await pictures.sampling(request, found, asked)
    job.id = f"video_{uuid.uuid4().hex}"
    height, width = found.generator.spec.only().shape[-2:]  # type: ignore[union-attr]
    facts = {
        "id": job.id, "object": "video", "model": found.name, "status": "queued", "progress": 0,
        "created_at": int(time.time()), "completed_at": None, "expires_at": int(time.time()) + KEPT, "error": None,
        "prompt": asked.get("prompt", ""), "seconds": wanted["properties"]["seconds"]["enum"][1],
        "size": f"{width}x{height}", "remixed_from_video_id": None, "seed": job.seed, "item": 0,
        "source": "AI-generated", "run": found.path.resolve().name,
        "output_format": asked.get("output_format", FORMATS[0]),
    }  # fmt: skip
    room.engine.submit(job)
    _write(room.settings, facts)
    task = asyncio.create_task(_made(room, found, job, facts))
    room.videos[job.id] = task
    task.add_done_callback(lambda _: room.videos.pop(job.id, None))
    return JSONResponse(facts)


async def _made(room: Any, found: Described, job: Any, facts: dict[str, Any]) -> None:
    watcher = asyncio.create_task(_deleted(room.settings, job))
    try:
        async with asyncio.timeout(room.settings.seconds):
            async for _, content, _ in pictures.files(room, found, job, facts["output_format"]):
                _file(room.settings, facts["id"]).write_bytes(content)
        facts |= {"status": "completed", "progress": 100, "completed_at": int(time.time())}
    except Exception as error:
        said = errors.overdue(room.settings.seconds) if isinstance(error, TimeoutError) else errors.of(error)
        facts |= {"status": "failed", "error": {"code": said.code, "message": said.message}}
    finally:
        watcher.cancel()
        room.engine.leave(job)
    if _facts(room.settings, facts["id"]).exists():
        _write(room.settings, facts)
    else:  # it was deleted meanwhile
        _file(room.settings, facts["id"]).unlink(missing_ok=True)


async def _deleted(settings: Settings, job: Any) -> None:
    """Stops a job whose clip was deleted, be it by another process."""
    while _facts(settings, job.id).exists():
        await asyncio.sleep(1)
    job.cancel()


@router.get("/v1/videos", summary="The clips that are kept")
async def listed(request: Request) -> Any:
    return {"object": "list", "data": _all(room_of(request).settings), "has_more": False}


@router.get("/v1/videos/{video}", summary="How far a clip is")
async def retrieve(request: Request, video: str) -> Any:
    room = room_of(request)
    facts = _read(room.settings, video)
    job = room.engine.jobs.get(video)
    if job is not None and facts["status"] == "queued":
        facts |= {"status": job.state if job.open else "in_progress", "place": room.engine.place(job)}
    return facts


@router.get("/v1/videos/{video}/content", summary="A clip that is done")
async def content(request: Request, video: str) -> Response:
    settings = room_of(request).settings
    facts = _read(settings, video)
    if facts["status"] != "completed":
        raise Refused(409, f"This clip is {facts['status']}.", "not_ready")
    made = await asyncio.to_thread(_file(settings, video).read_bytes)
    return Response(made, media_type=answers.TYPES[facts["output_format"]])


@router.delete("/v1/videos/{video}", summary="Stop a clip, or forget it")
async def delete(request: Request, video: str) -> Any:
    room = room_of(request)
    _read(room.settings, video)
    if (job := room.engine.jobs.get(video)) is not None:
        job.cancel()
    for file in (_facts(room.settings, video), _file(room.settings, video)):
        file.unlink(missing_ok=True)
    return {"id": video, "object": "video.deleted", "deleted": True}


def _facts(settings: Settings, video: str) -> Path:
    return Path(settings.spool) / f"{video}.json"


def _file(settings: Settings, video: str) -> Path:
    return Path(settings.spool) / f"{video}.clip"


def _write(settings: Settings, facts: dict[str, Any]) -> None:
    file = _facts(settings, facts["id"])
    file.with_suffix(".part").write_text(json.dumps(facts))
    file.with_suffix(".part").replace(file)


def _read(settings: Settings, video: str) -> dict[str, Any]:
    if re.fullmatch(r"video_[0-9a-f]{32}", video):
        with contextlib.suppress(OSError):
            facts: dict[str, Any] = json.loads(_facts(settings, video).read_text())
            return facts
    raise Refused(404, "There is no such clip.", "video_not_found")


def _all(settings: Settings) -> list[dict[str, Any]]:
    """Those that are kept, the newest first; what is too old goes."""
    found = []
    for file in Path(settings.spool).glob("video_*.json"):
        with contextlib.suppress(OSError):
            facts = json.loads(file.read_text())
            if facts["expires_at"] > time.time():
                found.append(facts)
            else:
                file.unlink(missing_ok=True)
                _file(settings, facts["id"]).unlink(missing_ok=True)
    return sorted(found, key=lambda one: -one["created_at"])


FORMS = {"/v1/videos": form}
ANSWERS = {"/v1/videos/{video}/content": answers.content(FORMATS)}
