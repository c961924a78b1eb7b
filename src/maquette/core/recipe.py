"""A recipe: everything that decides a run, as data. Read with safe_load; unknown keys are refused."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress, pairwise
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from maquette.core.bounds import MOST, AnyCount, Count, Few, Seed
from maquette.core.budget import LONGEST, as_budget
from maquette.core.data_config import DataConfig, owners
from maquette.core.errors import UserError, nearest
from maquette.core.explained import EXAMPLE, explain
from maquette.core.find import (
    find_family,
    recipe_names,
    recipe_text,
    refuse_foreign_family,
)
from maquette.core.modality import data_options
from maquette.core.parse import parse_yaml
from maquette.core.spec import plain
from maquette.core.ways import When


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)


class Leg(_Section):
    """A stretch of a training with one plan for its end. Schedules go evenly from `progress` to 1 at its last step."""

    step: AnyCount = Field(description="done before it")
    steps: Count = Field(description="of the whole run, as planned from here on")
    progress: float = Field(0.0, ge=0, le=1, description="where the schedules stand as it begins: 0 start, 1 end")
    until: float | None = Field(None, gt=0, description="seconds of training, over the whole run, at which it ends")


class TrainConfig(_Section):
    """How long, how fast, and what is written down on the way."""

    seed: Seed = 0
    batch_size: Count = Field(64, description="items in one optimizer update, over all processes")
    batch_tokens: Count | None = Field(
        None, description="of sequences: tokens in one update, from which batch_size follows; null: batch_size counts"
    )
    micro_batch: Count | Literal["auto"] = Field(
        "auto", description="items in one forward pass; auto: the whole batch, halved when memory runs out"
    )
    steps: Count | None = Field(None, description="optimizer steps; null: from epochs or budget")
    epochs: float | None = Field(None, gt=0, le=MOST, description="passes over the training split")
    budget: str | None = Field(
        None, description="wall time such as 90s, 10m, 1h30m: the plan chooses the steps; auto: enough"
    )
    course: tuple[Leg, ...] = Field(
        (),
        description="how the number of steps was decided and changed on the way; written by the training, not by hand",
    )
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    fewer_multiplications: dict[str, When] | Literal["auto"] = Field(
        "auto", description="when each convolution takes them, by its name in the model; auto: where measured as faster"
    )
    channels_last: bool = True
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="per step, with warm-up; 0: no moving average")
    preview_every: Count | Literal["auto"] = Field("auto", description="steps between previews; auto: 30 in a run")
    preview_items: Few = 64
    log_every: Count | Literal["auto"] = "auto"
    checkpoint_seconds: float = Field(60.0, gt=0, le=LONGEST)
    keep_checkpoints: Few = Field(2, ge=2, description="the one before the last is what a damaged one falls back to")
    keep_path: bool = Field(False, description="write where the data lies into the run folder, and not its name alone")
    trackers: tuple[str, ...] = Field(("tensorboard",), description="accelerate trackers: tensorboard, wandb, ...")

    @property
    def parts(self) -> list[int]:
        """Steps of each part of a run that was given another length by hand, once or more; else of the whole."""
        asked = [leg.step for before, leg in pairwise(self.course) if leg.until is None or leg.until != before.until]
        return [last - first for first, last in pairwise([0, *asked, self.steps or 0])]

    @field_validator("compile", mode="before")
    @classmethod
    def _yaml_reads_off_as_false(cls, value: Any) -> Any:
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @field_validator("course")
    @classmethod
    def _course_is_in_order(cls, course: tuple[Leg, ...]) -> tuple[Leg, ...]:
        begins = [leg.step for leg in course]
        if course and (begins[0] != 0 or begins != sorted(set(begins))):
            raise ValueError("Legs begin at step 0 and follow one another")
        return course

    @field_validator("budget", mode="before")
    @classmethod
    def _budget_is_time(cls, budget: Any) -> str | None:
        return budget if budget in (None, "auto") else as_budget(budget)


class Scale(_Section):
    """What one size of a recipe changes in its sections."""

    model: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)

    @property
    def keys(self) -> set[str]:
        """What it sets, as `section.key`."""
        return {f"{section}.{key}" for section in ("model", "train") for key in _leaves(getattr(self, section))}


class Recipe(_Section):
    """about: one line; family: a model family; target, given: columns; model: the family's own settings."""

    about: str
    family: str
    target: tuple[str, ...] = Field(
        (), description="columns to make; none named: the only one that is no label or number"
    )
    given: tuple[str, ...] | Literal["auto"] = Field(
        "auto", description="auto: the column `label` when the data has one"
    )
    data: DataConfig = Field(default_factory=DataConfig)
    model: dict[str, Any] = Field(default_factory=dict)
    train: TrainConfig = Field(default_factory=TrainConfig)
    scale: str = Field("auto", description="one of the scales by name; auto: what suits the budget, by measured curves")
    scales: dict[str, Scale] = Field({}, description="sizes of this recipe, smallest first; {}: it as it is written")

    @property
    def written(self) -> str:
        """The scale that the recipe is as it is written; "" where it has none."""
        return next((name for name, scale in self.scales.items() if not scale.keys), "")

    def at_scale(self, name: str) -> Recipe:
        """The recipe at one of its scales, and of no other. Raises UserError where there is none of that name."""
        if name not in self.scales:
            raise UserError(f"The recipe has no scale '{name}'.", nearest(name, ["auto", *self.scales]))
        chosen = self.scales[name]
        try:
            train = TrainConfig.model_validate(_merged(self.train.model_dump(), chosen.train))
        except ValidationError as error:
            raise explain(error, TrainConfig, f"scales.{name}.train.") from None
        changes = {"model": _merged(self.model, chosen.model), "train": train, "scale": name, "scales": {}}
        return self.model_copy(update=changes)

    @field_validator("scales")
    @classmethod
    def _one_is_as_written(cls, scales: dict[str, Scale]) -> dict[str, Scale]:
        if scales and [scale.keys for scale in scales.values()].count(set()) != 1:
            raise ValueError("One of the scales, and no more, is {}: the recipe as it is written")
        return scales

    @field_validator("target", "given")
    @classmethod
    def _names_in_one_form(cls, names: tuple[str, ...] | str) -> tuple[str, ...] | str:
        return names if isinstance(names, str) else tuple(map(plain, names))

    @property
    def config(self) -> BaseModel:
        """The family's own settings, checked against its Config."""
        family = find_family(self.family)
        try:
            return family.Config(**self.model)
        except ValidationError as error:
            raise explain(error, family.Config, "model.") from None

    def dump(self) -> str:
        """YAML that loads to the same recipe, with every default written out."""
        plain = self.model_dump(mode="json")
        plain["model"] = self.config.model_dump(mode="json")
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=math.inf)  # one line a value


def _leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _merged(section: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A section with changes put in their places, however deep."""
    both = dict(section)
    for key, value in changes.items():
        own = both.get(key)
        both[key] = _merged(own, value) if isinstance(own, dict) and isinstance(value, dict) else value
    return both


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A shipped recipe or a YAML file, with `section.key=value` overrides applied and checked.

    A file may be somebody else's: a module of its choice is imported only where the user names it, as family=NAME or
    as core/find.py says.
    """
    return parse_recipe(recipe_text(name), overrides, name, received=not is_set(overrides, "family"))


def is_set(settings: str | Iterable[str], key: str) -> bool:
    """Whether a key is among these, `key` or `key=value` each: what the user sets was not chosen by somebody else."""
    each = [settings] if isinstance(settings, str) else settings
    return any(setting.partition("=")[0].strip() == key for setting in each)


def data_config(plain: dict[str, Any], overrides: Sequence[str] = ()) -> DataConfig:
    """The section `data` alone, with `data.key=value` overrides applied and checked."""
    raw = {"data": plain}
    for override in overrides:
        if not override.startswith("data."):
            raise UserError(f"'{override}' is no setting of data.", "Write it as data.key=value: data.splits=none.")
        _apply(raw, override)
    try:
        return DataConfig.model_validate(raw["data"])
    except ValidationError as error:
        raise explain(error, DataConfig, "data.") from None


def parse_recipe(content: str, overrides: Sequence[str] = (), name: str = "recipe", received: bool = False) -> Recipe:
    """What stands in a recipe -> Recipe; errors name the key, what was expected, and the nearest match.

    received: the content may come from somebody else, so it must not make us import a module of its choice
    """
    raw = parse_yaml(content, name, EXAMPLE)
    if not isinstance(raw, dict):
        raise UserError(f"'{name}' is not a recipe.", EXAMPLE)
    # Settings count over what a scale changes, so that comes first.
    keys = [override.partition("=")[0].strip() for override in overrides]
    of_scales = [key == "scale" or key.startswith("scales.") for key in keys]
    for override in compress(overrides, of_scales):
        _apply(raw, override)
    if raw.get("scales") or "scale" in keys:
        raw = _at_asked(_validated(raw), raw, keys)
    for override in compress(overrides, map(operator.not_, of_scales)):
        _apply(raw, override)
    recipe = _validated(raw)
    if received:
        refuse_foreign_family(recipe.family, name)
    for each in (recipe, *map(recipe.at_scale, recipe.scales)):
        _ = each.config  # checked now, so that a typo costs a second and not a data preparation
    return recipe


def _validated(raw: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise explain(error, Recipe) from None


def _at_asked(recipe: Recipe, raw: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """What stands in a recipe, at the scale that is asked for, by name or by setting a key that scales change; as it is
    where none is."""
    scaled = {key for scale in recipe.scales.values() for key in scale.keys}
    # Either of two keys says how large a batch is; a key may be one of a section of its own, or that section.
    one, other = ([f"{key.replace('batch_tokens', 'batch_size')}." for key in some] for some in (scaled, keys))
    by_hand = any(a.startswith(b) or b.startswith(a) for a in one for b in other)
    name = recipe.written if recipe.scale == "auto" and by_hand else recipe.scale
    if name == "auto":
        return raw
    _ = recipe.at_scale(name)  # refuses a name that there is not
    changes = recipe.scales[name].model_dump()
    sections = {section: _merged(raw.get(section) or {}, changes[section]) for section in changes}
    return {**raw, **sections, "scale": name, "scales": {}}


def _apply(raw: dict[str, Any], override: str) -> None:
    """Sets one `section.key=value` in place; the value is read as YAML, that of an option of data as the option has it.

    `data.<key>` stands for `data.<kind>.<key>` of the kind of data that has such a key; of several, of that which the
    recipe makes.
    """
    key, equals, value = override.partition("=")
    key = key.strip()
    if not equals or not key:
        raise UserError(f"'{override}' is not a setting.", "Write settings as section.key=value: train.batch_size=64.")
    *sections, last = key.split(".")
    if sections == ["data"] and len(found := owners(last, raw.get("target") or ())) == 1:
        key = found[0]
        *sections, last = key.split(".")
    if not sections and last in ("data", "model", "train"):
        raise UserError(f"'{last}' is a section.", f"Set one of its keys: {last}.key=value.")
    at = raw
    for section in sections:
        at = at.setdefault(section, {})
        if not isinstance(at, dict):
            raise UserError(f"'{section}' in '{key}' is not a section.", "Sections are data, model and train.")
    if key == "train.batch_size" and value == "auto":
        at["micro_batch"] = "auto"  # the effective batch stays the recipe's: only micro-batches adapt
        return
    if key == "train.batch_size":
        at["batch_tokens"] = None  # what is asked for by hand counts
    if key in ("train.steps", "train.epochs", "train.budget"):
        at["course"] = []  # that of the run that the recipe comes from, which had another length
    try:
        at[last] = parse_yaml(value, key)
    except UserError:  # such as "a: b", which is a value all the same
        at[last] = value
    if option := data_options().get(key) if sections[:1] == ["data"] else None:
        braces = option.kind is str and isinstance(at[last], dict)  # {label}, which YAML reads as a mapping
        at[last] = option.checked(value if braces else at[last])


def about_of(content: str) -> str:
    """The one line about a recipe, without checking the rest of it."""
    return str(parse_yaml(content, "recipe")["about"])


@functools.cache
def names_by_about() -> Mapping[str, str]:
    """The recipes that ship, by their line about themselves: a run's recipe has that line too, and no name."""
    return {about_of(recipe_text(name)): name for name in recipe_names()}


def plain_train_section(content: str) -> dict[str, Any]:
    """The `train` section as written, without checking it: what `watch` reads of a run that goes on."""
    raw = parse_yaml(content, "recipe.yaml")
    section = raw.get("train") if isinstance(raw, dict) else None
    return section if isinstance(section, dict) else {}
