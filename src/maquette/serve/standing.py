"""How the server stands: its models, its jobs, and what whoever runs it asks."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from maquette.serve import asking, document, watch
from maquette.serve.catalogue import Described
from maquette.serve.endpoints import named, room_of
from maquette.serve.errors import Refused

router = APIRouter()


@router.get("/health", summary="Whether the process lives")
async def health() -> Any:
    return {"status": "ok"}


@router.get("/ready", summary="Whether it takes requests")
async def ready(request: Request) -> Any:
    room = room_of(request)
    if room.draining or not room.engine.alive:
        raise Refused(503, "The server does not take requests now.", "not_ready")
    return {"status": "ready", "queue": room.engine.depth}


@router.get("/metrics", summary="Counts, for Prometheus")
async def metrics(request: Request) -> Response:
    room = room_of(request)
    watch.QUEUE.set(room.engine.depth)
    watch.LOADED.set(room.catalogue.held)
    return Response(watch.metrics(room.settings.workers > 1), media_type="text/plain; version=0.0.4")


@router.get("/v1/models", summary="The runs, and why one is not served")
async def models(request: Request) -> Any:
    found = await asyncio.to_thread(room_of(request).catalogue.all)
    return {"object": "list", "data": [_shown(one) for one in found]}


@router.get("/v1/models/{model:path}", summary="A run, and what it can be asked")
async def model(request: Request, model: str) -> Any:
    found = await named(request, model)
    forms = await asyncio.to_thread(document.forms_of, found, room_of(request).settings)
    return {**_shown(found), "endpoints": forms}


def _shown(one: Described) -> dict[str, Any]:
    state = {"ready": not one.reason, **({"reason": one.reason} if one.reason else {})}
    return {
        "id": one.name, "object": "model", "created": one.created, "owned_by": "maquette", "makes": asking.makes(one),
        **state,
    }  # fmt: skip


@router.get("/v1/jobs", summary="What is in the line")
async def jobs(request: Request) -> Any:
    room = room_of(request)
    return {"object": "list", "data": [_job(room, job) for job in list(room.engine.jobs.values())]}


@router.get("/v1/jobs/{job}", summary="How far a request is: the id is its X-Request-Id")
async def job(request: Request, job: str) -> Any:
    return _job(room_of(request), _found(request, job))


@router.delete("/v1/jobs/{job}", summary="Stop a request")
async def cancel(request: Request, job: str) -> Any:
    found = _found(request, job)
    found.cancel()
    return JSONResponse({"id": found.id, "object": "job", "cancelled": True})


def _found(request: Request, name: str) -> Any:
    found = room_of(request).engine.jobs.get(name)
    if found is None:
        raise Refused(404, "There is no such job, or it is done.", "job_not_found")
    return found


def _job(room: Any, job: Any) -> dict[str, Any]:
    return {
        "id": job.id, "object": "job", "model": job.model, "status": job.state, "created_at": int(job.created),
        "place": room.engine.place(job), "done": job.done, "size": job.size,
        "progress": round(100 * job.done / max(job.size, 1)),
    }  # fmt: skip


ANSWERS = {"/metrics": {"text/plain": {"schema": {"type": "string"}}}}
