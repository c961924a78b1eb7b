"""Runs made of runs: what is held out of the new run must be what its members held out, or they are refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from maquette.core.errors import UserError
from maquette.core.find import find_family
from maquette.core.modality import part
from maquette.core.recipe import Recipe
from maquette.core.run import RunFolder, open_run
from maquette.core.spec import DataSpec, TokenSpec
from maquette.core.table import Dataset

SHARED = ("test_share", "split_seed")  # settings of data that members and the new run have in common
ROWS = 4096  # held-out rows read at once

Opens = Callable[[Recipe, DataSpec | None], Dataset]  # the data of a recipe, read with a specification's tokens


def named_by(recipe: Recipe, ability: str = "members") -> tuple[str, ...]:
    """The runs that a recipe's family says it is made of; () for families that are made of none.

    ability: "members", which must have been trained on this very data, or "codecs", which may have learned other data
    """
    names = getattr(find_family(recipe.family), ability, None)
    return tuple(names(recipe.config)) if names else ()


def members_of(recipe: Recipe) -> list[RunFolder]:
    """The runs that a recipe brings together; refuses runs that do not make the same tokens."""
    runs = [_member(path) for path in named_by(recipe)]
    for other in runs[1:]:
        ours, theirs = (run.spec().only(TokenSpec) for run in (runs[0], other))
        if not ours.same_tokens(theirs):
            raise UserError(
                f"The members read {ours.kind} in different tokens: '{runs[0].path}' in {ours.vocab:,}, '{other.path}' "
                f"in {theirs.vocab:,} or in other ones.",
                f"Train them on the same data, with the same settings of data.{ours.kind}.",
            )
    return runs


def codecs_of(recipe: Recipe) -> list[RunFolder]:
    """The runs whose codes a recipe is about, if it is about any."""
    return [open_run(path) for path in named_by(recipe, "codecs")]


def prepared_as(members: Sequence[RunFolder], recipe: Recipe) -> Recipe:
    """The recipe with its data prepared and split as that of its first member, so that no member has learned what is
    held out here."""
    if not members:
        return recipe
    theirs, kinds = members[0].recipe().data, {column.kind for column in members[0].spec().columns.values()}
    for kind in sorted(kinds):
        ours_of, its_of = recipe.data.of(kind), theirs.of(kind)
        for key in type(its_of).model_fields:
            _agree(f"{kind}.{key}", ours_of, its_of, key, members[0])
    for key in SHARED:
        _agree(key, recipe.data, theirs, key, members[0])
    changed = {**{kind: theirs.of(kind) for kind in kinds}, **{key: getattr(theirs, key) for key in SHARED}}
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=changed)})


def check_member(member: RunFolder, recipe: Recipe, dataset: Dataset, opens: Opens) -> None:
    """Refuses a member that learned from other data than this, or from what is held out here."""
    its = member.recipe()
    its = its.model_copy(update={"data": its.data.model_copy(update={"source": recipe.data.source})})
    own = opens(its, member.spec() if named_by(its) else None)
    if own.fingerprint != member.data().get("fingerprint"):
        raise UserError(
            f"Member '{member.path}' was not trained on '{dataset.source}' as it is now: what is held out here may be "
            "what it has learned.",
            "Name the data that the members were trained on, or train them on this.",
        )
    if _held_out(own, its) != _held_out(dataset, recipe):
        raise UserError(
            f"Member '{member.path}' held out other items of '{dataset.source}' than are held out here: some of these "
            "it has learned.",
            "Train all members with the same columns and the same settings of data.",
        )


def _member(path: str) -> RunFolder:
    remedy = "Name run folders of models that write token by token: model.members=[runs/a, runs/b]"
    try:
        folder = open_run(path)
        folder.spec().only(TokenSpec)
    except UserError as error:
        raise UserError(f"A member, '{path}', cannot take part. {error.problem}", remedy) from None
    return folder


def _agree(named: str, ours: Any, theirs: Any, key: str, member: RunFolder) -> None:
    """Refuses a setting that was asked for and is not that of the member."""
    own, its = getattr(ours, key), getattr(theirs, key)
    if key in ours.model_fields_set and own != its:
        raise UserError(
            f"data.{named} = {own} was asked for, and member '{member.path}' was trained with {its}.",
            f"Leave data.{named} out: data is prepared and split as that of the members.",
        )


def _held_out(dataset: Dataset, recipe: Recipe) -> str:
    """Digest of all that is held out of the targets, in whatever windows it is read."""
    state = hashlib.blake2b(digest_size=16)
    for name in recipe.target:
        column = dataset.test.columns[name]
        content = part(column.spec.kind, "content", "content")
        if content is not None:
            for piece in content(dataset.test, name):
                state.update(piece + b"\0")
            continue
        for start in range(0, len(dataset.test), ROWS):
            rows = np.arange(start, min(start + ROWS, len(dataset.test)))
            state.update(column.take(rows).numpy().tobytes())
    return state.hexdigest()
