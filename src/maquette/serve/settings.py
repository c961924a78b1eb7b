"""How a server is set: what `maquette serve` was told, handed to its worker processes."""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict

VARIABLE = "MAQUETTE_SERVE"


class Settings(BaseModel):
    """memory: bytes of weights that are kept loaded      api_key: "" none is asked for      hosts: names it answers to
    origins: pages of other hosts that may call it; () none      log_prompts: whether the access log has them
    spool: a folder of ours alone, for what is on its way

    Limits: n items a request; tokens of a text; upload, bytes of a body; pixels of a picture that is sent; queue, items
    and texts that wait; seconds a request may take; together, texts that are written side by side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str
    spool: str
    memory: int = 2 * 2**30
    device: str = "auto"
    api_key: str = ""
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    origins: tuple[str, ...] = ()
    log_prompts: bool = False
    workers: int = 1
    n: int = 256
    tokens: int = 4096
    characters: int = 100_000
    upload: int = 16 * 2**20
    pixels: int = 16 * 10**6
    queue: int = 512
    seconds: float = 120.0
    together: int = 32

    def hand_on(self) -> None:
        """To the processes that are started from here."""
        os.environ[VARIABLE] = self.model_dump_json()

    @classmethod
    def handed_on(cls) -> Settings:
        """Those of the process that started this one."""
        return cls.model_validate_json(os.environ[VARIABLE])
