"""Sequences that are written side by side, each with its own rules, draws and place: one may come or go at any token.

    writing = Writing(model)
    writing.join(Draft(given, rng, rules, choice))
    while writing.drafts:
        for draft, token in writing.step(): ...

Each is what `autoregressive.write` makes of it alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from maquette.sampling import filters
from maquette.sampling.autoregressive import EOS, Choice, Draws, Rules, Writes, uniforms


class Pool(Protocol):
    """Memories of several sequences, whose next tokens are read in one pass: `Together` of nets/writing_together.py."""

    def join(self, memory: Any) -> int: ...

    def leave(self, row: int) -> None: ...

    def __call__(self, tokens: Tensor) -> Tensor: ...


class Draft:
    """One sequence that is being written.

    tokens: those so far, without the start token; the first `given_tokens` are those of the prompt
    logits: f32[V], what the last token was drawn from, before it was restricted
    ended:  whether it is whole: by itself, or (`cut`) since there is no room for more, or since it `failed`: nothing
            can stand there, or what the model makes is no number
    """

    def __init__(self, given: Mapping[str, Tensor], rng: Draws, rules: Rules, choice: Choice) -> None:
        self.given, self.rules, self.choice = given, rules, choice
        opening = rules.opening(1)
        self.tokens: list[int] = opening.head[0, opening.text :].tolist()
        self.given_tokens, self.left, self.reads = len(self.tokens), opening.steps, opening.reads
        self.unread = int(opening.reads[0, -1])
        self.uniform = uniforms(rng, 1, self.left, torch.device("cpu")) if choice.temperature else None
        self.allowed = None if rules.allowed is None else rules.allowed.rows(torch.arange(1))
        self.ended = self.cut = False
        self.failed: ValueError | FloatingPointError | None = None
        self.logits: Tensor | None = None
        self.memory: Any = None

    @property
    def alike(self) -> tuple[Any, ...] | None:
        """What those share whose tokens are drawn in one go; None: it is drawn alone."""
        own = self.allowed is not None or self.choice.repetition_penalty != 1
        return None if own else (self.choice, self.rules.never)

    def append(self, token: int) -> None:
        """Writes a token."""
        self.tokens.append(token)
        self.unread, self.left = token, self.left - 1
        self.ended = self.rules.may_end and token == EOS
        if not self.ended and self.rules.stop is not None:
            self.ended = bool(self.rules.stop(torch.tensor([self.tokens]))[0])
        if not self.ended and not self.left:
            self.ended = self.cut = True


class Writing:
    """The sequences under way of one model. pool: None: each is read alone, which gives the same."""

    def __init__(self, model: Writes, pool: Pool | None) -> None:
        self.model, self.pool = model, pool
        self.drafts: list[Draft] = []

    @torch.no_grad()
    def join(self, draft: Draft) -> None:
        """Takes one in: what it begins with is read, but for the last token."""
        memory = self.model.begin(1, draft.given)
        if self.pool is not None:
            memory.step = None  # in one way from the first token on
        if draft.reads.shape[1] > 1:
            self.model.advance(memory, draft.reads[:, :-1])
        if self.pool is None:
            draft.memory = memory
        else:
            self.pool.join(memory)
        self.drafts.append(draft)

    def leave(self, draft: Draft) -> None:
        """One goes, whole or not."""
        row = self.drafts.index(draft)
        if self.pool is not None:
            self.pool.leave(row)
        last = self.drafts.pop()
        if row < len(self.drafts):
            self.drafts[row] = last

    @torch.no_grad()
    def step(self) -> list[tuple[Draft, int]]:
        """One token more of each; those that have ended leave."""
        if not self.drafts:
            return []
        written, logits = self.drafts.copy(), self._read()
        for rows in self._alike():
            try:
                drawn = self._drawn(rows, logits[rows])
            except (ValueError, FloatingPointError) as error:
                for row in rows:
                    written[row].failed, written[row].ended = error, True
                continue
            for row, token in zip(rows, drawn, strict=True):
                written[row].logits = logits[row]
                written[row].append(token)
        for draft in written:
            if draft.ended:
                self.leave(draft)
        return [(draft, draft.tokens[-1] if draft.tokens else EOS) for draft in written]

    def _read(self) -> Tensor:
        if self.pool is not None:
            return self.pool(torch.tensor([draft.unread for draft in self.drafts])).float()
        one = [self.model.advance(d.memory, torch.tensor([[d.unread]]))[:, -1] for d in self.drafts]
        return torch.cat(one).float()

    def _alike(self) -> list[list[int]]:
        groups: dict[Any, list[int]] = {}
        for row, draft in enumerate(self.drafts):
            groups.setdefault(draft.alike or row, []).append(row)
        return list(groups.values())

    def _drawn(self, rows: list[int], logits: Tensor) -> list[int]:
        first = self.drafts[rows[0]]
        logits = logits.index_fill(1, torch.tensor(first.rules.never), filters.NEVER)
        so_far = torch.tensor([first.tokens]) if first.alike is None else torch.empty(len(rows), 0, dtype=torch.int64)
        if first.allowed is not None:
            logits = logits.masked_fill(~first.allowed.mask(so_far), filters.NEVER)
        draws = [next(uniform) for row in rows if (uniform := self.drafts[row].uniform) is not None]
        tokens: list[int] = first.choice.token(logits, so_far, torch.cat(draws) if draws else None).tolist()
        return tokens
