"""The contract of every family of models; what a model claims to be able to do beyond it is in abilities.py."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from maquette.core.generator import Generator
from maquette.core.model import Model, Restores, Scores, Streams
from maquette.core.option import Option
from maquette.core.spec import EOS, PAD, ClassSpec, ColumnSpec, DataSpec, GridSpec, NumberSpec, TokenSpec
from maquette.testing import abilities
from maquette.testing.bench import ITEMS, Bench, distance
from maquette.testing.checks import Check, ContractError, Result, Skipped, bound, require, run_all


def check_model(family: str, spec: DataSpec, settings: Mapping[str, Any] | None = None, steps: int = 120) -> Result:
    """Checks a family against the contract on made-up data of a specification.

    family:   its name ("gan") or dotted module; settings: of its Config
    steps:    of the check that one batch can be learned
    Raises ContractError with the first check that fails.
    """
    return run_all(model_checks(family, spec, settings, steps))


def model_checks(
    family: str, spec: DataSpec, settings: Mapping[str, Any] | None = None, steps: int = 120
) -> Iterator[Check]:
    """The same, check by check. Nothing is imported or built before the first of them is run; they share models."""
    yield from bound(CHECKS, Bench(family, spec, settings or {}, steps))


# -- how it learns -----------------------------------------------------------------------------------


def family_is_complete(b: Bench) -> None:
    """SUPPORTS covers the targets, phases have names of their own, and what they and `keeps` name are children."""
    for name in b.spec.target:
        form = type(b.spec.columns[name])
        require(issubclass(form, b.module.SUPPORTS), f"SUPPORTS lacks the form of '{name}', {form.__name__}")
    model = b.fresh
    children, phases = dict(model.named_children()), model.phases()
    require(len(phases) > 0, "there is no phase, so nothing is learned")
    require(len({phase.name for phase in phases}) == len(phases), "two phases have one name")
    for phase in phases:
        require(bool(phase.nets), f"phase '{phase.name}' names no nets")
        require(set(phase.nets) <= set(children), f"phase '{phase.name}' names nets that are not children")
    require(set(model.keeps) <= set(children), "`keeps` names nets that are not children")


def phases_change_exactly_their_parameters(b: Bench) -> None:
    """A phase changes something of each of its nets, and nothing beyond the parameters that it names."""
    loop = b.loop()
    for phase in loop.state.phases:
        before = snapshot(loop.state.model)
        loop.phase(phase, b.batch)
        loop.phase(phase, b.batch)  # a zero-initialised gate may hide a net from the very first update
        parameters = dict(loop.state.model.named_parameters())
        changed = {n for n, v in snapshot(loop.state.model).items() if not torch.equal(v, before[n])}
        nets = {name.partition(".")[0] for name in changed}
        require(nets == set(phase.nets), f"phase '{phase.name}' names {set(phase.nets)} but changed {nets}")
        if phase.parameters is not None:
            beyond = [name for name in sorted(changed) if not phase.parameters(name, parameters[name])]
            require(not beyond, f"phase '{phase.name}' changed {beyond[:3]}, which its `parameters` leaves out")


def frozen_parameters_stay(b: Bench) -> Skipped | None:
    """What needed no gradients when training began is not changed by it, nor thawed."""
    model = b.model()
    of: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        of.setdefault(name.partition(".")[0], []).append(parameter)
    for parameters in of.values():
        if len(parameters) > 1:  # one of each net, as a user would who trains the rest on
            parameters[0].requires_grad_(False)
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    if not frozen:
        return Skipped("no net has a parameter to spare")
    loop = b.loop(model)
    for _ in range(2):
        loop.step(b.batch)
    now = dict(model.named_parameters())
    for name, value in frozen.items():
        require(torch.equal(now[name], value), f"'{name}' was frozen, and changed")
        require(not now[name].requires_grad, f"'{name}' was frozen, and needs gradients now")
    return None


def losses_are_finite_and_named(b: Bench) -> None:
    """Each loss is a finite scalar, and each of its parts one finite number."""
    model = b.model()
    for phase in model.phases():
        loss = b.loss(model, phase, b.batch)
        require(loss.total.ndim == 0, f"the loss of phase '{phase.name}' is not a scalar")
        for name, value in {"loss": loss.total, **loss.parts}.items():
            require(bool(torch.isfinite(value).all()), f"{phase.name}/{name} is not finite")
            require(value.numel() == 1, f"{phase.name}/{name} is not one number")


def withheld_targets_are_not_needed(b: Bench) -> Skipped | None:
    """A phase with reads_data=False computes its loss from a batch without targets."""
    model = b.model()
    phases = [phase for phase in model.phases() if not phase.reads_data]
    if not phases:
        return Skipped("every phase reads data")
    for phase in phases:
        try:
            b.loss(model, phase, b.batch.without_target())
        except Exception as error:
            raise ContractError(f"phase '{phase.name}' claims to read no data, and fails without: {error}") from error
    return None


def batches_may_vary_in_size(b: Bench) -> None:
    """Steps on batches of one item, of a few and of many follow one another, and the losses stay finite.

    Batch normalization has no variance of one item: models with it are asked for two at least.
    """
    loop = b.loop()
    normalised = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in b.fresh.modules())
    for size in (ITEMS, 2 if normalised else 1, 5, 2):
        try:
            loop.step(b.batch.rows(0, size))
        except Exception as error:
            raise ContractError(f"a batch of {size} fails: {error}") from error
    for name, value in snapshot(loop.state.model).items():
        require(bool(torch.isfinite(value).all()), f"batches of several sizes make '{name}' not finite")


def micro_batches_equal_one_batch(b: Bench) -> Skipped | None:
    """A batch cut in two gives the update of the whole, which is what several processes also rest on."""
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in b.fresh.modules()):
        return Skipped("statistics of a batch are those of the part that a process has")
    whole, halves = b.loop(), b.loop(micro=ITEMS // 2)
    whole.step(b.batch)
    halves.step(b.batch)
    for name, value in whole.state.tensors().items():
        if name.startswith("model."):
            other = halves.state.tensors()[name]
            require(torch.allclose(value, other, atol=1e-3, rtol=1e-2), f"micro-batches change '{name}'")
    return None


def resume_equals_straight_run(b: Bench) -> None:
    """Three steps, saved and loaded, and three more are six steps, bit for bit."""
    straight, first, second = (b.loop(total=6) for _ in range(3))
    for _ in range(6):
        straight.step(b.batch)
    for _ in range(3):
        first.step(b.batch)
    second.state.load({name: value.clone() for name, value in first.state.tensors().items()})
    second.state.step = 3
    for _ in range(3):
        second.step(b.batch)
    ours, theirs = second.state.tensors(), straight.state.tensors()
    require(ours.keys() == theirs.keys(), "a resumed run has other tensors")
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    require(not different, f"a resumed run differs in {different[:3]}")


def one_batch_can_be_learned(b: Bench) -> None:
    """Training on one batch brings samples nearer to it, or makes it more likely: nothing is detached by mistake."""
    before, after = b.sample(b.fresh), b.sample(b.learned)
    for name in b.spec.target:
        column, real = b.spec.columns[name], b.batch.target[name]
        require(bool(torch.isfinite(after[name]).all()), f"after {b.steps} steps samples of '{name}' are not finite")
        require(not torch.equal(before[name], after[name]), f"{b.steps} steps changed no sample of '{name}'")
        if isinstance(column, TokenSpec) and isinstance(b.learned, Streams | Scores):
            now, then = (sum_of_log_p(model, b) for model in (b.learned, b.fresh))
            require(now > then, f"training on one batch did not make its '{name}' more likely")
        elif not isinstance(b.learned, Restores):  # what that learns is tried by `restores_any_length`
            far, near = (distance(column, made[name], real) for made in (before, after))
            require(near < far, f"training on one batch did not bring samples of '{name}' nearer to it")


# -- how it samples ----------------------------------------------------------------------------------


def sample_has_the_spec(b: Bench) -> None:
    """Samples have the targets' shapes, types and ranges, trained or not."""
    for model in (b.fresh, b.begun):
        made = b.sample(model)
        require(set(made) == set(b.spec.target), f"sample() made {set(made)}, not {set(b.spec.target)}")
        for name, value in made.items():
            meets(b.spec.columns[name], value, ITEMS, name)


def item_does_not_depend_on_n(b: Bench) -> None:
    """Item i is the same however many are made."""
    generator, few = Generator(b.begun, b.spec), b.batch.rows(0, 3).given
    whole, part = generator.sample(ITEMS, dict(b.batch.given), seed=5), generator.sample(3, dict(few), seed=5)
    for name in b.spec.target:
        same = torch.allclose(whole[name][:3].float(), part[name].float(), atol=1e-5)
        require(same, f"item i of '{name}' depends on how many are made")


def seed_decides_the_bytes(b: Bench) -> None:
    """The same seed gives the same bytes from kept weights loaded into a new model, and another seed others."""
    again = b.model()
    for name, net in b.begun.kept.items():
        again.kept[name].load_state_dict(copy.deepcopy(net.state_dict()))
    given = dict(b.batch.rows(0, 4).given)
    first, second, other = (
        Generator(model, b.spec).sample(4, given, seed=seed) for model, seed in ((b.begun, 7), (again, 7), (again, 8))
    )
    for name in b.spec.target:
        require(torch.equal(first[name], second[name]), f"the same seed gives other '{name}' after save and load")
        require(not torch.equal(first[name], other[name]), f"another seed gives the same '{name}'")


def given_decides_the_sample(b: Bench) -> Skipped | None:
    """Another value of a given column makes other samples of the same noise."""
    if not b.spec.given:
        return Skipped("nothing is given")
    made = b.sample(b.learned)
    for name, value in b.batch.given.items():
        other = b.sample(b.learned, {**b.batch.given, name: value.roll(1, 0)})
        differs = any(not torch.equal(made[target], other[target]) for target in b.spec.target)
        require(differs, f"'{name}' is given, and makes no difference to samples")
    return None


def any_subset_can_be_given(b: Bench) -> Skipped | None:
    """Each given column can be left out alone, and all can, but for the forms that the model `needs`."""
    if not b.spec.given:
        return Skipped("nothing is given")
    needed = [name for name in b.spec.given if isinstance(b.spec.columns[name], b.fresh.needs)]
    free = [name for name in b.spec.given if name not in needed]
    if not free:
        return Skipped(f"it needs {', '.join(needed)}")
    for dropped in [[name] for name in free] + ([free] if len(free) > 1 else []):
        rest = {name: value for name, value in b.batch.given.items() if name not in dropped}
        try:
            made = b.sample(b.begun, rest)
        except Exception as error:
            raise ContractError(f"without {', '.join(dropped)} it does not sample: {error!r}") from error
        for name, value in made.items():
            meets(b.spec.columns[name], value, ITEMS, name)
    return None


def options_are_accepted(b: Bench) -> Skipped | None:
    """`sample` takes each of Model.options by keyword, with a value that fits it."""
    if not b.begun.options:
        return Skipped("it has no options of its own")
    for option in b.begun.options:
        try:
            made = b.sample(b.begun, **{option.name: fitting(option)})
        except TypeError as error:
            raise ContractError(f"sample() does not take {option.name}: {error}") from error
        require(set(made) == set(b.spec.target), f"with {option.name} sample() made {set(made)}")
    return None


CHECKS = (
    family_is_complete, losses_are_finite_and_named, phases_change_exactly_their_parameters, frozen_parameters_stay,
    withheld_targets_are_not_needed, batches_may_vary_in_size, micro_batches_equal_one_batch,
    resume_equals_straight_run, one_batch_can_be_learned, sample_has_the_spec, item_does_not_depend_on_n,
    seed_decides_the_bytes, given_decides_the_sample, any_subset_can_be_given, options_are_accepted,
    *abilities.CHECKS,
)  # fmt: skip


# -- what they share ---------------------------------------------------------------------------------


def meets(column: ColumnSpec, value: Tensor, items: int, name: str) -> None:
    """ContractError where canonical items are not of a column's shape, type and range."""
    expected = (items, *column.shape)
    if isinstance(column, TokenSpec) and value.ndim == 2 and value.shape[1] < column.shape[0]:
        expected = (items, value.shape[1])  # padded to the longest of them
    require(value.shape == expected, f"'{name}' has shape {tuple(value.shape)}, not {expected}")
    if isinstance(column, GridSpec | NumberSpec):
        require(value.is_floating_point() and bool(torch.isfinite(value).all()), f"'{name}' holds what is no number")
    if isinstance(column, GridSpec):
        require(bool(value.abs().max() <= 1.0 + 1e-4), f"'{name}' leaves [-1, 1]")
    if isinstance(column, TokenSpec | ClassSpec):
        require(value.dtype == torch.int64, f"'{name}' is {value.dtype}, not int64")
        end = column.vocab if isinstance(column, TokenSpec) else column.num_classes
        require(bool((value >= 0).all() and (value < end).all()), f"'{name}' leaves 0 to {end - 1}")
    if isinstance(column, TokenSpec) and column.framed:
        ended = ((value == EOS) | (value == PAD)).cumsum(1)[:, :-1] > 0
        require(bool((value[:, 1:][ended] == PAD).all()), f"'{name}' goes on after its end")


def fitting(option: Option) -> Any:
    """A value that an option takes."""
    if option.default is not None or option.choices:
        value = option.default if option.default is not None else option.choices[-1]
        return (value,) if option.many and not isinstance(value, tuple) else value
    values: dict[Any, tuple[Any, ...]] = {int: (1, 2, 8), float: (1.0, 0.5, 2.0), bool: (True,), str: ("1",)}
    for value in values.get(option.kind, ()):
        if option.check is None or option.check(value) is None:
            return (value,) if option.many else value
    return None


@torch.no_grad()
def sum_of_log_p(model: Model, b: Bench) -> float:
    """Of the batch, nats."""
    if isinstance(model, Streams):
        return float(model.token_log_prob(b.batch).sum())
    assert isinstance(model, Scores)
    return float(model.log_prob(b.batch, b.rng()).sum())


def snapshot(model: Model) -> dict[str, Tensor]:
    """Copies of all parameters, by name."""
    return {name: value.detach().clone() for name, value in model.named_parameters()}
