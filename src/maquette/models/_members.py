"""Models as members of another model: trained ones, found in their run folders, rebuilt and filled with weights; and
families that learn within it, by their names and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from maquette.core import tensors
from maquette.core.errors import UserError
from maquette.core.explained import explain
from maquette.core.find import find_family, refuse_foreign_family
from maquette.core.location import digest_of, recall, remember
from maquette.core.model import Model, Streams
from maquette.core.run import RunFolder, open_run
from maquette.core.shown import shown
from maquette.core.spec import ClassSpec, ColumnSpec, DataSpec, TokenSpec


class Member(BaseModel):
    """A model that takes part.

    run:    the folder it was trained in, read when training begins and not needed afterwards; its name alone once it is
            filled in
    digest: of its weights, by which this machine knows where the folder is (core/location.py)
    family, model, length, given: what that folder says; filled in from it. length: tokens of an item
    """

    model_config = ConfigDict(extra="forbid")

    run: str | None = None
    digest: str | None = None
    family: str | None = None
    model: dict[str, Any] = Field(default_factory=dict)
    length: int | None = None
    given: tuple[str, ...] | None = None

    @property
    def folder(self) -> RunFolder:
        """Where its weights are, as far as this machine knows."""
        return RunFolder(recall(self.digest) or Path(self.run or ""))


def named(folder: RunFolder) -> dict[str, str]:
    """`run` and `digest` of a member that lies in this folder; the machine keeps the path, the recipe does not."""
    digest = digest_of(folder.weights_file)
    remember(digest, folder.path)
    return {"run": shown(folder.path.resolve().name), "digest": digest}


def runs_of(*members: Any) -> tuple[str, ...]:
    """The run folders that settings name, whether as a path or as a Member."""
    found = (member.run if isinstance(member, Member) else member for member in members)
    return tuple(str(run) for run in found if run)


def read(member: Member, spec: DataSpec) -> Member:
    """A language model with what its run folder says; UserError where it does not fit the data."""
    if member.family is not None or member.run is None:
        return member
    folder = open_run(member.run)
    recipe, own = folder.recipe(), folder.spec()
    same = "Train the members on the same data, prepared in the same way."
    its: ColumnSpec = own.only()
    data = spec.only(TokenSpec)
    if not isinstance(its, TokenSpec):
        raise UserError(f"Member '{member.run}' makes {its.kind}, not sequences.", "Name runs of language models.")
    if not data.same_tokens(its):
        raise UserError(f"Member '{member.run}' differs from the data in its tokens.", same)
    for what in ("framed", "start"):
        if getattr(its, what) != getattr(data, what):
            raise UserError(f"Member '{member.run}' differs from the data in its sequences' {what}.", same)
    for name in own.given:
        ours: ColumnSpec | None = spec.columns.get(name) if name in spec.given else None
        theirs = own.columns[name]
        if ours is None:
            columns = " ".join(f"--given {column}" for column in own.given)
            raise UserError(
                f"Member '{member.run}' needs the column '{name}', which is not given here.", f"Give it: {columns}"
            )
        if not _means_the_same(ours, theirs):
            raise UserError(f"Member '{member.run}' knows other classes or tokens of '{name}' than the data has.", same)
    weights = folder.weights()
    found = Member(
        **named(folder), family=recipe.family, model=recipe.config.model_dump(mode="json"), length=its.shape[0],
        given=own.given,
    )  # fmt: skip
    fill(build_writer(found, spec), weights, member.run)
    return found


def _means_the_same(a: ColumnSpec, b: ColumnSpec) -> bool:
    """Whether a value means the same in both columns."""
    if isinstance(a, TokenSpec):
        return a.same_tokens(b)
    if isinstance(a, ClassSpec):
        return isinstance(b, ClassSpec) and (a.kind, a.classes) == (b.kind, b.classes)
    return (a.kind, a.shape) == (b.kind, b.shape)


def build_writer(member: Member, spec: DataSpec) -> Model:
    """A language model with fresh weights."""
    model = build_member(member, spec)
    if not isinstance(model, Streams):
        raise UserError(
            f"Member '{member.run or member.family}' does not write token by token.", "Name runs of language models."
        )
    return model


def build_member(member: Member, spec: DataSpec) -> Model:
    """A member with fresh weights."""
    assert member.family is not None
    refuse_foreign_family(member.family, member.run or "the recipe")
    family = find_family(member.family)
    name: str = spec.only_name
    own: ColumnSpec = spec.only()
    if member.length is not None:
        own = own.model_copy(update={"shape": (member.length,)})
    given = spec.given if member.given is None else member.given
    columns = {**spec.columns, name: own}
    model = family.build(family.Config(**member.model), DataSpec(columns=columns, target=spec.target, given=given))
    assert isinstance(model, Model)
    return model


def fill(model: Model, weights: Mapping[str, Tensor], where: str) -> None:
    """Puts the weights of a run into its model."""
    tensors.fill(model.kept, weights, f"The weights of '{where}' do not fit its recipe", "Train it again.")


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """The names, numbered where two are the same."""
    return tuple(f"{name} {i + 1}" if names.count(name) > 1 else name for i, name in enumerate(names))


# -- a family that learns within another ---------------------------------------------------------------

REMEDY_PRIOR = "Use flow: model.prior.family=flow"


def settings_of(prior: Mapping[str, Any]) -> dict[str, Any]:
    """`model.prior` with all settings of the family that it names; UserError where that one does not know them."""
    name = str(prior.get("family", "flow"))
    refuse_foreign_family(name, "model.prior")
    schema = find_family(name).Config
    try:
        return {"family": name, **schema(**_own(prior)).model_dump(mode="json")}
    except ValidationError as error:
        raise explain(error, schema, "model.prior.") from None


def family_of(prior: Mapping[str, Any]) -> tuple[Any, Any]:
    """The family that `model.prior` names, and its Config."""
    family = find_family(prior["family"])
    return family, family.Config(**_own(prior))


def _own(prior: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in prior.items() if key != "family"}
