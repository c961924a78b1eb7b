"""All that training changes: weights, their moving average, optimizer moments, the step, the items seen."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from maquette.core.errors import MaquetteError, UserError
from maquette.core.model import Model, Optim, Phase
from maquette.core.tensors import fill
from maquette.engine import muon


def plain(kind: Any) -> Any:
    """An optimizer without what torch wraps its methods in for the compiler's sake: whoever calls these waits for the
    compiler to be imported, 1.4 s, though we compile networks alone."""
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), {"add_param_group": inspect.unwrap(kind.add_param_group), "step": step})


Adam, AdamW, Adamax, SGD = map(plain, (torch.optim.Adam, torch.optim.AdamW, torch.optim.Adamax, torch.optim.SGD))
Muon = plain(muon.Muon)

# What each optimizer keeps of a parameter.
MOMENTS: Mapping[type, tuple[str, ...]] = {
    Adam: ("step", "exp_avg", "exp_avg_sq"),
    AdamW: ("step", "exp_avg", "exp_avg_sq"),
    Adamax: ("step", "exp_avg", "exp_inf"),
    SGD: ("momentum_buffer",),
    Muon: ("momentum",),
}


class Ema:
    """Exponential moving average of the networks a model keeps, in a copy that can sample.

    The decay warms up as min(decay, (1 + t) / (10 + t)), so that a short run is not an average of noise.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        pairs = [(self.model.kept[name], net) for name, net in model.kept.items()]
        self._mean: list[Tensor] = [p for mean, _ in pairs for p in mean.parameters()]
        self._now: list[Tensor] = [p for _, now in pairs for p in now.parameters()]
        self._mean_buffers = [b for mean, _ in pairs for b in mean.buffers()]
        self._now_buffers = [b for _, now in pairs for b in now.buffers()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        torch._foreach_lerp_(self._mean, self._now, 1.0 - decay)
        for mean, now in zip(self._mean_buffers, self._now_buffers, strict=True):
            mean.copy_(now)

    def weights(self) -> dict[str, Tensor]:
        """What sampling needs, by `<net>.<parameter>`."""
        return {f"{n}.{k}": v for n, net in self.model.kept.items() for k, v in net.state_dict().items()}


@dataclass(frozen=True)
class Trainable:
    """What a phase updates.

    parameters, optimizers: that it trains, and what trains them
    others:                 parameters that other phases train, and this one leaves alone
    """

    parameters: list[nn.Parameter]
    optimizers: list[torch.optim.Optimizer]
    others: list[nn.Parameter]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Within the block, the others need no gradients."""
        for parameter in self.others:
            parameter.requires_grad = False
        try:
            yield
        finally:
            for parameter in self.others:
                parameter.requires_grad = True

    def clear(self) -> None:
        """Drops the gradients."""
        for parameter in self.parameters:
            parameter.grad = None


class State:
    """Model, EMA, and what each phase trains. Phases that train the same parameters share their optimizers.

    trainable: by the phase's name. What a model froze itself (requires_grad False when it was built) is in none.
    items:     seen so far, over all processes
    """

    def __init__(self, model: Model, ema_decay: float) -> None:
        self.model = model
        self.phases: Sequence[Phase] = tuple(model.phases())
        self.ema = Ema(model, ema_decay)
        self.step = 0
        self.items = 0
        self.seconds = 0.0
        self.trainable: dict[str, Trainable] = {}
        shared: dict[frozenset[str], Trainable] = {}
        free = [p for p in model.parameters() if p.requires_grad]
        for phase in self.phases:
            if phase.name in self.trainable:
                raise MaquetteError(f"There are two phases '{phase.name}'.", "Give each phase a name of its own.")
            named = _named(model, phase)
            names = frozenset(named)
            if names not in shared:
                ours = {id(p) for p in named.values()}
                others = [p for p in free if id(p) not in ours]
                shared[names] = Trainable(list(named.values()), build_optimizers(phase.optim, named), others)
            self.trainable[phase.name] = shared[names]
        self._optimizers = [optimizer for trainable in shared.values() for optimizer in trainable.optimizers]

    # -- to and from a checkpoint ------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors: `model.*`, `ema.*`, `optim.<i>.<parameter>.<moment>`."""
        out = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        out |= {f"ema.{k}": v for k, v in self.ema.weights().items()}
        for i, optimizer in enumerate(self._optimizers):
            for j, parameter in enumerate(_parameters(optimizer)):
                for key, value in optimizer.state.get(parameter, {}).items():
                    if isinstance(value, Tensor):
                        out[f"optim.{i}.{j}.{key}"] = value
        return out

    def load(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `tensors`. Strides are kept, so that the same kernels run after a resume.

        Raises UserError, and has changed nothing then, where they are not those of this state.
        """
        rest, moments = dict(tensors), list[tuple[torch.optim.Optimizer, nn.Parameter, dict[str, Tensor]]]()
        for i, optimizer in enumerate(self._optimizers):
            for j, parameter in enumerate(_parameters(optimizer)):
                own = {k: rest.pop(name) for k in MOMENTS[type(optimizer)] if (name := f"optim.{i}.{j}.{k}") in rest}
                shapes = {k: () if k == "step" else parameter.shape for k in own}
                wrong = [k for k, v in own.items() if v.shape != shapes[k] or not torch.can_cast(v.dtype, torch.float)]
                if wrong or len(own) not in (0, len(MOMENTS[type(optimizer)])):
                    raise UserError(f"the moments of parameter {j} of optimizer {i} do not fit the model")
                moments.append((optimizer, parameter, own))
        nets = {"model": self.model, **{f"ema.{name}": net for name, net in self.ema.model.kept.items()}}
        if others := [name for name in rest if not name.startswith(tuple(f"{net}." for net in nets))]:
            raise UserError(f"it holds {others[0]}, which the model does not have")
        fill(nets, rest, "it does not fit the model", "")
        for optimizer, parameter, own in moments:
            # A fused optimizer reads its step counter on the device, any other one on the CPU.
            fused = any(group.get("fused") for group in optimizer.param_groups)
            if own:
                optimizer.state[parameter] = {
                    k: torch.empty_like(parameter).copy_(v)
                    if v.shape == parameter.shape
                    else v.clone().to(parameter.device if fused else "cpu", torch.float)
                    for k, v in own.items()
                }


def _named(model: Model, phase: Phase) -> dict[str, nn.Parameter]:
    """The parameters that a phase trains, by `<net>.<name within the net>`."""
    children = dict(model.named_children())
    for net in phase.nets:
        if net not in children:
            raise MaquetteError(f"Phase '{phase.name}' names a network '{net}' that the model does not have.")
    named = {name: p for net in phase.nets for name, p in children[net].named_parameters(net) if p.requires_grad}
    if phase.parameters is not None:
        named = {name: p for name, p in named.items() if phase.parameters(name, p)}
    if not named:
        raise MaquetteError(
            f"Phase '{phase.name}' has nothing to learn: its parameters are frozen, or left out by Phase.parameters."
        )
    return named


def build_optimizers(optim: Optim, named: dict[str, nn.Parameter]) -> list[torch.optim.Optimizer]:
    """The torch optimizers that an Optim describes, for parameters named `<net>.<name within the net>`.

    Each parameter group carries `scale`: its learning rate as a multiple of the schedule's.
    """
    if not optim.muon:
        return [_build(optim, list(named.values()))]
    matrices = [p for name, p in named.items() if p.ndim >= 2 and not name.partition(".")[2].startswith(optim.not_muon)]
    chosen = {id(p) for p in matrices}
    rest = [p for p in named.values() if id(p) not in chosen]
    first = Muon(matrices, lr=optim.lr * optim.muon, weight_decay=optim.weight_decay, block=optim.muon_block)
    first.param_groups[0]["scale"] = optim.muon
    return [first, _build(optim, rest)] if rest else [first]


def _build(optim: Optim, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """One torch optimizer; fused where torch has a fused one for the device."""
    lr, decay = optim.lr, optim.weight_decay
    if optim.name == "sgd":
        return SGD(parameters, lr=lr, momentum=optim.betas[0], weight_decay=decay)
    settings = {"lr": lr, "betas": optim.betas, "eps": optim.eps, "weight_decay": decay}
    if optim.name == "adamax":
        return Adamax(parameters, **settings)
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
    return (AdamW if optim.name == "adamw" else Adam)(parameters, **settings, fused=fused)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]
