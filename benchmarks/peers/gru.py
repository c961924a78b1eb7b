"""A recurrent network that says the next sample, of as many parameters as the WaveNet: one GRU, by PyTorch."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIECE = 512  # samples through which gradients go back; states go on
TOGETHER = 16  # clips of a step


class GRU(nn.Module):
    """Codes i64[B, T] of the samples before, of which `codes` is that before the first, and the state of what was
    before them -> logits f32[B, T, codes + 1], of which the last is the end, and the state. 0.68 M parameters."""

    def __init__(self, codes: int, inputs: int = 64, hidden: int = 400) -> None:
        super().__init__()
        self.codes = codes
        self.embedding = nn.Embedding(codes + 1, inputs)
        self.gru = nn.GRU(inputs, hidden, batch_first=True)
        self.head = nn.Linear(hidden, codes + 1)

    def forward(self, before: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h, state = self.gru(self.embedding(before), state)
        return self.head(h), state

    def outcomes(self, clips: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What is before each sample of clips i64[n], and what comes, the end last, i64[B, T]; -1 behind it."""
        ended = [F.pad(clip, (0, 1), value=self.codes) for clip in clips]
        coming = nn.utils.rnn.pad_sequence(ended, batch_first=True, padding_value=-1)
        return F.pad(coming[:, :-1], (1, 0), value=self.codes).clamp(min=0), coming

    def nats(self, clips: Sequence[Tensor]) -> float:
        """-log p of clips and their ends."""
        before, coming = self.outcomes(clips)
        with torch.no_grad():
            logits, _ = self(before)
        return float(F.cross_entropy(logits.flatten(0, 1), coming.flatten(), ignore_index=-1, reduction="sum"))


def trained(clips: Sequence[Tensor], codes: int, seconds: float) -> GRU:
    """One that has learned from clips i64[n] for so many seconds of the processor."""
    torch.manual_seed(0)
    net, began = GRU(codes), time.process_time()
    optim = torch.optim.Adam(net.parameters(), lr=2e-3, betas=(0.9, 0.99))
    while (spent := (time.process_time() - began) / seconds) < 1:
        before, coming = net.outcomes([clips[i] for i in torch.randint(len(clips), (TOGETHER,)).tolist()])
        state = None
        for x, y in zip(before.split(PIECE, 1), coming.split(PIECE, 1), strict=True):
            if (y < 0).all():
                break
            logits, state = net(x, state)
            loss = F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=-1)
            for group in optim.param_groups:
                group["lr"] = 2e-3 * max(1 - spent, 0.02)
            optim.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optim.step()
            state = state.detach()
    return net.eval()
