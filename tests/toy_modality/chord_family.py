"""A family for the tests: what it makes, grids and sequences together, depends on any mix of given columns alone.

A grid is a learned mean and noise around it; a sequence is written token by token, each from the one before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from maquette.core.batch import Batch
from maquette.core.model import Given, Loss, Model, Optim, Phase, Step
from maquette.core.rng import Rng
from maquette.core.spec import EOS, PAD, ClassSpec, DataSpec, GridSpec, NumberSpec, TokenSpec
from maquette.nets.condition import Classes, Condition, Number, Tokens, hide

SUPPORTS = (GridSpec, TokenSpec)
GIVEN = (ClassSpec, NumberSpec, TokenSpec)
WIDTH = 32
NOISE = 0.1


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")

    dropout: float = 0.2


def build(config: Config, spec: DataSpec) -> Joint:
    return Joint(config, spec)


class Joint(Model):
    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        given: dict[str, nn.Module] = {}
        for name in spec.given:
            column = spec.columns[name]
            if isinstance(column, ClassSpec):
                given[name] = Classes(column.num_classes, WIDTH)
            elif isinstance(column, NumberSpec):
                given[name] = Number(column.mean, column.std, WIDTH)
            else:
                given[name] = Tokens(column.vocab, WIDTH)
        self.condition = Condition(given) if given else None
        self.heads = nn.ModuleList()
        self.before = nn.ModuleList()
        for name in spec.target:
            column = spec.columns[name]
            tokens = isinstance(column, TokenSpec)
            self.heads.append(nn.Linear(WIDTH, column.vocab if tokens else math.prod(column.shape)))
            self.before.append(nn.Embedding(column.vocab, WIDTH) if tokens else nn.Identity())

    def phases(self) -> Sequence[Phase]:
        nets = tuple(name for name, _ in self.named_children() if name != "before" or list(self.before.parameters()))
        return [Phase("fit", nets, self.loss, Optim(lr=0.02))]

    def loss(self, batch: Batch, step: Step) -> Loss:
        n = batch.size
        rows = {name: step.rng.uniform(n) < self.config.dropout for name in self.spec.given}
        h = self._read({name: hide(x, rows[name]) for name, x in batch.given.items()}, n)
        total = torch.zeros(())
        parts = {}
        for name, head, before in zip(self.spec.target, self.heads, self.before, strict=True):
            x = batch.target[name]
            if isinstance(self.spec.columns[name], TokenSpec):
                logits = head(h[:, None] + before(x[:, :-1]))
                nats = F.cross_entropy(logits.transpose(1, 2), x[:, 1:], ignore_index=PAD, reduction="none").sum(1)
                parts[f"{name}_nats"] = nats.mean().detach()
                total = total + nats.mean()
            else:
                error = (head(h).view_as(x) - x).square().flatten(1).mean(1)
                parts[f"{name}_error"] = error.mean().detach()
                total = total + error.mean()
        return Loss(total, parts)

    def _read(self, given: Given, n: int) -> Tensor:
        if self.condition is None:
            return next(self.parameters()).new_zeros(n, WIDTH)
        return self.condition(given, n)

    def sample(self, n: int, given: Given, rng: Rng) -> dict[str, Tensor]:
        h = self._read(given, n)
        made = {}
        for name, head, before in zip(self.spec.target, self.heads, self.before, strict=True):
            column = self.spec.columns[name]
            if isinstance(column, TokenSpec):
                made[name] = self._written(h, head, before, column, rng.uniform(n, column.shape[0]))
            else:
                x = head(h).view(n, *column.shape)
                made[name] = (x + NOISE * rng.normal(*x.shape)).clamp(-1, 1)
        return made

    def _written(self, h: Tensor, head: nn.Module, before: nn.Module, column: TokenSpec, chance: Tensor) -> Tensor:
        tokens = torch.full((len(h), column.shape[0]), PAD, device=h.device)
        tokens[:, 0] = column.start
        for t in range(1, column.shape[0]):
            logits = head(h + before(tokens[:, t - 1]))
            logits[:, [PAD, column.start]] = -torch.inf
            if t == column.shape[0] - 1:
                logits = torch.full_like(logits, -torch.inf).index_fill(1, torch.tensor([EOS], device=h.device), 0.0)
            sums = logits.softmax(1).cumsum(1)
            drawn = (sums < chance[:, t : t + 1]).sum(1).clamp(max=column.vocab - 1)
            over = (tokens[:, t - 1] == EOS) | (tokens[:, t - 1] == PAD)
            tokens[:, t] = torch.where(over, PAD, drawn)
        return tokens
