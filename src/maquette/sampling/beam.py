"""Beam search: the most likely texts that a model would write, found by keeping the best few at each length.

    search(model, n, given, start=1, length=64, beam=4).tokens  # i64[n, W]

A text scores log p(y | x) / lp(y) with lp(y) = ((5 + |y|) / 6)^alpha, |y| the tokens written, EOS included: Wu et al.
2016, eq. 14. It is over for a source when `beam` texts have ended, or when none that goes on can still enter the best.
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
    """The best texts of each source, best first.

    ranked:   i64[n, n_best, W], filled with PAD
    scores:   f32[n, n_best], -inf where fewer were found
    log_prob: f32[n, n_best], nats
    """

    ranked: Tensor
    scores: Tensor
    log_prob: Tensor

    @property
    def tokens(self) -> Tensor:
        """The best text of each source, i64[n, W]."""
        return self.ranked[:, 0]


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
    n_best: int = 1,
    alpha: float = 0.6,
    allowed: Allowed | None = None,
    ends: bool | None = None,
    eos: int = EOS,
    forbidden: Sequence[int] = FORBIDDEN,
) -> Found:
    """The n_best texts of each of n sources; rows, `ends` and constraints as in autoregressive.write.

    beam:   texts kept at each length; 1 is greedy
    n_best: of them are returned, at most `beam`
    alpha:  of the length penalty; 0 ranks by log p, which favours short texts
    Texts of full width that have not ended are taken only where fewer than n_best did.
    """
    if beam < 1 or not 1 <= n_best <= beam or alpha < 0:
        raise ValueError(f"beam = {beam}, n_best = {n_best}, alpha = {alpha}: needs 1 <= n_best <= beam and alpha >= 0")
    open_ = opening(n, start, length, framed, prompt, max_tokens)
    ends = framed if ends is None else ends
    memory = model.begin(n, given)
    logits = model.advance(memory, open_.reads.to(device_of(given)))[:, -1]
    device, vocab = logits.device, logits.shape[-1]
    never = torch.tensor([*forbidden] if ends else [*forbidden, eos], dtype=torch.int64, device=device)
    head = open_.head.to(device)
    out = _Best(n, n_best, head, open_.width, device)
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
        body = torch.cat([body.gather(1, parent[..., None].expand(-1, -1, t - 1)), token[..., None]], 2)
        if t == open_.steps:
            out.fill(texts, score, length_penalty(t, alpha), body)
            break
        # log p only falls, and the penalty only grows: no text can do better than its log p over the last penalty.
        going = (over < beam) & (score[:, 0] > NEVER) & (score[:, 0] / bound > out.scores[texts, -1])
        going = going.nonzero()[:, 0]
        if not len(going):
            break
        row = (torch.arange(m, device=device)[:, None] * k + parent)[going].flatten()
        texts, over, score, body, token = texts[going], over[going], score[going], body[going], token[going]
        if not torch.equal(row, torch.arange(m * k, device=device)):
            memory = memory.rows(row)
            allowed = allowed.rows(row) if allowed is not None else None
        logits = model.advance(memory, token.view(-1, 1))[:, -1]
    return Found(out.ranked, out.scores, out.log_prob)


class _Best:
    """The best texts that have ended, of each source."""

    def __init__(self, n: int, n_best: int, head: Tensor, width: int, device: torch.device) -> None:
        self.scores = torch.full((n, n_best), NEVER, device=device)
        self.log_prob = torch.full((n, n_best), NEVER, device=device)
        self.ranked = torch.full((n, n_best, width), PAD, dtype=torch.int64, device=device)
        self.ranked[..., : head.shape[1]] = head[:, None]
        self.head = head.shape[1]

    def add(self, texts: Tensor, log_prob: Tensor, penalty: float, body: Tensor, parent: Tensor, token: Tensor) -> None:
        """Texts `body`[parent] + token of the sources `texts`, all i64 or f32[m, c] but body i64[m, k, t - 1]."""
        some = (log_prob > NEVER).any(1).nonzero()[:, 0]
        if not len(some):
            return
        log_prob, parent, token = log_prob[some], parent[some], token[some]
        body = body[some].gather(1, parent[..., None].expand(-1, -1, body.shape[2]))
        self._merge(texts[some], log_prob, log_prob / penalty, torch.cat([body, token[..., None]], 2))

    def fill(self, texts: Tensor, log_prob: Tensor, penalty: float, body: Tensor) -> None:
        """Texts i64[m, k, t] that have not ended, best first, take the places that are free, behind those that have."""
        self._merge(texts, log_prob, log_prob / penalty, body, behind=True)

    def _merge(self, texts: Tensor, log_prob: Tensor, score: Tensor, written: Tensor, behind: bool = False) -> None:
        wide = torch.full((*written.shape[:2], self.ranked.shape[2]), PAD, dtype=torch.int64, device=written.device)
        wide[..., : self.head] = self.ranked[texts, :1, : self.head]
        wide[..., self.head : self.head + written.shape[2]] = written
        scores = torch.cat([self.scores[texts], score], 1)
        place = torch.arange(scores.shape[1], device=scores.device, dtype=scores.dtype).expand_as(scores)
        _, order = top((-place).masked_fill(scores == NEVER, NEVER) if behind else scores, self.scores.shape[1])
        self.scores[texts] = scores.gather(1, order)
        self.log_prob[texts] = torch.cat([self.log_prob[texts], log_prob], 1).gather(1, order)
        every = torch.cat([self.ranked[texts], wide], 1)
        self.ranked[texts] = every.gather(1, order[..., None].expand(-1, -1, every.shape[2]))
