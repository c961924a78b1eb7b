"""Beam search: the most likely sequence that a model would write, found by keeping the best few at each length.

    search(model, n, given, start=1, length=64, beam=4).tokens  # i64[n, W]

A sequence scores log p(y | x) / lp(y) with lp(y) = ((5 + |y|) / 6)^alpha, |y| the tokens written, EOS included: Wu et
al. 2016, eq. 14. It is over for a source when `beam` of its sequences have ended, or when none that goes on can still
be the best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from maquette.sampling.autoregressive import EOS, PAD, Drafts, Rules, Writes
from maquette.sampling.filters import NEVER, checked, top


@dataclass(frozen=True)
class Searched:
    """The best sequence of each source.

    tokens:   i64[n, W], filled with PAD
    scores:   f32[n]
    log_prob: f32[n], nats
    """

    tokens: Tensor
    scores: Tensor
    log_prob: Tensor


def length_penalty(written: int, alpha: float) -> float:
    """lp = ((5 + |y|) / 6)^alpha: Wu et al. 2016, eq. 14, without the coverage term."""
    return ((5 + written) / 6) ** alpha


@torch.no_grad()
def search(
    model: Writes, n: int, given: Mapping[str, Tensor], *, beam: int = 4, alpha: float = 0.6, **options: Any
) -> Searched:
    """The best sequence of each of n sources.

    beam:    sequences kept at each length; 1 is greedy
    alpha:   of the length penalty; 0 ranks by log p, which favours short sequences
    options: of autoregressive.Rules, of which start and length are needed, and `stop` is refused
    A sequence of full width that has not ended is taken only where none did.
    """
    if not (beam >= 1 and alpha >= 0):
        raise ValueError(f"beam = {beam}, alpha = {alpha}: needs beam >= 1 and alpha >= 0")
    rules = Rules(**options)
    if rules.stop is not None:
        raise ValueError("stop: what is searched for ends at EOS or at its full width")
    drafts = Drafts(model, n, given, rules)
    device, steps = drafts.items.device, drafts.opening.steps
    out = _Best(drafts.opening.head.to(device), drafts.opening.width)

    texts = torch.arange(n, device=device)  # i64[m]: the sources that go on
    over = torch.zeros(n, dtype=torch.int64, device=device)  # i64[m]: how many of their sequences have ended
    score = torch.zeros(n, 1, device=device)  # f32[m, k]: log p of their sequences; one, until they part
    bound = length_penalty(steps, alpha)
    for t in range(1, steps + 1):
        m, k = score.shape
        body = drafts.written.view(m, k, t - 1)
        logits = checked(drafts.possible(drafts.read()[:, -1]))
        # Twice as many as are kept: each sequence can end in one way only, so half of them go on.
        few = min(2 * beam, logits.shape[-1])
        value, token = top(logits, few)
        chance = score.view(m * k, 1) + value - logits.logsumexp(-1, keepdim=True)
        chance, place = top(chance.view(m, k * few), min(2 * beam, k * few))
        token, parent = token.view(m, k * few).gather(1, place), place // few
        if rules.may_end:
            end = (token == EOS) & (torch.arange(token.shape[1], device=device) < beam)
            ended = chance.masked_fill(~end, NEVER)
            out.add(texts, ended, length_penalty(t, alpha), body, parent, token)
            over = over + (ended > NEVER).sum(1)
            chance = chance.masked_fill(token == EOS, NEVER)
        score, kept = top(chance, min(beam, chance.shape[1]))
        token, parent = token.gather(1, kept), parent.gather(1, kept)
        if t == steps:
            out.add(texts, score, length_penalty(t, alpha), body, parent, token, last=True)
            break
        # log p only falls, and the penalty only grows: no sequence can do better than its log p over the last penalty.
        going = (over < beam) & (score[:, 0] > NEVER) & (score[:, 0] / bound > out.scores[texts])
        going = going.nonzero()[:, 0]
        if not len(going):
            break
        row = (torch.arange(m, device=device)[:, None] * k + parent)[going].flatten()
        texts, over, score = texts[going], over[going], score[going]
        drafts.keep(row)
        drafts.append(token[going].flatten())
        drafts.ended = score.flatten() == NEVER  # without a chance there is no next token, and none is asked for
    return Searched(out.tokens, out.scores, out.log_prob)


class _Best:
    """The best sequence of each source so far, of equals the first."""

    def __init__(self, head: Tensor, width: int) -> None:
        n, self.head = head.shape
        self.scores = torch.full((n,), NEVER, device=head.device)
        self.log_prob = self.scores.clone()
        self.tokens = torch.full((n, width), PAD, dtype=torch.int64, device=head.device)
        self.tokens[:, : self.head] = head

    def add(
        self, texts: Tensor, log_prob: Tensor, penalty: float, body: Tensor, parent: Tensor, token: Tensor,
        last: bool = False,
    ) -> None:  # fmt: skip
        """Sequences `body`[parent] + token of the sources `texts`; all i64 or f32[m, c] but body i64[m, k, t - 1].

        last: these have not ended, and count only where nothing did
        """
        log_prob, place = log_prob.max(1)
        score, before = log_prob / penalty, self.scores[texts]
        better = (score > before) & (before == NEVER) if last else score > before
        some = better.nonzero()[:, 0]
        if not len(some):
            return
        of, place = texts[some], place[some]
        self.scores[of], self.log_prob[of] = score[some], log_prob[some]
        end = self.head + body.shape[2]
        self.tokens[of, self.head : end] = body[some, parent[some, place]]
        self.tokens[of, end] = token[some, place]
