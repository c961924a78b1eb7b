"""Sequences written from left to right, each token drawn from the model's distribution of the next one.

    write(model, n, given, rng, start=1, length=64, temperature=0.8, top_p=0.95)

Item i depends on (seed, i, given[i]) alone: the draw inverts the distribution function at one uniform number a token,
and sequences that have ended draw too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import chain, repeat
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from maquette.sampling import filters
from maquette.sampling.constraints import Allowed

# Reserved tokens as core/spec.py numbers them, which this room may not import; a test holds the two together.
PAD, EOS = 0, 2
FORBIDDEN = (0, 1, 3, 4, 5, 6)  # those that no sequence contains
_DRAWN = 64  # steps
_CROWD = 0.75  # the memory is cut down when no more than this share of its sequences still goes on


class Limit(NamedTuple):
    """What an option of writing must be: in words, as a test that NaN fails, and as keywords of JSON schema."""

    words: str
    fits: Callable[[Any], bool]
    schema: Mapping[str, Any]


# The one place for it, which the options of `maquette sample` read as well.
LIMITS = {
    "temperature": Limit(
        "0, or from 0.001 to 1,000", lambda value: value == 0 or 1e-3 <= value <= 1e3,
        {"anyOf": [{"const": 0}, {"minimum": 1e-3, "maximum": 1e3}]},
    ),
    "top_k": Limit("0 (off) or more", lambda value: value >= 0, {"minimum": 0}),
    "top_p": Limit("above 0 and at most 1", lambda value: 0 < value <= 1, {"exclusiveMinimum": 0, "maximum": 1}),
    "min_p": Limit("0 or more and at most 1", lambda value: 0 <= value <= 1, {"minimum": 0, "maximum": 1}),
    "repetition_penalty": Limit(
        "from 0.01 to 100", lambda value: 0.01 <= value <= 100, {"minimum": 0.01, "maximum": 100}
    ),
    "max_tokens": Limit(
        "from 1 to 1,000,000", lambda value: value is None or 1 <= value <= 1_000_000, {"minimum": 1, "maximum": 10**6}
    ),
}  # fmt: skip


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

    temperature: 0 takes the most likely token, and draws nothing
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not LIMITS[name].fits(value):
                raise ValueError(f"{name} = {value}: it must be {LIMITS[name].words}")

    def token(self, logits: Tensor, written: Tensor, uniform: Tensor | None) -> Tensor:
        """i64[B] from logits f32[B, V], after the sequences i64[B, t], at uniform f32[B] (None: temperature is 0)."""
        logits = filters.repetition_penalty(filters.checked(logits), written, self.repetition_penalty)
        if uniform is None:
            return logits.argmax(-1)
        kept = filters.restrict(logits, self.temperature, self.top_k, self.top_p, self.min_p)
        return filters.draw(kept, uniform)


@dataclass(frozen=True)
class Opening:
    """How n sequences begin.

    head:  i64[n, H] first tokens of the output: the start token of framed sequences, then the prompt
    reads: i64[n, R] what the model reads before the first draw, R >= 1
    text:  where what counts as written begins in `head`, after the start token
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

    Windows of a long sequence: without a prompt the model reads `start`, which is no part of the output; with one
    it reads the prompt alone, which is. Either way `length` (or max_tokens) tokens are written after it.
    """
    first = torch.empty(n, 0, dtype=torch.int64) if prompt is None else prompt.to(torch.int64)
    first = first.expand(n, -1) if first.ndim == 1 else first
    if first.ndim != 2 or len(first) != n:
        raise ValueError(f"a prompt is i64[P] or i64[{n}, P], not {tuple(first.shape)}")
    begins = torch.full((n, 1), start, dtype=torch.int64, device=first.device)
    if not framed:
        steps = length if max_tokens is None else max_tokens
        return Opening(first, first if first.shape[1] else begins, 0, _positive(steps))
    head = torch.cat([begins, first], 1)
    return Opening(head, head, 1, _positive(max(length - head.shape[1], 1) if max_tokens is None else max_tokens))


def _positive(steps: int) -> int:
    if steps < 1:
        raise ValueError(f"max_tokens = {steps}: a sequence has at least one token")
    return steps


@dataclass(frozen=True)
class Rules:
    """What every way of writing keeps to: how sequences begin, what may stand in them, and when they end.

    start:   the token that a sequence begins with
    length, framed, prompt, max_tokens: see `opening`. A framed sequence begins with `start`, part of the output, and
             ends at EOS; one that is not framed has exactly `length` tokens after `start`, which is left out
    allowed: a constraint, asked before each token; see sampling/constraints.py
    stop:    (sequences so far i64[m, t], without the start token) -> bool[m]: those that end here
    ends:    whether EOS may be written and ends a sequence; None: where it is framed
    """

    start: int
    length: int
    framed: bool = True
    prompt: Tensor | None = None
    max_tokens: int | None = None
    allowed: Allowed | None = None
    stop: Callable[[Tensor], Tensor] | None = None
    ends: bool | None = None

    def opening(self, n: int) -> Opening:
        return opening(n, self.start, self.length, self.framed, self.prompt, self.max_tokens)

    @property
    def may_end(self) -> bool:
        return self.framed if self.ends is None else self.ends

    @property
    def never(self) -> tuple[int, ...]:
        """Tokens that are not written."""
        return FORBIDDEN if self.may_end else (*FORBIDDEN, EOS)


def parted(options: Mapping[str, Any]) -> tuple[Rules, Choice]:
    """Options of writing, those of `Rules` and those of `Choice`; TypeError for one that is neither."""
    of_choice = {field.name for field in fields(Choice)}
    rules = Rules(**{name: value for name, value in options.items() if name not in of_choice})
    return rules, Choice(**{name: value for name, value in options.items() if name in of_choice})


class Drafts:
    """m sequences that are being written: what the model remembers of them, their tokens, and which have ended.

    items:  i64[m]: which of the n that were begun each of them is
    ended:  bool[m]: those that go on with PAD, are asked for nothing, and may be left out
    unread: i64[m, R]: their last tokens, which the model has not read yet
    """

    def __init__(self, model: Writes, n: int, given: Mapping[str, Tensor], rules: Rules) -> None:
        self.model, self.rules, self.opening = model, rules, rules.opening(n)
        device = device_of(model, given)
        self.items = torch.arange(n, device=device)
        self.ended = torch.zeros(n, dtype=torch.bool, device=device)
        self.unread = self.opening.reads.to(device)
        self.memory = model.begin(n, given)
        self.allowed = None if rules.allowed is None else rules.allowed.rows(self.items)  # ours to move on
        self._never: Tensor | None = None
        self._tokens = torch.full((n, self.opening.width - self.opening.text), PAD, device=device)
        self._count = self.opening.head.shape[1] - self.opening.text
        self._tokens[:, : self._count] = self.opening.head[:, self.opening.text :]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def text(self) -> Tensor:
        """The sequences so far without their start token, i64[m, t]."""
        return self._tokens[:, : self._count]

    @property
    def written(self) -> Tensor:
        """The same without the prompt."""
        return self.text[:, self.opening.head.shape[1] - self.opening.text :]

    def read(self, but: int = 0) -> Tensor:
        """Lets the model read what it has not yet, save the last `but` tokens -> its logits f32[m, R - but, V]."""
        end = self.unread.shape[1] - but
        tokens, self.unread = self.unread.tensor_split((end,), 1)
        return self.model.advance(self.memory, tokens)

    def possible(self, logits: Tensor) -> Tensor:
        """Logits f32[m, V] of the next token, -inf where it may not be written."""
        if self._never is None:
            never = torch.zeros(logits.shape[-1], dtype=torch.bool)
            never[list(self.rules.never)] = True
            self._never = never.to(logits.device)
        logits = logits.float().masked_fill(self._never, filters.NEVER)
        if self.allowed is None:
            return logits
        return logits.masked_fill(~(self.allowed.mask(self.text) | self.ended[:, None]), filters.NEVER)

    def append(self, token: Tensor) -> Tensor:
        """Writes the tokens i64[m], PAD where a sequence has ended; returns what was written."""
        token = token.masked_fill(self.ended, PAD)
        self._tokens[:, self._count] = token
        self._count, self.unread = self._count + 1, token[:, None]
        if self.rules.may_end:
            self.ended = self.ended | (token == EOS)
        if self.rules.stop is not None:
            self.ended = self.ended | self.rules.stop(self.text).to(token.device)
        return token

    @property
    def may_end(self) -> bool:
        """Whether one of them may end before the others, or has."""
        return self.rules.may_end or self.rules.stop is not None

    def keep(self, index: Tensor) -> None:
        """Goes on with these rows i64[m'] alone, in this order; a row may stand there several times."""
        if len(index) == len(self) and torch.equal(index, torch.arange(len(self), device=index.device)):
            return
        self.items, self.ended, self.unread = self.items[index], self.ended[index], self.unread[index]
        self.memory, self._tokens = self.memory.rows(index), self._tokens[index]
        self.allowed = None if self.allowed is None else self.allowed.rows(index)


def write(model: Writes, n: int, given: Mapping[str, Tensor], rng: Draws, **options: Any) -> Tensor:
    """n sequences i64[n, W], W = length, or prompt and max_tokens; after its end a sequence is filled with PAD.

    options: of `Rules`, of which start and length are needed, and of `Choice`
    """
    tokens = list(stream(model, n, given, rng, **options))
    begun = parted(options)[0].opening(n)
    out = torch.full((n, begun.width), PAD, device=tokens[0].device)
    head = begun.head.shape[1]
    out[:, :head] = begun.head
    out[:, head : head + len(tokens)] = torch.stack(tokens, 1)
    return out


@torch.no_grad()
def stream(model: Writes, n: int, given: Mapping[str, Tensor], rng: Draws, **options: Any) -> Iterator[Tensor]:
    """The tokens that `write` would put after the prompt, i64[n] each as it is drawn, until all sequences have ended.

    options: as of `write`
    """
    rules, choice = parted(options)
    drafts = Drafts(model, n, given, rules)
    steps, device = drafts.opening.steps, drafts.unread.device
    for uniform in uniforms(rng, n, steps, device) if choice.temperature else repeat(None, steps):
        logits = drafts.possible(drafts.read()[:, -1])
        if len(drafts) == n:
            token = drafts.append(choice.token(logits, drafts.text, uniform))
        else:
            uniform = None if uniform is None else uniform[drafts.items]
            token = torch.full((n,), PAD, device=logits.device)
            token[drafts.items] = drafts.append(choice.token(logits, drafts.text, uniform))
        yield token
        if not drafts.may_end:
            continue
        going = (~drafts.ended).nonzero()[:, 0]
        if not len(going):
            return
        if len(going) <= _CROWD * len(drafts):  # until then, what has ended stays
            drafts.keep(going)


def uniforms(rng: Draws, n: int, steps: int, device: torch.device) -> Iterator[Tensor]:
    """f32[n] for each step, drawn for many steps at a time: each item has a generator, which is slow to ask."""
    for start in range(0, steps, _DRAWN):
        yield from rng.uniform(n, min(_DRAWN, steps - start)).to(device).unbind(1)


def device_of(model: Writes, given: Mapping[str, Tensor]) -> torch.device:
    """Where a model reads: where its weights are or, if it has none, what it is given, which may be nothing."""
    weights = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((value.device for value in chain(weights, given.values())), torch.device("cpu"))
