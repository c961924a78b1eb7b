"""How much each of several language models has to say about the next token."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """Weights f32[K, B, T] of K predictions of the next token, log-probabilities f32[K, B, T, V].

    They begin equal. `free` lets their sum differ from 1, which sharpens or flattens a product.

    hidden: 0 gives the same weights everywhere, K (+ 1) numbers; otherwise as many units of a network that sees each
            prediction's entropy, its likeliest token's log-probability, and how far it is from the mean prediction,
            sum_v p_k log(p_k / mean p). All of it is known before the token is.
    """

    def __init__(self, members: int, hidden: int, free: bool) -> None:
        super().__init__()
        self.shares = nn.Parameter(torch.zeros(members))
        self.sharpness = nn.Parameter(torch.zeros(())) if free else None
        self.net = None
        if hidden:
            out = nn.Linear(hidden, members)
            nn.init.zeros_(out.weight)
            nn.init.zeros_(out.bias)
            self.net = nn.Sequential(nn.Linear(3 * members, hidden), nn.Tanh(), out)

    def forward(self, log_p: Tensor) -> Tensor:
        shares = self.shares.view(-1, 1, 1).expand(log_p.shape[:3])
        if self.net is not None:
            shares = shares + self.net(features(log_p)).movedim(-1, 0)
        weights = shares.float().softmax(0)
        return weights if self.sharpness is None else weights * self.sharpness.exp()


def features(log_p: Tensor) -> Tensor:
    """Entropy, greatest log-probability and divergence from the mean prediction of each, f32[B, T, 3K], in nats."""
    p = log_p.exp()
    finite = log_p.clamp(min=-80)  # 0 log 0 = 0
    mean = p.mean(0, keepdim=True).clamp(min=1e-35).log()
    seen = [-(p * finite).sum(-1), log_p.amax(-1), (p * (finite - mean)).sum(-1)]
    return torch.cat(seen).movedim(0, -1)
