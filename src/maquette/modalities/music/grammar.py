"""What tokens of a tune may follow one another: a constraint on what is written, and the rule by which it is judged."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maquette.core.spec import EOS, PAD
from maquette.modalities.music.tokens import (
    BAR,
    CHORD,
    DURATION,
    KEY,
    LEAD,
    METRE,
    POSITION,
    REST,
    TEMPO,
    Vocabulary,
    vocabulary,
)
from maquette.modalities.music.tune import METRES

ROOM, NOTE = 48, 3  # tokens of a bar, about; of a note
START, CHANGED = 0, DURATION + 1  # nothing is written; the metre of a bar that has begun
FOLLOWS = {
    START: (KEY,), KEY: (TEMPO,), TEMPO: (METRE,), METRE: (BAR,), BAR: (METRE, POSITION), CHANGED: (POSITION,),
    POSITION: (REST, LEAD, CHORD), REST: (DURATION,), LEAD: (DURATION,), CHORD: (DURATION,),
    DURATION: (POSITION, CHORD, BAR),
}  # fmt: skip


class Grammar:
    """Tunes that can be read: a head, then bars of notes in rising order, within their metre. Whether the notes of a
    bar add up to it is left to who writes. Meets `Allowed` of sampling/constraints.py.

    room: most tokens behind BOS; no bar begins among the last ROOM of them, so that a tune comes to an end
    """

    def __init__(self, known: Vocabulary, room: int | None = None) -> None:
        self.known, self._kind, self._room = known, torch.from_numpy(known.kind), room
        self._lengths = torch.tensor([known.lengths[metre] for metre in METRES])
        self._next = torch.zeros(len(FOLLOWS), known.size, dtype=torch.bool)
        for state, kinds in FOLLOWS.items():
            self._next[state] = torch.isin(self._kind, torch.tensor(kinds))
        self._next[DURATION, EOS] = True
        self._of = {kind: slice(known.first[kind], known.first[kind + 1]) for kind in (POSITION, CHORD)}
        self._read = 0  # tokens that the state is after
        # i64[B, 5]: kind of the last token; length of the bar; position in it; last chord; how many notes there are
        self._state: Tensor | None = None

    def mask(self, tokens: Tensor) -> Tensor:
        """bool[B, V] after tokens i64[B, t] without BOS."""
        if self._state is None:
            self._state = torch.tensor([[START, 0, -1, -1, 0]]).repeat(len(tokens), 1)
        for token in tokens[:, self._read :].cpu().unbind(1):
            self._step(token)
        self._read = tokens.shape[1]
        kind, length, position, chord, notes = self._state.unbind(1)
        made = self._next[kind]
        places, chords = (torch.arange(of.stop - of.start) for of in (self._of[POSITION], self._of[CHORD]))
        made[:, self._of[POSITION]] &= (places > position[:, None]) & (places < length[:, None])
        made[:, self._of[CHORD]] &= chords > chord[:, None]
        made[:, EOS] &= notes > 0  # of rests alone nothing is heard
        left = math.inf if self._room is None else self._room - tokens.shape[1]
        may_end = made[:, EOS].clone()
        if left <= ROOM:
            made[:, self.known.first[BAR]] &= ~may_end
            made[:, self.known.first[REST]] &= notes > 0
        if left <= NOTE:  # not even another note has room
            made &= ~may_end[:, None]
            made[:, EOS] = may_end
        return made.to(tokens.device)

    def rows(self, index: Tensor) -> Grammar:
        new = object.__new__(Grammar)
        new.__dict__ |= self.__dict__
        new._state = None if self._state is None else self._state[index.cpu()]
        return new

    def _step(self, token: Tensor) -> None:
        assert self._state is not None
        kind, length, position, chord, notes = self._state.unbind(1)
        now = self._kind[token]
        value = token - torch.tensor([self.known.first[k] if k else 0 for k in range(DURATION + 1)])[now]
        within = (now == METRE) & (kind == BAR)
        length = torch.where(now == METRE, self._lengths[value.clamp(0, len(METRES) - 1)], length)
        position = torch.where(now == BAR, -1, torch.where(now == POSITION, value, position))
        chord = torch.where(now == POSITION, -1, torch.where(now == CHORD, value, chord))
        notes = notes + ((now == LEAD) | (now == CHORD))
        self._state = torch.stack([torch.where(within, CHANGED, now), length, position, chord, notes], 1)


def follows(items: Tensor, grid: int) -> Tensor:
    """Which of i64[B, L], BOS to EOS, keep to the grammar to their end: bool[B]."""
    grammar, tokens = Grammar(vocabulary(grid)), items[:, 1:]
    good, ended = (torch.full((len(items),), value) for value in (True, False))
    for t, token in enumerate(tokens.unbind(1)):
        fits = grammar.mask(tokens[:, :t]).gather(1, token[:, None])[:, 0]
        good &= torch.where(ended, token == PAD, fits)
        ended |= token == EOS
    return good & ended
