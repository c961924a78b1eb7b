"""Texts that a writer proposes and a critic chooses, block by block, as they are written.

From each text so far the writer draws `candidates` continuations of `block` tokens; one is kept with probability
softmax(score), score its log-ratio log p(block | text) / p_writer(block | text) as the critic estimates it. This is
sequential importance resampling (Rubin 1988; Gordon et al. 1993) of the residual energy model
p(x) = p_writer(x) exp(score(x)) / Z of Deng et al. 2020, eq. 2, exact in the limit of many candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from maquette.sampling import filters
from maquette.sampling.autoregressive import EOS, FORBIDDEN, PAD, Choice, Draws, Writes, device_of, opening
from maquette.sampling.constraints import Allowed


class Judges(Protocol):
    """A critic that reads along."""

    def begin(self, n: int, given: Mapping[str, Tensor], first: Tensor) -> Any:
        """The memory of n texts of which the first token i64[n, 1] is read; it has `rows`."""
        ...

    def advance(self, memory: Any, tokens: Tensor, logits: Tensor) -> Tensor:
        """Log-ratio of each token i64[B, T] that comes next, f32[B, T]; logits f32[B, T, V]: the writer's, of it."""
        ...


@torch.no_grad()
def stream(
    writer: Writes,
    critic: Judges,
    n: int,
    given: Mapping[str, Tensor],
    rng: Draws,
    *,
    start: int,
    length: int,
    framed: bool = True,
    prompt: Tensor | None = None,
    max_tokens: int | None = None,
    candidates: int = 8,
    block: int = 8,
    allowed: Allowed | None = None,
    stop: Callable[[Tensor], Tensor] | None = None,
    ends: bool | None = None,
    eos: int = EOS,
    forbidden: Sequence[int] = FORBIDDEN,
    **options: Any,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks as they are kept: tokens i64[n, b], and bool[n, b] where they are not what the writer drew first.

    Arguments as of autoregressive.stream; options: of `Choice`. Item i depends on (seed, i) alone.
    """
    choice, k = Choice(**options), candidates
    if k < 1 or block < 1:
        raise ValueError(f"candidates = {k}, block = {block}: both are 1 or more")
    open_ = opening(n, start, length, framed, prompt, max_tokens)
    ends = framed if ends is None else ends
    device = device_of(writer, given)
    never = torch.tensor([*forbidden] if ends else [*forbidden, eos], dtype=torch.int64, device=device)
    reads = open_.reads.to(device)
    memory, judged = writer.begin(n, given), critic.begin(n, given, reads[:, :1])
    if reads.shape[1] > 1:  # all that is read but the last token, whose logits draw the first one
        logits = writer.advance(memory, reads[:, :-1])
        critic.advance(judged, reads[:, 1:], logits)
    text = open_.head[:, open_.text :].to(device)  # i64[m, t] of the texts that go on
    last = reads[:, -1:]
    live = torch.arange(n, device=device)
    allowed = allowed.rows(live) if allowed is not None else None
    for at in range(0, open_.steps, block):
        b, m = min(block, open_.steps - at), len(live)
        every = torch.arange(m, device=device).repeat_interleave(k)
        memory, judged = memory.rows(every), judged.rows(every)
        allowed = allowed.rows(every) if allowed is not None else None
        so_far, last = text[every], last[every]
        ended = torch.zeros(m * k, dtype=torch.bool, device=device)
        seen, drawn = [], []
        for _ in range(b):
            logits = writer.advance(memory, last)
            seen.append(logits)
            logits = logits[:, -1].float().index_fill(-1, never, filters.NEVER)
            if allowed is not None:
                logits = logits.masked_fill(~(allowed.mask(so_far) | ended[:, None]), filters.NEVER)
            uniform = rng.uniform(n, k).to(device)[live].flatten() if choice.temperature else None
            token = choice.token(logits, so_far, uniform).masked_fill(ended, PAD)
            drawn.append(token)
            so_far, last = torch.cat([so_far, token[:, None]], 1), token[:, None]
            if ends:
                ended = ended | (token == eos)
            if stop is not None:
                ended = ended | stop(so_far).to(device)
        blocks = torch.stack(drawn, 1)
        ratio = critic.advance(judged, blocks, torch.cat(seen, 1))
        score = (ratio * (blocks != PAD)).sum(1).view(m, k)
        kept = filters.draw(score, rng.uniform(n).to(device)[live])
        row = torch.arange(m, device=device) * k + kept
        blocks = blocks.view(m, k, b)
        chosen, first = blocks[torch.arange(m, device=device), kept], blocks[:, 0]
        out = torch.full((n, b), PAD, dtype=torch.int64, device=device)
        swapped = torch.zeros(n, b, dtype=torch.bool, device=device)
        out[live] = chosen
        swapped[live] = ((chosen != first).cumsum(1) > 0) & (chosen != PAD)
        yield out, swapped
        row = row[~ended[row]]
        if not len(row):
            return
        live = live[row // k]
        memory, judged, text, last = memory.rows(row), judged.rows(row), so_far[row], last[row]
        allowed = allowed.rows(row) if allowed is not None else None
