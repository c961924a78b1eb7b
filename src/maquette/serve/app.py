"""The application: its rooms put together, its beginning and its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from maquette import __version__
from maquette.core.errors import MaquetteError
from maquette.serve import document, errors
from maquette.serve.catalogue import Catalogue
from maquette.serve.endpoints import Room
from maquette.serve.engine import Engine
from maquette.serve.errors import Refused
from maquette.serve.guard import Guard
from maquette.serve.settings import Settings

ABOUT = "Trained runs, shaped like OpenAI's API. What each run can be asked stands at GET /v1/models/{model}."


def create(settings: Settings | None = None) -> Any:
    """The application. None: with the settings of the process that started this one."""
    settings = settings or Settings.handed_on()
    catalogue = Catalogue(Path(settings.folder), settings.memory, settings.device)
    room = Room(settings, catalogue, Engine(catalogue, settings.queue, settings.together))

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        room.engine.start()
        yield
        room.draining = True
        await asyncio.to_thread(room.engine.stop)

    app = FastAPI(title="Maquette", version=__version__, description=ABOUT, lifespan=life, redoc_url=None,
                  openapi_url=None, docs_url=None)  # fmt: skip
    app.state.room = room
    for one in document.rooms():
        app.include_router(one.router)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Any:
        found = await asyncio.to_thread(catalogue.all)
        return JSONResponse(await asyncio.to_thread(document.document, app, found, settings))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Any:
        from maquette.serve.reading import page

        found = await asyncio.to_thread(catalogue.all)
        return page(await asyncio.to_thread(document.document, app, found, settings))

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return error.answer

    @app.exception_handler(MaquetteError)
    async def failed(request: Request, error: MaquetteError) -> JSONResponse:
        return errors.of(error).answer

    @app.exception_handler(Exception)
    async def ours(request: Request, error: Exception) -> JSONResponse:
        return errors.of(error).answer  # the guard logs it

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> JSONResponse:
        said = {404: "There is nothing at this path.", 405: "This path does not take that method."}
        return Refused(error.status_code, said.get(error.status_code, str(error.detail)), "not_found",
                       headers=error.headers).answer  # fmt: skip

    guarded: Any = Guard(app, settings)
    if settings.origins:
        guarded = CORSMiddleware(
            guarded, allow_origins=list(settings.origins), allow_methods=["*"], allow_headers=["*"]
        )
    return guarded
