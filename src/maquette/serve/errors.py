"""What goes wrong, in OpenAI's shape: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse

from maquette.core.errors import MaquetteError, UserError

# The folders that a file lies in, which are ours alone: in quotes they may have spaces.
FOLDERS = re.compile(
    r"""(?<=['"])(?:[A-Za-z]:)?[/\\][^'"\n]*[/\\]|(?<![\w/:.])(?:[A-Za-z]:)?[/\\](?:[^/\\'"\s]+[/\\])+"""
)
SAID = 400  # characters of a message: what a client sent may stand in it


class Refused(Exception):
    """A request that is answered with an error. param: the field that it is about; headers: of the answer"""

    def __init__(
        self, status: int, message: str, code: str, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.headers = status, code, param, dict(headers or {})
        self.message = message if len(message) <= SAID else f"{message[:SAID]}..."

    @property
    def body(self) -> dict[str, Any]:
        """As it is sent."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def answer(self) -> JSONResponse:
        """As it is sent."""
        return JSONResponse(self.body, self.status, self.headers)


def overdue(seconds: float) -> Refused:
    """A request that took too long."""
    return Refused(504, f"It took longer than {seconds:g} s.", "timeout")


def of(error: BaseException) -> Refused:
    """Any failure: what was asked for (422), or ours (500), of which no more is said."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, MaquetteError):
        said = FOLDERS.sub("", f"{error.problem} {error.remedy}".strip())
        return Refused(422, said, "invalid_value") if isinstance(error, UserError) else Refused(500, said, "failed")
    if isinstance(error, MemoryError):
        return Refused(503, "There is not enough memory for it now.", "out_of_memory", headers={"Retry-After": "5"})
    return Refused(500, "This is a fault of ours; the server's log has more.", "internal_error")
