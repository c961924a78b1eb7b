"""What stands before every endpoint: whom the server answers, how large a body may be, what is counted and logged."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
import uuid
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maquette.serve import errors, watch
from maquette.serve.errors import Refused
from maquette.serve.settings import Settings

OPEN = ("/health", "/ready")  # that ask for no key: who starts and stops servers has none
BODY = 30.0  # seconds in which a body must have come
log = logging.getLogger("maquette.serve")


class Guard:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, state = time.perf_counter(), {"status": 0, "bytes": 0, "first": 0.0}
        request = HTTPConnection(scope)
        scope.setdefault("state", {})["id"] = identity = f"req_{uuid.uuid4().hex}"
        taken, until = 0, began + BODY

        async def limited() -> Message:
            nonlocal taken
            if state.get("whole"):
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(until - time.perf_counter(), 0.01))
            except TimeoutError:
                raise Refused(408, f"The body did not come within {BODY:g} s.", "timeout") from None
            taken += len(message.get("body", b""))
            state["whole"] = not message.get("more_body", False)
            if taken > self.settings.upload:
                raise self._too_large()
            return message

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                state["status"] = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", identity.encode()),
                                      (b"x-content-type-options", b"nosniff")]  # fmt: skip
            elif message.get("body"):
                state["first"] = state["first"] or time.perf_counter() - began
                state["bytes"] += len(message["body"])
            await send(message)

        try:
            self._check(request)
            await self.app(scope, limited, counted)
        except Exception as error:
            if not isinstance(error.__cause__ or error, Refused):  # a cause: refused once it was being answered
                log.error("A request failed: %s", type(error).__name__, exc_info=error)
            if not state["status"]:
                await errors.of(error).answer(scope, receive, counted)
        finally:
            took, route = time.perf_counter() - began, scope.get("route")
            path = getattr(route, "path", "other")
            watch.REQUESTS.labels(path, str(state["status"])).inc()
            watch.SECONDS.labels(path).observe(took)
            watch.FIRST.labels(path).observe(state["first"] or took)
            told = scope["state"].get("said", {})
            if not self.settings.log_prompts:
                told = {name: value for name, value in told.items() if name != "prompt"}
            watch.note(id=identity, client=(scope.get("client") or ("",))[0], method=scope["method"], path=path,
                       status=state["status"], seconds=round(took, 4), bytes=state["bytes"], **told)  # fmt: skip

    def _check(self, request: HTTPConnection) -> None:
        host = request.headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if "*" not in self.settings.hosts and name.lower() not in self.settings.hosts:
            raise Refused(421, "This server does not answer to that name; --allow-host adds it.", "unknown_host")
        if origin := request.headers.get("origin"):
            own = origin.partition("://")[2] == host
            if not own and origin not in self.settings.origins:
                raise Refused(403, "Pages of other hosts may not call this server; --origin adds one.", "origin")
        if self.settings.api_key and request.url.path not in OPEN:
            _, _, key = request.headers.get("authorization", "").partition(" ")
            if not hmac.compare_digest(key.strip().encode(), self.settings.api_key.encode()):
                raise Refused(401, "The API key is missing or wrong.", "invalid_api_key",
                              headers={"WWW-Authenticate": "Bearer"})  # fmt: skip
        length = request.headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:18]) > self.settings.upload:
            raise self._too_large()

    def _too_large(self) -> Refused:
        return Refused(413, f"The body is larger than {self.settings.upload:,} bytes.", "too_large")


def say(request: Any, **facts: Any) -> None:
    """What the access log tells of a request beside its path."""
    request.scope["state"].setdefault("said", {}).update(facts)
