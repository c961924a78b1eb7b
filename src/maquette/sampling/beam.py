"""Beam search: the most likely text that a model would write, found by keeping the best few at each length.

    search(model, n, given, start=1, length=64, beam=4).tokens  # i64[n, W]

A text scores log p(y | x) / lp(y) with lp(y) = ((5 + |y|) / 6)^alpha, |y| the tokens written, EOS included: Wu et al.
2016, eq. 14. It is over for a source when `beam` texts have ended, or when none that goes on can still be the best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maquette.sampling.autoregressive import EOS, FORBIDDEN, PAD, Writes, device_of, opening
from maquette.sampling.constraints import Allowed
from maquette.sampling.filters import NEVER, checked, top


@dataclass(frozen=True)
class Found:
    """The best text of each source.

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
    model: Writes,
    n: int,
    given: Mapping[str, Tensor],
    *,
    start: int,
    length: int,
    framed: bool = True,
    prompt: Tensor | None = None,
    max_tokens: int | None = None,
    beam: int = 4,
    alpha: float = 0.6,
    allowed: Allowed | None = None,
    ends: bool | None = None,
    eos: int = EOS,
    forbidden: Sequence[int] = FORBIDDEN,
) -> Found:
    """The best text of each of n sources; rows, `ends` and constraints as in autoregressive.write.

    beam:  texts kept at each length; 1 is greedy
    alpha: of the length penalty; 0 ranks by log p, which favours short texts
    A text of full width that has not ended is taken only where none did.
    """
    if not (beam >= 1 and alpha >= 0):
        raise ValueError(f"beam = {beam}, alpha = {alpha}: needs beam >= 1 and alpha >= 0")
    open_ = opening(n, start, length, framed, prompt, max_tokens)
    ends = framed if ends is None else ends
    memory = model.begin(n, given)
    logits = model.advance(memory, open_.reads.to(device_of(model, given)))[:, -1]
    device, vocab = logits.device, logits.shape[-1]
    never = torch.tensor([*forbidden] if ends else [*forbidden, eos], dtype=torch.int64, device=device)
    head = open_.head.to(device)
    out = _Best(head, open_.width)
    if allowed is not None:
        allowed = allowed.rows(torch.arange(n, device=device))

    texts = torch.arange(n, device=device)  # i64[m]: the sources that go on
    over = torch.zeros(n, dtype=torch.int64, device=device)  # i64[m]: how many of their texts have ended
    score = torch.zeros(n, 1, device=device)  # f32[m, k]: log p of their texts; one, until they part
    body = torch.empty(n, 1, 0, dtype=torch.int64, device=device)  # i64[m, k, t]: what these texts have written
    bound = length_penalty(open_.steps, alpha)
    for t in range(1, open_.steps + 1):
        m, k = score.shape
        logits = logits.float().index_fill(-1, never, NEVER)
        if allowed is not None:
            so_far = torch.cat([head[texts, open_.text :].repeat_interleave(k, 0), body.reshape(m * k, -1)], 1)
            # A text without a chance has no next token either, and is asked for none.
            mask = allowed.mask(so_far) | (score.view(m * k, 1) == NEVER)
            logits = logits.masked_fill(~mask, NEVER)
        logits = checked(logits)
        # Twice as many as are kept: each text can end in one way only, so half of them go on.
        few = min(2 * beam, vocab)
        value, token = top(logits, few)
        chance = score.view(m * k, 1) + value - logits.logsumexp(-1, keepdim=True)
        chance, place = top(chance.view(m, k * few), min(2 * beam, k * few))
        token, parent = token.view(m, k * few).gather(1, place), place // few
        if ends:
            end = (token == eos) & (torch.arange(token.shape[1], device=device) < beam)
            ended = chance.masked_fill(~end, NEVER)
            out.add(texts, ended, length_penalty(t, alpha), body, parent, token)
            over = over + (ended > NEVER).sum(1)
            chance = chance.masked_fill(token == eos, NEVER)
        score, keep = top(chance, min(beam, chance.shape[1]))
        token, parent = token.gather(1, keep), parent.gather(1, keep)
        if t == open_.steps:
            out.add(texts, score, length_penalty(t, alpha), body, parent, token, last=True)
            break
        body = torch.cat([body.gather(1, parent[..., None].expand(-1, -1, t - 1)), token[..., None]], 2)
        # log p only falls, and the penalty only grows: no text can do better than its log p over the last penalty.
        going = (over < beam) & (score[:, 0] > NEVER) & (score[:, 0] / bound > out.scores[texts])
        going = going.nonzero()[:, 0]
        if not len(going):
            break
        row = (torch.arange(m, device=device)[:, None] * k + parent)[going].flatten()
        texts, over, score, body, token = texts[going], over[going], score[going], body[going], token[going]
        if not torch.equal(row, torch.arange(m * k, device=device)):
            memory = memory.rows(row)
            allowed = allowed.rows(row) if allowed is not None else None
        logits = model.advance(memory, token.view(-1, 1))[:, -1]
    return Found(out.tokens, out.scores, out.log_prob)


class _Best:
    """The best text of each source so far, of equals the first."""

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
        """Texts `body`[parent] + token of the sources `texts`; all i64 or f32[m, c] but body i64[m, k, t - 1].

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
