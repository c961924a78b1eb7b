"""Likelihood of the tokens of texts under predicted logits, in nats.

logits f32[B, T, V] are of the tokens i64[B, T] that they stand above; padding counts nothing.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def token_log_prob(logits: Tensor, tokens: Tensor, pad: int = 0) -> Tensor:
    """log softmax(logits)[token], f32[B, T], nats; 0 where the token is padding."""
    flat = F.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten(), ignore_index=pad, reduction="none")
    return -flat.view(tokens.shape)


def smoothed_nll(logits: Tensor, tokens: Tensor, smoothing: float = 0.0, pad: int = 0) -> tuple[Tensor, Tensor]:
    """The loss of each token and its plain NLL (detached), both f32[B, T], nats; 0 where the token is padding.

    Loss: cross-entropy with the target (1 - smoothing) one-hot + smoothing / V (Szegedy et al. 2016, section 7).
    """
    log_p = F.log_softmax(logits.float(), -1)
    real = tokens != pad
    nll = -log_p.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) * real
    if not smoothing:
        return nll, nll.detach()
    uniform = -log_p.mean(-1) * real
    return (1 - smoothing) * nll + smoothing * uniform, nll.detach()


def mean_over_items(per_token: Tensor, mean_length: float) -> Tensor:
    """Sum of f32[B, T] over (B x the tokens that an item of the data has to be predicted on average), f32[].

    Close to the mean over tokens, yet a mean over items: any way of cutting a batch up gives the same gradient.
    """
    return per_token.sum() / (len(per_token) * max(mean_length - 1, 1))
