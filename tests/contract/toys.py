"""Two small families that between them claim every ability of core/model.py, for tests of the contract itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

import toy_text_family
from maquette.core.batch import Batch
from maquette.core.model import Given, Loss, Model, Motion, Optim, Phase, Step
from maquette.core.option import Option, at_least
from maquette.core.rng import Rng
from maquette.core.spec import PAD, ClassSpec, DataSpec, GridSpec, TokenSpec

SPREAD = 0.1  # of values and of codes around their means


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Codec(nn.Module):
    latent_dim = 4

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.net = nn.Linear(numbers, self.latent_dim)

    def encode(self, batch: Batch) -> Tensor:
        return self.net(batch.only().flatten(1))

    def decode(self, z: Tensor, given: Given) -> dict[str, Tensor]:
        return {"image": z @ self.net.weight}


class Grid(Model):
    """An auto-encoder (E, G) that scores by a bound, a flow (V) that samples, and a net (P) that imitates G."""

    keeps = ("E", "G", "V")
    density, exact = "continuous", False
    seen = 2
    latent_dim, code_grid = 4, (1, 2, 2)
    corrects = ("noise",)
    options = (Option("steps", int, None, "steps of the flow", at_least(1)),)

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        self.shape, self.target = spec.only(GridSpec).shape, spec.only_name
        ((self.label, column),) = spec.givens(ClassSpec).items()
        self.classes, d = column.num_classes, math.prod(self.shape)
        self.E = nn.Linear(d, self.latent_dim)
        self.G, self.P = (nn.Linear(self.latent_dim + self.classes, d) for _ in range(2))
        self.V = nn.Sequential(nn.Linear(2 * d + 1 + self.classes, 64), nn.SiLU(), nn.Linear(64, d))
        self.C = Codec(d)

    @property
    def codec(self) -> Codec:
        return self.C

    def phases(self) -> Sequence[Phase]:
        optim = Optim(lr=3e-3)
        return (
            Phase("ae", ("E", "G"), self.ae, optim),
            Phase("flow", ("V",), self.flow, optim, parameters=lambda name, p: not name.endswith("2.bias")),
            Phase("imitate", ("P",), self.imitate, optim, reads_data=False),
        )

    def ae(self, batch: Batch, step: Step) -> Loss:
        code = self.encode(batch)
        z = code + SPREAD * step.rng.normal(*code.shape)
        error = (self._decode(z, batch.given) - batch.only().flatten(1)).square().sum(1)
        return Loss((error + 0.01 * code.square().sum(1)).mean(), {"error": error.mean()})

    def flow(self, batch: Batch, step: Step) -> Loss:
        x, e, t = batch.only(), step.rng.normal(batch.size, *self.shape), step.rng.uniform(batch.size)
        shown = (step.rng.uniform(batch.size) < 0.5).float().view(-1, 1, 1, 1)
        u = self._velocity(torch.lerp(e, x, t.view(-1, 1, 1, 1)), t, batch.given, shown * x)
        return Loss((u - (x - e)).square().mean())

    def imitate(self, batch: Batch, step: Step) -> Loss:
        z = self._with_class(step.rng.normal(batch.size, self.latent_dim), batch.given)
        return Loss((self.P(z) - self.G(z).detach()).square().mean())

    def _with_class(self, x: Tensor, given: Given) -> Tensor:
        y = given.get(self.label)
        return torch.cat([x, x.new_zeros(len(x), self.classes) if y is None else F.one_hot(y, self.classes).float()], 1)

    def _velocity(self, x: Tensor, t: Tensor, given: Given, seen: Tensor) -> Tensor:
        return self.V(self._with_class(torch.cat([x.flatten(1), seen.flatten(1), t[:, None]], 1), given)).view_as(x)

    def sample(self, n: int, given: Given, rng: Rng, *, steps: int | None = None) -> dict[str, Tensor]:
        noise = rng.normal(n, *self.shape)
        rows = [{name: value[i : i + 1] for name, value in given.items()} for i in range(n)]
        made = [self.integrate(noise[i : i + 1], rows[i], steps=steps) for i in range(n)]  # as if each were alone
        return {self.target: torch.cat([noise[:0], *made]).clamp(-1, 1)}

    def unfold(self, given: Given, rng: Rng, *, prompt: Tensor | None = None, **options: Any) -> Iterator[Tensor]:
        yield from self.sample(1, given, rng, **options)[self.target][0].split(1, -1)

    def flow_map(
        self, given: Given, n: int, guidance: float = 1.0, seen: Tensor | None = None
    ) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        shown = torch.zeros(n, *self.shape) if seen is None else seen[:, :-1]
        return lambda x, t, h: self._velocity(x, t, given, shown)

    def integrate(
        self, x: Tensor, given: Given, *, steps: int | None = None, noise: Any = None, seen: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        u, steps = self.flow_map(given, len(x), seen=seen), steps or 4
        for k in range(steps):
            t = torch.full((len(x),), k / steps)
            x = x + u(x, t, torch.zeros_like(t)) / steps
        return x

    def restore(
        self, heard: Tensor, rng: Rng, seen: Tensor | None = None, steps: int | None = None
    ) -> Tensor:  # fmt: skip
        size, width = heard.shape[-1], self.shape[-1]
        pieces = F.pad(heard, (0, -size % width)).split(width, -1)
        return torch.cat([self._decode(self.E(x.flatten(1)), {}).view_as(x) for x in pieces], -1)[..., :size]

    def filled(self, heard: Tensor, rng: Rng, seen: Tensor, steps: int | None = None) -> Tensor:
        return torch.where(seen > 0, heard, 0.5 * rng.normal(*heard.shape).clamp(-1, 1))

    def extend(self, first: Tensor, count: int, given: Given, rng: Rng) -> Tensor:
        x = first
        for _ in range(count):
            x = torch.cat([x, x[:, :, -1:] - 0.5 * x[:, :, -2:-1]], 2).clamp(-1, 1)
        return x[:, :, first.shape[2] :]

    def between(self, first: Tensor, last: Tensor, count: int) -> Tensor:
        return torch.stack([torch.lerp(first, last, i / (count + 1)) for i in range(1, count + 1)], 2)

    def motion(self, first: Tensor, count: int) -> Motion:
        grid = first.shape[3:]
        return Motion(torch.zeros(len(first), count, 1, 2, *grid), torch.full((len(first), count, 2, *grid), 0.5))

    def _decode(self, z: Tensor, given: Given) -> Tensor:
        return torch.tanh(self.G(self._with_class(z, given)))

    def decode(self, z: Tensor, given: Given) -> dict[str, Tensor]:
        return {self.target: self._decode(z, given).view(-1, *self.shape)}

    def encode(self, batch: Batch) -> Tensor:
        return self.E(batch.only().flatten(1))

    def score_target(self, batch: Batch, rng: Rng) -> Batch:
        return batch

    def log_prob(self, batch: Batch, rng: Rng, samples: int = 1) -> Tensor:
        """The importance-weighted bound up to a constant."""
        code, x = self.encode(batch), batch.only().flatten(1)
        bounds = []
        for noise in rng.normal(batch.size, samples, self.latent_dim).unbind(1):
            z = code + SPREAD * noise
            error = (self._decode(z, batch.given) - x).square().sum(1) / SPREAD**2
            bounds.append(-(error + z.square().sum(1) - noise.square().sum(1)) / 2)
        return torch.stack(bounds).logsumexp(0) - math.log(samples)


class Tokens(toy_text_family.Aligned):
    """Also tells who decided each token. At first it disagrees with the source, so that there is something to learn."""

    agents = ("even", "odd")
    needs = (TokenSpec,)

    def __init__(self, config: toy_text_family.Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        nn.init.normal_(self.table.weight, std=10.0)

    def alignment(self, batch: Batch) -> Tensor:
        """All of the source alike."""
        real = (batch.given["source"] != PAD).float()
        return (real / real.sum(1, keepdim=True))[:, None].expand(-1, batch.only().shape[1] - 1, -1)

    def sample_with_deciders(self, n: int, given: Given, rng: Rng, **options: Any) -> tuple[Tensor, Tensor]:
        tokens = self.sample(n, given, rng, **options)[self.column]
        decider = (torch.arange(tokens.shape[1]) % 2).expand_as(tokens)
        return tokens, decider.masked_fill(tokens == PAD, -1)
