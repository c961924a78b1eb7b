"""Texts, as `completions` and `chat.completions` of OpenAI's client ask for them: written together, streamed as events.

The models here are of one text each, with no turns: of a conversation the contents are joined, and go on.
"""

from __future__ import annotations

import asyncio
import re
import time
import unicodedata
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from maquette.core.modality import part
from maquette.core.model import Streams
from maquette.core.rng import ItemRng
from maquette.core.spec import EOS, PAD, TokenSpec
from maquette.sampling.autoregressive import parted
from maquette.sampling.together import Draft
from maquette.serve import answers, asking, errors
from maquette.serve.asking import Schema
from maquette.serve.catalogue import Described, Loaded
from maquette.serve.endpoints import Streamed, body_of, checked, described, listening, room_of
from maquette.serve.errors import Refused
from maquette.serve.guard import say
from maquette.serve.jobs import Alone, Job, Texts
from maquette.serve.pictures import needed
from maquette.serve.settings import Settings

router = APIRouter()
ROLES = ("system", "developer", "user", "assistant")
SHOWN = 20  # likeliest tokens that may be asked for


def form(found: Described, settings: Settings) -> Schema | None:
    """Of a completion, by a run that writes; None of any other."""
    own = _own(found, settings)
    if own is None:
        return None
    return asking.form(found, {
        **own,
        "echo": {"type": "boolean", "default": False, "description": "Give what it begins with, too."},
        **({"logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 5}} if _steps(found) else {}),
        "stream": {"type": "boolean", "default": False},
        "stream_options": _stream_options(),
        "user": {"type": "string", "maxLength": 256, "description": "Of no effect."},
    })  # fmt: skip


def chat_form(found: Described, settings: Settings) -> Schema | None:
    """Of a conversation."""
    own = _own(found, settings)
    if own is None:
        return None
    prompt = own.pop("prompt")
    content = {key: value for key, value in prompt.items() if key not in ("default", "description")}
    parts = {
        "type": "array", "minItems": 1, "maxItems": 1, "items": {
            "type": "object", "properties": {"type": {"const": "text"}, "text": content},
            "required": ["type", "text"], "additionalProperties": False,
        },
    }  # fmt: skip
    message = {
        "type": "object", "required": ["role", "content"], "additionalProperties": False,
        "properties": {"role": {"type": "string", "enum": list(ROLES)}, "content": {"anyOf": [content, parts]}},
    }  # fmt: skip
    return asking.form(found, {
        "messages": {"type": "array", "minItems": 1, "maxItems": 64, "items": message,
                     "description": "Their contents, joined by line ends, are what the text begins with."},
        **own,
        "max_completion_tokens": own["max_tokens"],
        **({"logprobs": {"type": "boolean", "default": False},
            "top_logprobs": {"type": "integer", "minimum": 0, "maximum": SHOWN}} if _steps(found) else {}),
        "stream": {"type": "boolean", "default": False},
        "stream_options": _stream_options(),
        "user": {"type": "string", "maxLength": 256, "description": "Of no effect."},
    }, ["messages"])  # fmt: skip


def _stream_options() -> Schema:
    usage = {"include_usage": {"type": "boolean", "default": False}}
    return {"type": "object", "properties": usage, "additionalProperties": False}


def _own(found: Described, settings: Settings) -> dict[str, Schema] | None:
    generator = found.generator
    if found.kind != "text" or generator is None or not isinstance(generator.model, Streams):
        return None
    own = asking.own(found, settings)
    source = _source(found)
    if source:
        own["prompt"] = {"type": "string", "maxLength": settings.characters, "minLength": 1,
                         "description": f"The {source}."}  # fmt: skip
        own.pop(next(option for option, name in generator.columns.items() if name == source), None)
    if "stop" in own:  # OpenAI's client says so what it is not asked for
        own["stop"] = {**own["stop"], "anyOf": [*own["stop"]["anyOf"], {"type": "null"}]}
    own["max_tokens"] = {**own["max_tokens"], "maximum": settings.tokens}
    return own


def _source(found: Described) -> str:
    """The column that is translated, or the like; "" of a run that goes on with what it is given."""
    assert found.generator is not None
    return next(iter(found.generator.spec.givens(TokenSpec)), None) or ""


def _steps(found: Described) -> bool:
    """Whether its tokens are drawn here, one by one, rather than by several agents in their own way."""
    assert found.generator is not None
    return not hasattr(found.generator.model, "stream")


# -- what is asked -------------------------------------------------------------------------------------


@dataclass
class Writer:
    """Texts that were asked for, and how they are shown. top: likeliest tokens of each place; None: not asked for"""

    found: Described
    job: Job
    shown: list[Any]
    top: int | None
    echo: bool
    usage: dict[str, int]
    ended: dict[int, str] = field(default_factory=dict)

    def text_of(self, event: tuple[Any, ...]) -> tuple[int, str, dict[str, Any] | None]:
        """What an event adds to its text: number, words, and the token with its chance, where that is asked for."""
        if len(event) == 2:  # words of a text that is written in its own way
            return event[0], event[1], None
        i, token, logits, last, cut = event
        shown, words, chance = self.shown[i], "", None
        if token not in (EOS, PAD):
            self.usage["completion_tokens"] += 1
            words = shown.push(token)
            chance = self._chance(token, logits) if self.top is not None else None
        if last:
            words += shown.rest()
            self.ended[i] = "length" if cut else "stop"
        return i, words, chance

    def _chance(self, token: int, logits: torch.Tensor) -> dict[str, Any]:
        kind, spec = self.found.kind, self.found.generator.spec.only()  # type: ignore[union-attr]
        chances = logits.log_softmax(-1)
        value, index = chances.topk(min(self.top or 0, len(chances)))
        pieces = part(kind, "pieces", "tokens")([token, *index.tolist()], spec)
        numbers = [float(chances[token]), *value.tolist()]
        one, *top = [
            {"token": piece, "logprob": number, "bytes": list(piece.encode())}
            for piece, number in zip(pieces, numbers, strict=True)
        ]
        return {**one, "top_logprobs": top}


async def _writer(request: Request, found: Described, asked: dict[str, Any], top: int | None) -> Writer:
    settings, generator = room_of(request).settings, found.generator
    assert generator is not None
    n, seed = asked.get("n", 1), int(asked.get("seed", 0))
    unconditional, source = bool(asked.get("unconditional", False)), _source(found)
    say(request, items=n, prompt=asked.get("prompt", ""))
    given, rest = asking.given_of(found, asked)
    if source:
        given[source] = rest.pop("prompt", asked.get("prompt"))
    column = generator.spec.only_name

    def drafts() -> tuple[list[Draft], list[Any]]:
        wanted = generator.request(rest, given)
        values = generator.given_for(n, wanted.given, seed, unconditional)
        spec = generator.spec.only()
        layout = {"start": spec.start, "length": spec.shape[0], "framed": spec.framed}
        made = []
        for i in range(n):
            own = {name: value[i : i + 1] for name, value in values.items()}
            plan = generator.plans(wanted, own, 1, found.facts)[column]
            rules, choice = parted({**layout, **wanted.family, **plan.keywords})
            made.append(Draft(own, ItemRng(seed, [i]), rules, choice))
            if made[-1].left > settings.tokens:
                raise Refused(422, f"A text may have {settings.tokens:,} tokens here: ask for max_tokens.",
                              "invalid_value", "max_tokens")  # fmt: skip
        written = part(found.kind, "written", "options")
        return made, [written(spec, wanted.kinds[column]) for _ in range(n)]

    made, shown = await asyncio.to_thread(drafts)
    usage = {"prompt_tokens": sum(draft.given_tokens for draft in made[:1]), "completion_tokens": 0}
    job: Job
    if _steps(found):
        job = Texts(request.state.id, found.name, n, drafts=made)
    else:
        job = Alone(request.state.id, found.name, n, make=lambda loaded: _alone(
            loaded, n, {"seed": seed, "unconditional": unconditional, "given": given, **rest}, len(shown[0].begin)
        ))  # fmt: skip
    return Writer(found, job, shown, top, bool(asked.get("echo", False)), usage)


def _alone(loaded: Loaded, n: int, asked: Mapping[str, Any], skip: int) -> Iterator[tuple[int, str]]:
    """Texts one after the other; without what each begins with."""
    for i in range(n):
        left = skip
        for piece in loaded.run.stream(i, **asked):
            words, left = str(piece)[left:], max(0, left - len(piece))
            if words:
                yield i, words


# -- what is answered ----------------------------------------------------------------------------------


@router.post("/v1/completions", summary="Write texts")
async def complete(request: Request) -> Any:
    body = await body_of(request)
    found = await described(request, body)
    if isinstance(body.get("prompt"), str):
        body["prompt"] = unicodedata.normalize("NFC", body["prompt"])
    if isinstance(body.get("prompt", ""), list) and len(body["prompt"]) == 1:
        body["prompt"] = body["prompt"][0]
    asked = await checked(needed(form(found, room_of(request).settings), found, "texts"), body)
    top = asked.pop("logprobs", None)
    return await _answer(request, found, asked, await _writer(request, found, asked, top), _Completion)


@router.post("/v1/chat/completions", summary="Write texts, of messages")
async def chat(request: Request) -> Any:
    body = await body_of(request)
    found = await described(request, body)
    asked = await checked(needed(chat_form(found, room_of(request).settings), found, "texts"), body)
    said = [message["content"] for message in asked.pop("messages")]
    asked["prompt"] = _joined(found, [one if isinstance(one, str) else one[0]["text"] for one in said])
    if "max_completion_tokens" in asked:
        asked["max_tokens"] = asked.pop("max_completion_tokens")
    top = asked.pop("top_logprobs", None)
    top = (top or 0) if asked.pop("logprobs", False) else None
    return await _answer(request, found, asked, await _writer(request, found, asked, top), _Chat)


def _joined(found: Described, said: list[str]) -> str:
    """What was said, as one text: with line ends between, where the model knows any; without what was said first, where
    all of it is more than the model sees."""
    assert found.generator is not None
    form = next((o.schema for o in found.generator.options if o.name == "prompt"), {})
    most, known = form.get("maxLength"), form.get("pattern", ".*")
    between = next((mark for mark in ("\n", " ") if re.fullmatch(known, mark, re.DOTALL)), "")
    while most is not None and len(said) > 1 and sum(map(len, said)) + len(between) * (len(said) - 1) > most:
        said = said[1:]
    return between.join(said)


class _Completion:
    """The shape of `completions`."""

    object, chunk = "text_completion", "text_completion"

    @staticmethod
    def chances(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
        offsets, at = [], 0
        for one in found:
            offsets.append(at)
            at += len(one["token"])
        return {
            "tokens": [one["token"] for one in found], "token_logprobs": [one["logprob"] for one in found],
            "top_logprobs": [{t["token"]: t["logprob"] for t in one["top_logprobs"]} for one in found],
            "text_offset": offsets,
        }  # fmt: skip

    @classmethod
    def choice(cls, i: int, words: str, found: Sequence[dict[str, Any]] | None, reason: str | None) -> dict[str, Any]:
        return {"index": i, "text": words, "logprobs": None if found is None else cls.chances(found),
                "finish_reason": reason}  # fmt: skip

    part = choice


class _Chat:
    """The shape of `chat.completions`."""

    object, chunk = "chat.completion", "chat.completion.chunk"

    @staticmethod
    def choice(i: int, words: str, found: Sequence[dict[str, Any]] | None, reason: str | None) -> dict[str, Any]:
        message = {"role": "assistant", "content": words, "refusal": None}
        return {"index": i, "message": message, "logprobs": None if found is None else {"content": list(found)},
                "finish_reason": reason}  # fmt: skip

    @staticmethod
    def part(i: int, words: str, found: Sequence[dict[str, Any]] | None, reason: str | None) -> dict[str, Any]:
        delta = {"role": "assistant", "content": words} if reason is None else {}
        return {"index": i, "delta": delta, "logprobs": None if found is None else {"content": list(found)},
                "finish_reason": reason}  # fmt: skip


async def _answer(request: Request, found: Described, asked: Mapping[str, Any], writer: Writer, shape: Any) -> Any:
    head = {"id": writer.job.id, "created": int(time.time()), "model": found.name, "seed": asked.get("seed", 0),
            "source": "AI-generated", "run": found.path.resolve().name}  # fmt: skip
    if asked.get("stream"):
        usage = bool(asked.get("stream_options", {}).get("include_usage"))
        made = _stream(request, writer, {**head, "object": shape.chunk}, shape, usage)
        return Streamed(room_of(request), writer.job, made, "text/event-stream")
    n = writer.job.size
    words: list[list[str]] = [[shown.begin] if writer.echo else [] for shown in writer.shown]
    chances: list[list[dict[str, Any]]] = [[] for _ in range(n)]
    async with listening(request, writer.job):
        async for event in writer.job.events():
            i, more, chance = writer.text_of(event)
            words[i].append(more)
            chances[i] += [] if chance is None else [chance]
    choices = [
        shape.choice(
            i, "".join(words[i]) + (writer.shown[i].end if writer.echo else ""),
            None if writer.top is None else chances[i], writer.ended.get(i, "stop"),
        ) | {"item": i}
        for i in range(n)
    ]  # fmt: skip
    return JSONResponse({**head, "object": shape.object, "choices": choices, "usage": _usage(writer)})


def _usage(writer: Writer) -> dict[str, int]:
    return {**writer.usage, "total_tokens": sum(writer.usage.values())}


async def _stream(
    request: Request, writer: Writer, head: dict[str, Any], shape: Any, usage: bool
) -> AsyncIterator[bytes]:  # fmt: skip
    try:
        if writer.echo:
            for i, shown in enumerate(writer.shown):
                yield answers.event({**head, "choices": [shape.part(i, shown.begin, None, None)]})
        async with listening(request, writer.job):
            async for several in writer.job.bundles():
                yield b"".join(_chunks(writer, several, head, shape))
        if not _steps(writer.found):
            for i in range(writer.job.size):
                yield answers.event({**head, "choices": [shape.part(i, "", None, "stop")]})
        if usage:
            yield answers.event({**head, "choices": [], "usage": _usage(writer)})
        yield answers.event("[DONE]")
    except Exception as error:
        yield answers.event(errors.of(error).body)


def _chunks(writer: Writer, several: Sequence[Any], head: dict[str, Any], shape: Any) -> Iterator[bytes]:
    """Events, those of one text as one."""
    words: dict[int, str] = {}
    chances: dict[int, list[dict[str, Any]]] = {}
    before = set(writer.ended)
    for event in several:
        i, more, chance = writer.text_of(event)
        words[i] = words.get(i, "") + more
        chances.setdefault(i, []).extend([] if chance is None else [chance])
    for i, text in words.items():
        found = None if writer.top is None else chances[i]
        if text or found:
            yield answers.event({**head, "choices": [shape.part(i, text, found, None)]})
        if i in writer.ended and i not in before:
            end = writer.shown[i].end if writer.echo else ""
            if end:
                yield answers.event({**head, "choices": [shape.part(i, end, None, None)]})
            yield answers.event({**head, "choices": [shape.part(i, "", None, writer.ended[i])]})


FORMS = {"/v1/completions": form, "/v1/chat/completions": chat_form}
ANSWERS = dict.fromkeys(FORMS, answers.STREAMED)
