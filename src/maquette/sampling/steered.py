"""Sequences that a writer proposes and a critic chooses, block by block, as they are written.

From each sequence so far the writer draws `candidates` continuations of `block` tokens; one is kept with probability
softmax(score), score its log-ratio log p(block | text) / p_writer(block | text) as the critic estimates it. This is
sequential importance resampling (Rubin 1988; Gordon et al. 1993) of the residual energy model
p(x) = p_writer(x) exp(score(x)) / Z of Deng et al. 2020, eq. 2, exact in the limit of many candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from maquette.sampling import filters
from maquette.sampling.autoregressive import PAD, Drafts, Draws, Writes, parted


class Critic(Protocol):
    """A critic that reads along."""

    def begin(self, n: int, given: Mapping[str, Tensor], first: Tensor) -> Any:
        """The memory of n texts of which the first token i64[n, 1] is read; it has `rows`."""
        ...

    def advance(self, memory: Any, tokens: Tensor, logits: Tensor) -> Tensor:
        """Log-ratio of each token i64[B, T] that comes next, f32[B, T]; logits f32[B, T, V]: the writer's, of it."""
        ...


@torch.no_grad()
def stream(
    writer: Writes, critic: Critic, n: int, given: Mapping[str, Tensor], rng: Draws, *,
    candidates: int = 8, block: int = 8, **options: Any,
) -> Iterator[tuple[Tensor, Tensor]]:  # fmt: skip
    """Blocks as they are kept: tokens i64[n, b], and bool[n, b] where they are not what the writer drew first.

    candidates: continuations drawn of each sequence      block: tokens of one      options: as of autoregressive.write
    Item i depends on (seed, i) alone.
    """
    (rules, choice), k = parted(options), candidates
    if k < 1 or block < 1:
        raise ValueError(f"candidates = {k}, block = {block}: both are 1 or more")
    drafts = Drafts(writer, n, given, rules)
    judged = critic.begin(n, given, drafts.unread[:, :1])
    if drafts.unread.shape[1] > 1:  # all that is read but the last token, whose logits draw the first one
        following = drafts.unread[:, 1:]
        critic.advance(judged, following, drafts.read(but=1))
    for at in range(0, drafts.opening.steps, block):
        live, m = drafts.items, len(drafts)
        device = live.device
        every = torch.arange(m, device=device)
        copies = every.repeat_interleave(k)
        drafts.keep(copies)
        judged = judged.rows(copies)
        seen, drawn = [], []
        for _ in range(min(block, drafts.opening.steps - at)):
            seen.append(drafts.read())
            logits = drafts.possible(seen[-1][:, -1])
            uniform = rng.uniform(n, k).to(device)[live].flatten() if choice.temperature else None
            drawn.append(drafts.append(choice.token(logits, drafts.text, uniform)))
        blocks = torch.stack(drawn, 1)
        ratio = critic.advance(judged, blocks, torch.cat(seen, 1))
        score = (ratio * (blocks != PAD)).sum(1).view(m, k)
        kept = filters.draw(score, rng.uniform(n).to(device)[live])
        of = blocks.view(m, k, -1)
        chosen, first = of[every, kept], of[:, 0]
        out = torch.full((n, len(drawn)), PAD, device=device)
        swapped = torch.zeros_like(out, dtype=torch.bool)
        out[live] = chosen
        swapped[live] = ((chosen != first).cumsum(1) > 0) & (chosen != PAD)
        yield out, swapped
        row = every * k + kept
        row = row[~drafts.ended[row]]
        if not len(row):
            return
        drafts.keep(row)
        judged = judged.rows(row)
