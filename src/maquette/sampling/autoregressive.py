"""Texts written from left to right, each token drawn from the model's distribution of the next one.

    write(model, n, given, rng, start=1, length=64, temperature=0.8, top_p=0.95)

Item i depends on (seed, i, given[i]) alone: the draw inverts the distribution function at one uniform number a token,
and texts that have ended draw too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from maquette.sampling import filters
from maquette.sampling.constraints import Allowed

# Reserved tokens as core/spec.py numbers them, which this room may not import; a test holds the two together.
PAD, EOS = 0, 2
FORBIDDEN = (0, 1, 3, 4, 5, 6)  # those that no text contains
_CROWD = 0.75  # the memory is cut down when no more than this share of its texts still goes on

# What the options of writing must be, in words and as a test. NaN passes none of them.
LIMITS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "temperature": ("0, or from 0.001 to 1,000", lambda value: value == 0 or 1e-3 <= value <= 1e3),
    "top_k": ("0 (off) or more", lambda value: value >= 0),
    "top_p": ("above 0 and at most 1", lambda value: 0 < value <= 1),
    "min_p": ("0 or more and at most 1", lambda value: 0 <= value <= 1),
    "repetition_penalty": ("from 0.01 to 100", lambda value: 0.01 <= value <= 100),
    "max_tokens": ("1 or more", lambda value: value is None or value >= 1),
}


def out_of_limits(options: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first of these options that is not what it must be, and what that is."""
    wrong = (
        (name, LIMITS[name][0]) for name, value in options.items() if name in LIMITS and not LIMITS[name][1](value)
    )
    return next(wrong, None)


class Writes(Protocol):
    """The part of a model that writing needs: `Streams` of core/model.py."""

    def begin(self, n: int, given: Mapping[str, Tensor]) -> Any: ...

    def advance(self, memory: Any, tokens: Tensor) -> Tensor: ...


class Draws(Protocol):
    """The part of an `Rng` of core/rng.py that writing needs."""

    def uniform(self, *shape: int) -> Tensor: ...


@dataclass(frozen=True)
class Choice:
    """How the next token is chosen from the logits; all filters (sampling/filters.py) are off by default.

    temperature: 0 takes the most likely token
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if (wrong := out_of_limits(vars(self))) is not None:
            name, expected = wrong
            raise ValueError(f"{name} = {getattr(self, name)}: it must be {expected}")

    def token(self, logits: Tensor, written: Tensor, uniform: Tensor | None) -> Tensor:
        """i64[B] from logits f32[B, V], after the texts i64[B, t], at uniform f32[B] (None: temperature is 0)."""
        logits = filters.repetition_penalty(filters.checked(logits), written, self.repetition_penalty)
        if uniform is None:
            return logits.argmax(-1)
        kept = filters.restrict(logits, self.temperature, self.top_k, self.top_p, self.min_p)
        return filters.draw(kept, uniform)


@dataclass(frozen=True)
class Opening:
    """How n texts begin.

    head:  i64[n, H] first tokens of the output: the start token of framed texts, then the prompt
    reads: i64[n, R] what the model reads before the first draw, R >= 1
    text:  where the text proper begins in `head`, after the start token
    steps: most tokens to write
    """

    head: Tensor
    reads: Tensor
    text: int
    steps: int

    @property
    def width(self) -> int:
        """Tokens of an output row, W."""
        return self.head.shape[1] + self.steps


def opening(
    n: int, start: int, length: int, framed: bool = True, prompt: Tensor | None = None, max_tokens: int | None = None
) -> Opening:
    """framed: rows are `length` tokens, the start token (BOS) and the prompt included, unless max_tokens is given.

    Windows of a long text: without a prompt the model reads `start`, which is no part of the output; with one
    it reads the prompt alone, which is. Either way `length` (or max_tokens) tokens are written after it.
    """
    said = torch.empty(n, 0, dtype=torch.int64) if prompt is None else prompt.to(torch.int64)
    said = said.expand(n, -1) if said.ndim == 1 else said
    if said.ndim != 2 or len(said) != n:
        raise ValueError(f"a prompt is i64[P] or i64[{n}, P], not {tuple(said.shape)}")
    first = torch.full((n, 1), start, dtype=torch.int64, device=said.device)
    if not framed:
        steps = length if max_tokens is None else max_tokens
        return Opening(said, said if said.shape[1] else first, 0, _positive(steps))
    head = torch.cat([first, said], 1)
    return Opening(head, head, 1, _positive(max(length - head.shape[1], 1) if max_tokens is None else max_tokens))


def _positive(steps: int) -> int:
    if steps < 1:
        raise ValueError(f"max_tokens = {steps}: a text has at least one token")
    return steps


def write(
    model: Writes,
    n: int,
    given: Mapping[str, Tensor],
    rng: Draws,
    *,
    start: int,
    length: int,
    framed: bool = True,
    prompt: Tensor | None = None,
    max_tokens: int | None = None,
    **options: Any,
) -> Tensor:
    """n texts i64[n, W], W = length, or prompt and max_tokens; after its end a text is filled with PAD.

    framed: a text begins with `start` (BOS, part of the output) and ends at EOS. Not framed: exactly `length` tokens
    that follow `start`, which is left out, or the prompt, which is part of the output (see `opening`).
    options: of `stream`.
    """
    open_ = opening(n, start, length, framed, prompt, max_tokens)
    told = stream(
        model, n, given, rng, start=start, length=length, framed=framed, prompt=prompt, max_tokens=max_tokens, **options
    )
    out: Tensor | None = None
    for t, token in enumerate(told, open_.head.shape[1]):
        if out is None:
            out = torch.full((n, open_.width), PAD, dtype=torch.int64, device=token.device)
            out[:, : open_.head.shape[1]] = open_.head.to(token.device)
        out[:, t] = token
    assert out is not None  # there is at least one step
    return out


@torch.no_grad()
def stream(
    model: Writes,
    n: int,
    given: Mapping[str, Tensor],
    rng: Draws,
    *,
    start: int,
    length: int,
    framed: bool = True,
    prompt: Tensor | None = None,
    max_tokens: int | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    allowed: Allowed | None = None,
    stop: Callable[[Tensor], Tensor] | None = None,
    ends: bool | None = None,
    eos: int = EOS,
    forbidden: Sequence[int] = FORBIDDEN,
) -> Iterator[Tensor]:
    """The tokens that `write` would put after the prompt, i64[n] each as it is drawn, until all texts have ended.

    temperature: 0 takes the most likely token, and draws nothing
    top_k, top_p, min_p, repetition_penalty: see sampling/filters.py; all off by default
    allowed: a constraint, asked before each token; see sampling/constraints.py
    stop:    (texts so far i64[n, t], without the start token) -> bool[n]: those that end here
    ends:    whether `eos` may be written and ends a text; None: where the text is framed
    """
    choice = Choice(temperature, top_k, top_p, min_p, repetition_penalty)
    open_ = opening(n, start, length, framed, prompt, max_tokens)
    ends = framed if ends is None else ends
    never = torch.tensor([*forbidden] if ends else [*forbidden, eos], dtype=torch.int64)
    memory = model.begin(n, given)
    live: Tensor | None = None  # i64[m]: the texts in the memory; a text that ended may stay in it for a while
    for t in range(open_.steps):
        if t == 0:
            logits = model.advance(memory, open_.reads.to(device_of(model, given)))[:, -1]
            device = logits.device
            never, live = never.to(device), torch.arange(n, device=device)
            text = torch.full((n, open_.width - open_.text), PAD, dtype=torch.int64, device=device)
            spoken = open_.head.shape[1] - open_.text
            text[:, :spoken] = open_.head[:, open_.text :]
            ended = torch.zeros(n, dtype=torch.bool, device=device)
            allowed = allowed.rows(live) if allowed is not None else None  # ours to move on
        else:
            assert live is not None
            going = (~ended[live]).nonzero()[:, 0]
            if len(going) <= _CROWD * len(live):
                memory, live = memory.rows(going), live[going]
                allowed = allowed.rows(going) if allowed is not None else None
            logits = model.advance(memory, text[live, spoken + t - 1 : spoken + t])[:, -1]
        so_far = text[:, : spoken + t]
        logits = logits.float().index_fill(-1, never, filters.NEVER)
        if allowed is not None:
            # What ended is still in the memory, and is asked for nothing.
            mask = allowed.mask(so_far[live]) | ended[live, None]
            logits = logits.masked_fill(~mask, filters.NEVER)
        uniform = rng.uniform(n).to(device)[live] if temperature else None
        chosen = choice.token(logits, so_far[live], uniform)
        token = torch.full((n,), PAD, dtype=torch.int64, device=device)
        token[live] = chosen.masked_fill(ended[live], PAD)
        text[:, spoken + t] = token
        if ends:
            ended = ended | (token == eos)
        if stop is not None:
            ended = ended | stop(text[:, : spoken + t + 1]).to(device)
        yield token
        if bool(ended.all()):
            return


def device_of(model: Writes, given: Mapping[str, Tensor]) -> torch.device:
    """Where a model reads: where its weights are or, if it has none, what it is given, which may be nothing."""
    weights = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((value.device for value in chain(weights, given.values())), torch.device("cpu"))
