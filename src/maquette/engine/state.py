"""All that training changes: weights, their moving average, optimizer moments, the step."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maquette.core.errors import MaquetteError
from maquette.core.model import Model, Optim, Phase
from maquette.engine.muon import Muon


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


class State:
    """Model, EMA, and the optimizers of each distinct set of nets among the phases."""

    def __init__(self, model: Model, ema_decay: float) -> None:
        self.model = model
        self.phases: Sequence[Phase] = tuple(model.phases())
        self.ema = Ema(model, ema_decay)
        self.step = 0
        self.seconds = 0.0
        self.children: dict[str, nn.Module] = dict(model.named_children())
        self._by_child = {name: list(net.parameters()) for name, net in self.children.items()}
        self.parameters: dict[tuple[str, ...], list[nn.Parameter]] = {}
        self.optimizers: dict[tuple[str, ...], list[torch.optim.Optimizer]] = {}
        for phase in self.phases:
            if phase.nets not in self.optimizers:
                named = {n: p for net in phase.nets for n, p in self._child(phase, net).named_parameters(net)}
                self.parameters[phase.nets] = list(named.values())
                self.optimizers[phase.nets] = build_optimizers(phase.optim, named)

    def _child(self, phase: Phase, name: str) -> nn.Module:
        if name not in self.children:
            raise MaquetteError(f"Phase '{phase.name}' names a network '{name}' that the model does not have.")
        return self.children[name]

    def train_only(self, nets: tuple[str, ...]) -> None:
        """Freezes every network but these."""
        for name, parameters in self._by_child.items():
            for parameter in parameters:
                parameter.requires_grad = name in nets

    def _all_optimizers(self) -> list[torch.optim.Optimizer]:
        return [optimizer for optimizers in self.optimizers.values() for optimizer in optimizers]

    # -- to and from a checkpoint ------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors: `model.*`, `ema.*`, `optim.<i>.<parameter>.<moment>`."""
        out = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        out |= {f"ema.{k}": v for k, v in self.ema.weights().items()}
        for i, optimizer in enumerate(self._all_optimizers()):
            for j, parameter in enumerate(_parameters(optimizer)):
                for key, value in optimizer.state.get(parameter, {}).items():
                    if isinstance(value, Tensor):
                        out[f"optim.{i}.{j}.{key}"] = value
        return out

    def load(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `tensors`. Strides are kept, so that the same kernels run after a resume."""
        self.model.load_state_dict(_under(tensors, "model."))
        for name, net in self.ema.model.kept.items():
            net.load_state_dict(_under(tensors, f"ema.{name}."))
        for i, optimizer in enumerate(self._all_optimizers()):
            # A fused optimizer reads its step counter on the device, any other one on the CPU.
            fused = any(group.get("fused") for group in optimizer.param_groups)
            for j, parameter in enumerate(_parameters(optimizer)):
                moments = _under(tensors, f"optim.{i}.{j}.")
                if moments:
                    optimizer.state[parameter] = {
                        k: torch.empty_like(parameter).copy_(v)
                        if v.shape == parameter.shape
                        else v.clone().to(parameter.device if fused else "cpu")
                        for k, v in moments.items()
                    }


def build_optimizers(optim: Optim, named: dict[str, nn.Parameter]) -> list[torch.optim.Optimizer]:
    """The torch optimizers that an Optim describes, for parameters named `<net>.<name within the net>`.

    Each parameter group carries `scale`: its learning rate as a multiple of the schedule's.
    """
    if not optim.muon:
        return [_build(optim, list(named.values()))]
    matrices = [p for name, p in named.items() if p.ndim >= 2 and not name.partition(".")[2].startswith(optim.not_muon)]
    chosen = {id(p) for p in matrices}
    rest = [p for p in named.values() if id(p) not in chosen]
    muon = Muon(matrices, optim.lr * optim.muon, weight_decay=optim.weight_decay)
    muon.param_groups[0]["scale"] = optim.muon
    return [muon, _build(optim, rest)] if rest else [muon]


def _build(optim: Optim, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """One torch optimizer; fused where torch has a fused one for the device."""
    lr, decay = optim.lr, optim.weight_decay
    if optim.name == "sgd":
        return torch.optim.SGD(parameters, lr, momentum=optim.betas[0], weight_decay=decay)
    if optim.name == "adamax":
        return torch.optim.Adamax(parameters, lr, optim.betas, optim.eps, decay)
    kind = torch.optim.AdamW if optim.name == "adamw" else torch.optim.Adam
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
    return kind(parameters, lr, optim.betas, optim.eps, decay, fused=fused)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
