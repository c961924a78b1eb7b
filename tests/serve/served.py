"""What tests of the server know of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai


@dataclass
class Server:
    """A server that answers: its place, what is asked of it, and (room) what is within."""

    url: str
    room: Any
    runs: Path
    http: httpx.Client = field(init=False)
    openai: openai.OpenAI = field(init=False)

    def __post_init__(self) -> None:
        key = self.room.settings.api_key or "none"
        self.http = httpx.Client(base_url=self.url, timeout=60)
        self.openai = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)

    def post(self, path: str, **body: Any) -> httpx.Response:
        """A body of JSON."""
        return self.http.post(path, json=body)

    def refuses(self, path: str, status: int, says: str, **body: Any) -> None:
        """An error in OpenAI's shape, of one sentence that says this."""
        refused(self.post(path, **body), status, says)


def refused(answer: httpx.Response, status: int, says: str) -> None:
    """An error in OpenAI's shape."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and says in error["message"], error
    assert len(error["message"]) < 500 and "/tmp" not in error["message"]
