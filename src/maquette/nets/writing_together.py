"""Texts that are written side by side, each at a place of its own: one may come or go at any token.

The matrices are read once for all of them (Yu et al. 2022, Orca, section 3.2: iteration-level scheduling), and each
text attends to its own keys. Every number is summed in one order (nets/writing_numba.py), so a text is the same to the
last bit, whoever is beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maquette.nets.attention import Memory
from maquette.nets.writing import Step, turns

if TYPE_CHECKING:
    from maquette.nets.transformer import Transformer
    from maquette.nets.writing_numba import Compiled

_FIRST = 4  # texts for which there is room at first


class Together:
    """See `of`. Texts are numbered from 0; who leaves gives their number to the last one."""

    def __init__(self, step: Step, compiled: Compiled, like: Memory) -> None:
        self.step, self.compiled, self.texts = step, compiled, 0
        self.positions = np.zeros(_FIRST, np.int64)  # tokens that were read
        self.memory = like.rows(torch.zeros(_FIRST, dtype=torch.int64))

    @staticmethod
    def of(net: Transformer, like: Memory) -> Together | None:
        """Of a network whose next token is a compiled step; None of any other. like: a memory of one text"""
        step = like.step
        if step is None or like.source is not None or step.compiled is None:
            return None
        return Together(step, step.compiled, like)

    def join(self, memory: Memory) -> int:
        """Takes in one text as far as it was read; returns its number."""
        row, room = self.texts, memory.keys.shape[4]
        self._fit(row + 1, min(room, memory.context))
        ours = self.memory
        ours.keys[:, :, row, :, :room] = memory.keys[:, :, 0]
        ours.before[:, row], ours.recent[row] = memory.before[:, 0], memory.recent[0]
        if ours.condition is not None and memory.condition is not None:
            ours.condition[row] = memory.condition[0]
        self.positions[row] = memory.position
        self.texts += 1
        return row

    def leave(self, row: int) -> None:
        """A text goes, and the last one takes its number."""
        self.texts -= 1
        last, ours = self.texts, self.memory
        if row != last:
            ours.keys[:, :, row], ours.before[:, row] = ours.keys[:, :, last], ours.before[:, last]
            ours.recent[row], self.positions[row] = ours.recent[last], self.positions[last]
            if ours.condition is not None:
                ours.condition[row] = ours.condition[last]

    def __call__(self, tokens: Tensor) -> Tensor:
        """Reads the next token of each text, i64[texts] -> logits f32[texts, vocab] of the one after."""
        n, ours = self.texts, self.memory
        at: NDArray[np.int64] = self.positions[:n].copy()
        farthest = int(at.max())
        self._fit(n, min(farthest + 1, ours.context))
        room = ours.keys.shape[4]
        here = Memory(ours.keys, ours.context, ours.recent[:n], ours.before, None, _first(ours.condition, n))
        with np.errstate(over="ignore", invalid="ignore"):
            x = self.step.embedded(here, tokens)
            turn = turns(self.step.head_dim, 1 << max(8, farthest.bit_length()))[at]
            slots, used = at % room, np.minimum(at + 1, room)
            logits = self.compiled(x, turn, ours.keys.numpy(), ours.before.numpy(), slots, used)
        ours.recent[:n] = here.recent
        self.positions[:n] += 1
        return torch.from_numpy(logits)

    def _fit(self, rows: int, tokens: int) -> None:
        """Room for so many texts of so many tokens: doubled where there is too little."""
        ours = self.memory
        layers, two, texts, heads, room, size = ours.keys.shape
        if rows > texts:
            self.memory = ours = ours.rows(torch.arange(2 * texts).clamp(max=texts - 1))
            self.positions = np.resize(self.positions, 2 * texts)
        if tokens > room:
            grown = ours.keys.new_zeros(layers, two, len(self.positions), heads, min(ours.context, 2 * tokens), size)
            grown[..., :room, :] = ours.keys
            ours.keys = grown


def _first(x: Tensor | None, n: int) -> Tensor | None:
    return None if x is None else x[:n]
