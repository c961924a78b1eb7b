"""Sounds, as `audio.speech` of OpenAI's client asks for them: a file, or its pieces as they are made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from maquette.core.model import Restores, Unfolds
from maquette.core.spec import ClassSpec, TokenSpec
from maquette.serve import answers, asking
from maquette.serve.asking import Schema
from maquette.serve.catalogue import Described, Loaded
from maquette.serve.endpoints import Streamed, body_of, checked, described, listening, room_of
from maquette.serve.guard import say
from maquette.serve.jobs import Alone, Sampling
from maquette.serve.pictures import files, needed
from maquette.serve.settings import Settings

router = APIRouter()
FORMATS = ("wav", "flac", "pcm", "mp3", "opus")


def form(found: Described, settings: Settings) -> Schema | None:
    """Of a run that makes sounds; None of any other."""
    generator = found.generator
    if found.kind != "audio" or generator is None or isinstance(generator.model, Restores):
        return None
    own = asking.own(found, settings)
    own.pop("n")
    words, voice = _columns(found)
    said: Schema = {"const": "", "description": "This run is given no words: leave it empty."}
    if words:
        said = {"type": "string", "minLength": 1, "maxLength": settings.characters, "description": f"The {words}."}
        own.pop(next(option for option, name in generator.columns.items() if name == words), None)
    voices: Schema = {"type": "string", "enum": ["", "default"], "default": ""}
    if voice:
        classes = generator.spec.columns[voice].classes
        voices = {"type": "string", "enum": [*dict.fromkeys(("", "default", *classes))], "default": "",
                  "description": f"The {voice}; empty or default: drawn by its share."}  # fmt: skip
    return asking.form(found, {
        "input": said,
        "voice": voices,
        "response_format": {"type": "string", "enum": list(FORMATS), "default": "wav"},
        "stream_format": {"type": "string", "enum": ["audio"], "description": "Send pieces as they are made."},
        **own,
    }, ["input"] if words else [])  # fmt: skip


def _columns(found: Described) -> tuple[str, str]:
    """The column that `input` stands for, and that of `voice`: a speaker where there is one, else the first label."""
    assert found.generator is not None
    spec = found.generator.spec
    labels = list(spec.givens(ClassSpec))
    voice = next((name for name in labels if name.casefold() in ("speaker", "voice")), labels[0] if labels else "")
    return next(iter(spec.givens(TokenSpec)), ""), voice


@router.post("/v1/audio/speech", summary="Make a sound")
async def speak(request: Request) -> Any:
    body = await body_of(request)
    found, settings = await described(request, body), room_of(request).settings
    asked = await checked(needed(form(found, settings), found, "sounds"), body)
    words, voice = _columns(found)
    generator = found.generator
    assert generator is not None
    given, rest = asking.given_of(found, asked)
    if words:
        given[words] = asked["input"]
    if voice and asked.get("voice", "") not in ("", "default"):
        given.setdefault(voice, asked["voice"])
    say(request, items=1, prompt=asked.get("input", ""))
    seed, suffix = int(asked.get("seed", 0)), asked.get("response_format", "wav")
    unconditional = bool(asked.get("unconditional", False))

    def values() -> Any:
        wanted = generator.request(rest, given)
        return generator.given_for(1, wanted.given, seed, unconditional), wanted.family

    tensors, options = await asyncio.to_thread(values)
    about = {"X-Source": "AI-generated", "X-Run": found.name.encode("ascii", "replace").decode(), "X-Seed": str(seed),
             "X-Item": "0"}  # fmt: skip
    kind = answers.TYPES[suffix]
    streamed = suffix == "pcm" or (suffix == "wav" and "stream_format" in asked)
    if streamed and isinstance(generator.model, Unfolds):
        alone = Alone(request.state.id, found.name, 1, make=lambda loaded: _unfolded(
            loaded, suffix, {"seed": seed, "unconditional": unconditional, "given": given, **rest}
        ))  # fmt: skip
        return Streamed(room_of(request), alone, _pieces(request, alone), kind, about)
    job = Sampling(request.state.id, found.name, 1, seed=seed, given=tensors, options=options)
    async with listening(request, job):
        async for _, content, _ in files(room_of(request), found, job, suffix):
            made = content
    return Response(made, media_type=kind, headers=about)


def _unfolded(loaded: Loaded, suffix: str, asked: dict[str, Any]) -> Iterator[bytes]:
    """A WAV file, or what it holds, as it is made."""
    pieces = (piece for piece in loaded.run.stream(0, **asked) if isinstance(piece, bytes))
    head = next(pieces)
    if suffix == "wav":
        yield head
    yield from pieces


async def _pieces(request: Request, job: Alone) -> AsyncIterator[bytes]:
    """Raises what it fails with: a sound has no room for words, so the connection ends before its end is told."""
    async with listening(request, job):
        async for piece in job.events():
            yield piece


FORMS = {"/v1/audio/speech": form}
ANSWERS = {"/v1/audio/speech": answers.content(FORMATS)}
