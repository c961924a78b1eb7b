"""The contract must be able to fail: each broken family here is caught, and by the check that is meant for it."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import toys

from maquette.core.model import Loss, Model, Motion, Phase
from maquette.core.option import Option
from maquette.core.spec import GridSpec, TokenSpec
from maquette.testing import ContractError, Passed, Skipped, check_model, column_spec, data_spec, model_checks
from specs import image_spec

GRID = data_spec(column_spec("image", 1, 6, 6), label=column_spec("label", classes=3))
TOKENS = data_spec(column_spec("text", 12), source=column_spec("text", 12))


@pytest.fixture
def family() -> Iterator[Any]:
    """Makes a module of a model with methods replaced; returns its name and data for it."""
    names = []

    def make(base: type[Model], **methods: Any) -> tuple[str, Any]:
        grid = issubclass(base, toys.Grid)
        name = f"family_of_{len(names)}"
        module: Any = types.ModuleType(name)
        kind = type("Changed", (base,), methods)
        module.Config = toys.Config if grid else toys.toy_text_family.Config
        module.SUPPORTS = (GridSpec,) if grid else (TokenSpec,)
        module.build = lambda config, spec: kind(config, spec)
        module.__spec__ = types.SimpleNamespace(name=name)
        sys.modules[name] = module
        names.append(name)
        return name, GRID if grid else TOKENS

    yield make
    for name in names:
        del sys.modules[name]


def test_every_check_can_pass_and_can_be_skipped(family: Any) -> None:
    """Between them the two toys pass every check; what one cannot do is skipped with its reason, and is not passed."""
    results = [check_model(*family(base)) for base in (toys.Grid, toys.Tokens)]
    names = {check.name for check in model_checks("any", GRID)}
    assert set(results[0].passed) | set(results[1].passed) == names
    assert results[0].skipped["streaming_equals_reading"] == "it does not claim Streams"
    assert "streaming_equals_reading" in results[1] and "streaming_equals_reading" not in results[0]
    for result in results:
        assert not set(result.passed) & set(result.skipped) and set(result.passed) | set(result.skipped) == names


def test_checks_are_made_before_anything_is_imported() -> None:
    checks = list(model_checks("there_is_no_such_family", image_spec(1, 8, 8)))
    assert len(checks) > 20 and all(check.about for check in checks) and str(checks[0]) == checks[0].name


def changed_phase(index: int, **changes: Any) -> Any:
    """phases() with one of them changed."""

    def phases(self: Any) -> Any:
        made = list(toys.Grid.phases(self))
        made[index] = Phase(**{**vars(made[index]), **changes})
        return tuple(made)

    return phases


def method(name: str, change: Any, base: type[Model] = toys.Grid) -> dict[str, Any]:
    """The method `name` with its result changed by change(self, result, *arguments)."""
    old = getattr(base, name)
    return {name: lambda self, *args, **kwargs: change(self, old(self, *args, **kwargs), *args, **kwargs)}


def read_in_secret(self: Any, batch: Any, step: Any) -> Loss:
    return Loss(toys.Grid.imitate(self, batch, step).total + 0 * batch.only().mean())


def thaw(self: Any, loss: Loss, *rest: Any) -> Loss:
    self.requires_grad_(True)
    return loss


def count_calls(self: Any, loss: Loss, *rest: Any) -> Loss:
    self.calls = getattr(self, "calls", 0) + 1
    return Loss(loss.total * self.calls)


class Stuck(toys.toy_text_family.Read):
    def rows(self, index: torch.Tensor) -> Stuck:
        return Stuck(self.given, self.at)


def forgets(self: Any, n: int, given: Any) -> Stuck:
    return Stuck(dict(given), torch.zeros(n, dtype=torch.long))


G, T = toys.Grid, toys.Tokens
BROKEN: list[tuple[str, type[Model], dict[str, Any]]] = [
    ("family_is_complete", G, {"keeps": ("E", "H")}),
    ("family_is_complete", G, {"phases": changed_phase(1, name="ae")}),
    ("losses_are_finite_and_named", G, method("ae", lambda s, loss, *r: Loss(loss.total, {"a": torch.zeros(3)}))),
    ("losses_are_finite_and_named", G, method("ae", lambda s, loss, *r: Loss(loss.total / 0))),
    ("phases_change_exactly_their_parameters", G, {"phases": changed_phase(0, nets=("E", "G", "V"))}),
    ("frozen_parameters_stay", G, method("ae", thaw)),
    ("withheld_targets_are_not_needed", G, {"imitate": read_in_secret}),
    ("batches_may_vary_in_size", G, method("ae", lambda s, loss, b, step: Loss(loss.total / (b.size - 1)))),
    ("micro_batches_equal_one_batch", G, method("ae", lambda s, loss, b, step: Loss(
        loss.total + 100 * s.encode(b).mean(0).square().sum()))),
    ("resume_equals_straight_run", G, method("ae", count_calls)),
    ("one_batch_can_be_learned", G, method("flow", lambda s, loss, *r: Loss(0 * loss.total))),
    ("sample_has_the_spec", G, method("sample", lambda s, made, *r, **k: {s.target: 3 * made[s.target]})),
    ("sample_has_the_spec", T, method("sample", lambda s, made, *r, **k: {s.column: made[s.column] + 9}, T)),
    ("item_does_not_depend_on_n", G,
     method("sample", lambda s, made, *r, **k: {s.target: made[s.target] - made[s.target].mean(0)})),
    ("seed_decides_the_bytes", G, {"sample": lambda s, n, given, rng: {
        s.target: torch.tanh(s.P(s._with_class(rng.normal(n, 4), given))).view(n, *s.shape)}}),
    ("seed_decides_the_bytes", G, {"sample": lambda s, n, given, rng: s.decode(torch.ones(n, 4), given)}),
    ("given_decides_the_sample", G, {"sample": lambda s, n, given, rng: toys.Grid.sample(s, n, {}, rng)}),
    ("any_subset_can_be_given", G,
     {"sample": lambda s, n, given, rng: toys.Grid.sample(s, n, {"label": given["label"]}, rng)}),
    ("options_are_accepted", G, {"options": (Option("churn", float, 1.0, "no such keyword"),)}),
    ("decodes", G, method("decode", lambda s, made, *r: {s.target: made[s.target] + torch.rand(1)})),
    ("decodes", G, {"decode": lambda s, z, given: toys.Grid.decode(s, z, {})}),
    ("encodes", G, {"encode": lambda s, batch: torch.zeros(batch.size, 4), "_with_class": lambda s, x, given:
                    torch.cat([x, x.new_zeros(len(x), 3)], 1)}),
    ("code_lies_on_its_grid", G, {"code_grid": (1, 2, 3)}),
    ("codec_stays_as_it_is", G, {
        "phases": changed_phase(0, nets=("E", "G", "C")),
        **method("ae", lambda s, loss, b, step: Loss(loss.total + s.C.encode(b).square().mean()))}),
    ("scores", G, method("log_prob", lambda s, log_p, *r, **k: log_p.mean().expand(len(log_p)))),
    ("scores", G, method("log_prob", lambda s, log_p, *r, **k: -log_p)),
    ("bound_does_not_fall", G,
     method("log_prob", lambda s, log_p, batch, rng, samples=1: log_p - 1000 * (samples > 1))),
    ("flow_map_is_the_velocity", G,
     method("flow_map", lambda s, u, *r, **k: lambda x, t, h: -u(x, t, h))),
    ("integrating_is_sampling", G,
     method("integrate", lambda s, x, *r, noise=None, **k: x if noise is None else x + 1)),
    ("corrects_what_it_names", G, {"flow_map": lambda s, given, n, guidance=1.0, seen=None:
                                   toys.Grid.flow_map(s, given, n)}),
    ("restores_any_length", G, method("restore", lambda s, made, *r, **k: -made)),
    ("restores_any_length", G, method("restore", lambda s, made, *r, **k: made[..., : s.shape[-1]])),
    ("fills_what_is_missing", G, {"filled": lambda s, heard, rng, seen, steps=None: heard}),
    ("fills_what_is_missing", G, method("filled", lambda s, made, *r, **k: made * 0.5)),
    ("fills_what_is_missing", G, method("filled", lambda s, made, *r, **k: made[..., : s.shape[-1]])),
    ("continues", G, method("extend", lambda s, made, *r: (made - made.mean(0)).clamp(-1, 1))),
    ("continues", G, method("extend", lambda s, made, *r: made * 0)),
    ("continues", G, method("extend", lambda s, made, *r: made[:, :, 1:])),
    ("tweens", G, method("between", lambda s, made, *r: made * torch.linspace(0, 1, made.shape[2])[:, None])),
    ("moves", G, method("motion", lambda s, made, *r: Motion(made.flow, 2 * made.masks))),
    ("streaming_equals_reading", T, {"begin": forgets}),
    ("streaming_equals_reading", T, method("token_log_prob", lambda s, log_p, *r: log_p - 1, T)),
    ("unfolding_is_sampling", G, method("unfold", lambda s, pieces, *r: (2 * piece for piece in pieces))),
    ("alignment_is_a_distribution", T, method("alignment", lambda s, weights, *r: 2 * weights, T)),
    ("deciders_are_agents", T, method("sample_with_deciders", lambda s, made, *r, **k: (made[0], made[1] + 1), T)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "base", "methods"), BROKEN, ids=[f"{name}-{i}" for i, (name, *_) in enumerate(BROKEN)]
)
def test_what_is_broken_is_caught(family: Any, check: str, base: type[Model], methods: dict[str, Any]) -> None:
    checks = {made.name: made for made in model_checks(*family(base, **methods))}
    with pytest.raises(ContractError, match=f"^{check}: "):
        checks[check].run()


def test_every_check_has_been_seen_to_fail() -> None:
    assert {name for name, *_ in BROKEN} == {check.name for check in model_checks("any", GRID)}


def test_noise_that_is_not_derived_is_no_resume(family: Any) -> None:
    def ae(self: Any, batch: Any, step: Any) -> Loss:
        return Loss(toys.Grid.ae(self, batch, step).total * torch.rand((), generator=torch.Generator().manual_seed(
            torch.seed() % 1000)))  # fmt: skip

    with pytest.raises(ContractError, match="resumed run differs"):
        {check.name: check for check in model_checks(*family(G, ae=ae))}["resume_equals_straight_run"].run()


def test_outcomes(family: Any) -> None:
    checks = {check.name: check for check in model_checks(*family(T))}
    assert checks["family_is_complete"].run() == Passed()
    assert checks["decodes"].run() == Skipped("it does not claim Decodes")
