"""The contract that every family of models meets: `check_model`, for ours and for a user's own.

    from maquette.testing import check_model, image_spec
    check_model("my_package.my_family", image_spec(1, 16, 16, classes=3))

Returns the names of the checks that ran; raises ContractError naming the first that failed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.errors import MaquetteError
from maquette.core.find import find_family, find_modality
from maquette.core.generator import Generator, build_model
from maquette.core.model import Aligns, Model, Phase, Step, Streams
from maquette.core.recipe import Recipe, TrainConfig
from maquette.core.rng import ItemRng, StepRng, derive
from maquette.core.spec import BOS, PAD, SPECIALS, ColumnSpec, DataSpec, GridSpec
from maquette.engine.loop import Loop
from maquette.engine.state import State
from maquette.engine.world import World

_BATCH = 8


class ContractError(MaquetteError):
    """A model does not meet the contract."""


def image_spec(channels: int, height: int, width: int, classes: int = 0) -> DataSpec:
    """p(image) or, with classes, p(image | label)."""
    columns: dict[str, ColumnSpec] = {"image": find_modality("image").Spec(shape=(channels, height, width))}
    if classes:
        columns["label"] = find_modality("label").Spec(classes=tuple(f"class {i}" for i in range(classes)))
    return DataSpec(columns=columns, target=("image",), given=("label",) if classes else ())


def text_spec(
    tokens: int = 16, framed: bool = True, classes: int = 0, source: bool = False, vocab: int = 20
) -> DataSpec:
    """p(text), p(text | label) with classes, p(text | source) with a source: i64[tokens] over `vocab` tokens."""
    text = find_modality("text").Spec(
        shape=(tokens,), vocab=vocab, unit="char", framed=framed, start=BOS if framed else len(SPECIALS),
        mean_length=0.75 * tokens if framed else tokens,
    )  # fmt: skip
    columns, given = dict[str, ColumnSpec](text=text), []
    if source:
        columns["source"] = text
        given.append("source")
    if classes:
        columns["label"] = find_modality("label").Spec(classes=tuple(f"class {i}" for i in range(classes)))
        given.append("label")
    return DataSpec(columns=columns, target=("text",), given=tuple(given))


def check_model(family: str, spec: DataSpec, settings: Mapping[str, Any] | None = None, steps: int = 120) -> list[str]:
    """Checks a family against the contract on made-up data of a specification.

    family:   its name ("gan") or dotted module; settings: of its Config
    steps:    of the check that one batch can be learned
    """
    recipe = Recipe(about="contract", family=family, target=spec.target, given=spec.given, model=dict(settings or {}))
    check = _Contract(recipe, spec, steps)
    names = [name for name in dir(check) if name.startswith("check_")]
    for name in names:
        getattr(check, name)()
    return [name.removeprefix("check_") for name in names]


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ContractError(what)


class _Contract:
    def __init__(self, recipe: Recipe, spec: DataSpec, steps: int) -> None:
        self.recipe, self.spec, self.steps = recipe, spec, steps
        self.batch = made_up_batch(spec, _BATCH)

    def model(self) -> Model:
        return build_model(self.recipe, self.spec).train()

    def loop(self, model: Model | None = None, total: int = 60, micro: int | None = None) -> Loop:
        state = State(model or self.model(), TrainConfig().ema_decay)
        return Loop(state, World("cpu"), 0, total, _BATCH, "fp32", micro)

    def loss(self, model: Model, phase: Phase, batch: Batch, step: int = 0) -> Any:
        torch.manual_seed(0)
        return phase.loss(batch, Step(step, self.steps, StepRng(derive(0, phase.name), batch.size)))

    # -- the checks ----------------------------------------------------------------------------------

    def check_family_is_complete(self) -> None:
        module = find_family(self.recipe.family)
        for name in self.spec.target:
            form = type(self.spec.columns[name])
            _require(issubclass(form, module.SUPPORTS), f"SUPPORTS lacks the form of '{name}', {form.__name__}")
        children = dict(self.model().named_children())
        for phase in self.model().phases():
            _require(set(phase.nets) <= set(children), f"phase '{phase.name}' names nets that are not children")
        _require(set(self.model().kept) <= set(children), "`keeps` names nets that are not children")

    def check_each_phase_changes_exactly_its_nets(self) -> None:
        loop = self.loop()
        for phase in loop.state.phases:
            before = _snapshot(loop.state.model)
            loop.phase(phase, self.batch)
            loop.phase(phase, self.batch)  # a zero-initialised gate may hide a net from the very first update
            changed = {n for n, v in _snapshot(loop.state.model).items() if not torch.equal(v, before[n])}
            nets = {name.partition(".")[0] for name in changed}
            _require(nets == set(phase.nets), f"phase '{phase.name}' names {set(phase.nets)} but changed {nets}")

    def check_losses_are_finite_and_named(self) -> None:
        model = self.model()
        for phase in model.phases():
            loss = self.loss(model, phase, self.batch)
            _require(loss.total.ndim == 0, f"the loss of phase '{phase.name}' is not a scalar")
            for name, value in {"loss": loss.total, **loss.parts}.items():
                _require(bool(torch.isfinite(value).all()), f"{phase.name}/{name} is not finite")
                _require(value.numel() == 1, f"{phase.name}/{name} is not one number")

    def check_one_batch_can_be_learned(self) -> None:
        """Training on one batch moves samples or losses: nothing is detached by mistake."""
        loop = self.loop(total=self.steps)
        before = self.sample(loop.state.model)
        for _ in range(self.steps):
            loop.step(self.batch)
        after = self.sample(loop.state.model)
        for name in self.spec.target:
            _require(bool(torch.isfinite(after[name]).all()), f"after {self.steps} steps samples are not finite")
            _require(not torch.equal(before[name], after[name]), f"{self.steps} steps changed no sample")
            trained, untrained = loop.state.model, self.model()
            if isinstance(trained, Streams) and isinstance(untrained, Streams):
                learned, fresh = _log_prob(trained, self.batch), _log_prob(untrained, self.batch)
                _require(learned > fresh, "training on one batch did not make it more likely")
            if isinstance(self.spec.columns[name], GridSpec):
                real = self.batch.target[name].mean(0)
                far, near = (before[name].mean(0) - real).square().mean(), (after[name].mean(0) - real).square().mean()
                _require(bool(near < far), "training on one batch did not bring the mean sample nearer to it")

    def check_sample_has_the_spec(self) -> None:
        made = self.sample(self.model())
        _require(set(made) == set(self.spec.target), f"sample() made {set(made)}, not {set(self.spec.target)}")
        for name, value in made.items():
            column = self.spec.columns[name]
            _require(value.shape == (_BATCH, *column.shape), f"'{name}' has shape {tuple(value.shape)}")
            if column.kind == "text":
                _require(value.dtype == torch.int64, f"'{name}' is {value.dtype}, not tokens (int64)")
                _require(bool((value >= 0).all() and (value < column.vocab).all()), f"'{name}' leaves its vocabulary")
            if isinstance(column, GridSpec):
                _require(bool(value.abs().max() <= 1.0 + 1e-4), f"'{name}' leaves [-1, 1]")

    def check_item_does_not_depend_on_n(self) -> None:
        generator = Generator(self.trained(3), self.spec)
        many = generator.sample(_BATCH, self.given(_BATCH), seed=5)
        few = generator.sample(3, self.given(3), seed=5)
        for name in self.spec.target:
            _require(
                torch.allclose(many[name][:3], few[name], atol=1e-5), f"item i of '{name}' depends on how many are made"
            )

    def check_seed_decides_the_bytes(self) -> None:
        model = self.trained(3)
        again = self.model()
        for name, net in model.kept.items():
            again.kept[name].load_state_dict(copy.deepcopy(net.state_dict()))
        first = Generator(model, self.spec).sample(4, self.given(4), seed=7)
        second = Generator(again, self.spec).sample(4, self.given(4), seed=7)
        other = Generator(again, self.spec).sample(4, self.given(4), seed=8)
        for name in self.spec.target:
            _require(torch.equal(first[name], second[name]), "the same seed gives other bytes after save and load")
            _require(not torch.equal(first[name], other[name]), "another seed gives the same sample")

    def check_streaming_equals_reading(self) -> None:
        """However a text is cut into calls, the logits are the same, and they are those that the score rests on."""
        model = self.trained(3).eval()
        if not isinstance(model, Streams):
            return
        x = self.batch.x[:, :-1]
        with torch.no_grad():
            whole = model.advance(model.begin(_BATCH, self.batch.given), x)
            memory = model.begin(_BATCH, self.batch.given)
            parts = torch.cat([model.advance(memory, part) for part in x.split([1, 3, x.shape[1] - 4], 1)], 1)
            order = torch.arange(_BATCH).flip(0)
            memory = model.begin(_BATCH, self.batch.given)
            model.advance(memory, x[:, :2])
            turned = model.advance(memory.rows(order), x[order, 2:4])
            score = model.token_log_prob(self.batch)
        _require(whole.shape == (*x.shape, self.spec.x.vocab), f"advance() gives {tuple(whole.shape)}")
        _require(torch.allclose(whole, parts, atol=1e-4), "reading a text in parts gives other logits")
        _require(torch.allclose(whole[order, 2:4], turned, atol=1e-4), "Memory.rows mixes up the texts")
        after = self.batch.x[:, 1:]
        told = whole.log_softmax(-1).gather(-1, after[..., None])[..., 0].masked_fill(after == PAD, 0)
        _require(torch.allclose(told, score, atol=1e-3), "token_log_prob is not that of the logits")

    def check_alignment_is_a_distribution(self) -> None:
        model = self.model().eval()
        if self.spec.source is None or not isinstance(model, Aligns):
            return
        with torch.no_grad():
            weights = model.alignment(self.batch)
        source = self.batch.given[self.spec.source]
        _require(weights.shape == (_BATCH, self.batch.x.shape[1] - 1, source.shape[1]), "alignment() has another shape")
        _require(
            torch.allclose(weights.sum(-1), torch.ones(weights.shape[:2]), atol=1e-3), "alignment does not sum to 1"
        )
        _require(bool((weights.masked_select((source == PAD)[:, None]) < 1e-6).all()), "padding is attended to")

    def check_unconditional_comes_with_conditional(self) -> None:
        if self.spec.source is not None:
            return  # there is no translation of nothing
        made = Generator(self.model(), self.spec).sample(2, given={})
        _require(set(made) == set(self.spec.target), "sample() without labels does not work")

    def check_resume_equals_straight_run(self) -> None:
        straight = self.loop(total=6)
        for _ in range(6):
            straight.step(self.batch)
        first = self.loop(total=6)
        for _ in range(3):
            first.step(self.batch)
        saved = {name: value.clone() for name, value in first.state.tensors().items()}
        second = self.loop(total=6)
        second.state.load(saved)
        second.state.step = 3
        for _ in range(3):
            second.step(self.batch)
        ours, theirs = second.state.tensors(), straight.state.tensors()
        _require(ours.keys() == theirs.keys(), "a resumed run has other tensors")
        different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
        _require(not different, f"a resumed run differs in {different[:3]}")

    def check_withheld_targets_are_not_needed(self) -> None:
        model = self.model()
        for phase in model.phases():
            if not phase.reads_data:
                self.loss(model, phase, self.batch.without_target())

    def check_micro_batches_equal_one_batch(self) -> None:
        """What two processes at the same global batch also rest on. Batch statistics are exempt: they are local."""
        if any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in self.model().modules()):
            return
        whole, halves = self.loop(), self.loop(micro=_BATCH // 2)
        whole.step(self.batch)
        halves.step(self.batch)
        for name, value in whole.state.tensors().items():
            if name.startswith("model."):
                other = halves.state.tensors()[name]
                _require(torch.allclose(value, other, atol=1e-3, rtol=1e-2), f"micro-batches change '{name}'")

    # -- what they share -----------------------------------------------------------------------------

    def given(self, n: int) -> dict[str, Tensor] | None:
        """What a sample depends on; labels are drawn, but a source must be given."""
        return self.batch.rows(0, n).given if self.spec.source is not None else None

    def sample(self, model: Model) -> dict[str, Tensor]:
        was = model.training
        model.eval()
        with torch.no_grad():
            made = model.sample(_BATCH, self.batch.given, ItemRng(1, range(_BATCH)))
        model.train(was)
        return made

    def trained(self, steps: int) -> Model:
        loop = self.loop()
        for _ in range(steps):
            loop.step(self.batch)
        return loop.state.model


def made_up_batch(spec: DataSpec, items: int, seed: int = 0) -> Batch:
    """Canonical tensors of a specification, as each modality makes them up."""

    def column(name: str) -> Tensor:
        return find_modality(spec.columns[name].kind).made_up(spec.columns[name], items, seed)

    return Batch({n: column(n) for n in spec.target}, {n: column(n) for n in spec.given}, items)


@torch.no_grad()
def _log_prob(model: Streams, batch: Batch) -> float:
    return float(model.token_log_prob(batch).sum())


def _snapshot(model: Model) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}
