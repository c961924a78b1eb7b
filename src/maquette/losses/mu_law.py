"""Sound in 256 codes, finer where it is quiet (mu-law companding, ITU-T G.711's curve; van den Oord et al. 2016, 2.2).

f(x) = sign(x) ln(1 + mu |x|) / ln(1 + mu), mu = 255, cut into 256 steps that are centred on multiples of 1/128: so
silence, 0.0, has a code of its own.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.nets.sounding import mu_law_values

CODES = 256
SILENCE = CODES // 2  # the code of 0.0
_MU = CODES - 1


def encode(x: Tensor) -> Tensor:
    """Values in [-1, 1] -> codes i64 in 0 .. 255; what is louder counts as the loudest."""
    steps = x.sign() * torch.log1p(_MU * x.abs()) * (SILENCE / math.log1p(_MU))
    return (steps.round().long() + SILENCE).clamp(0, CODES - 1)


def decode(codes: Tensor) -> Tensor:
    """Codes -> f32 in [-1, 1]: encode(decode(c)) is c, and the code of silence is 0.0."""
    return torch.from_numpy(mu_law_values()).to(codes.device)[codes]


class Coder:
    """How a network knows samples by their codes.

    values:  of the codes, f32[256]      mixtures: none
    outputs: numbers that it makes: a logit of each code, and of the end
    """

    values, mixtures, outputs = mu_law_values(), 0, CODES + 1

    def before(self, x: Tensor, start: bool) -> Tensor:
        """What stands before each sample, i64[T]: x f32[n], after "nothing yet" if they are the `start` of a clip."""
        return F.pad(encode(x), (int(start), 0), value=CODES)

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """log p of samples f32[T], nats; where there is one output f32[T', 257] more than samples, the clip ends."""
        after = F.pad(encode(x), (0, len(outputs) - len(x)), value=CODES)
        return -F.cross_entropy(outputs.float(), after, reduction="none")
