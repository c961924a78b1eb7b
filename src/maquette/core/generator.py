"""A trained model ready for use, rebuilt from its run folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maquette.core.errors import UserError, nearest
from maquette.core.find import find_family
from maquette.core.model import Model
from maquette.core.recipe import Recipe
from maquette.core.rng import ItemRng, derive
from maquette.core.run import RunFolder
from maquette.core.spec import DataSpec


def build_model(recipe: Recipe, spec: DataSpec) -> Model:
    """The recipe's model with freshly drawn weights that depend on the recipe's seed alone."""
    family = find_family(recipe.family)
    if others := [name for name in spec.target if not isinstance(spec.columns[name], family.SUPPORTS)]:
        kind = spec.columns[others[0]].kind
        raise UserError(
            f"Family '{recipe.family}' cannot make '{others[0]}', which is {kind}.",
            "`maquette recipes` lists what can be trained.",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.train.seed, "init"))
        model: Model = family.build(recipe.config, spec)
    return model


class Generator:
    """Samples from a model. Item i of a sample depends on (seed, i, its label) alone."""

    def __init__(self, model: Model, spec: DataSpec, device: torch.device | str = "cpu") -> None:
        self.model = model.eval().to(device)
        self.spec = spec
        self.device = torch.device(device)

    @classmethod
    def load(cls, folder: RunFolder, device: torch.device | str = "cpu") -> Generator:
        """Rebuilds the model of a run and loads the weights that sampling needs."""
        spec = folder.spec()
        model = build_model(folder.recipe(), spec)
        weights = folder.weights()
        for name, net in model.kept.items():
            own = {k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(f"{name}.")}
            try:
                net.load_state_dict(own)
            except RuntimeError as error:
                raise UserError(
                    f"'{folder.weights_file}' does not fit the recipe beside it: {error}",
                    "Use the recipe.yaml that the run was trained with.",
                ) from None
        return cls(model, spec, device)

    def labels(self, n: int, label: str | int | None = None, seed: int = 0) -> dict[str, Tensor]:
        """`given` for n items: one class for all, or classes drawn by their share in the training data.

        label: a class name or number; None draws. An unconditional model gives {} for None.
        """
        if self.spec.source is not None:
            raise UserError(
                f"This model writes '{', '.join(self.spec.target)}' from '{self.spec.source}', and was given none.",
                "Give it texts to write from: maquette translate RUN --input FILE",
            )
        return self.classes(range(n), label, seed)

    def classes(self, items: Sequence[int], label: str | int | None = None, seed: int = 0) -> dict[str, Tensor]:
        """The classes of these items, by number, as `labels`: that of item i depends on (seed, i) alone."""
        column = self.spec.label
        if column is None:
            if label is not None:
                raise UserError(
                    f"This model knows no labels, so label {label!r} cannot be asked of it.",
                    "Train with --given label on data that has classes.",
                )
            return {}
        classes = self.spec.columns[column].classes
        if label is not None:
            return {column: torch.full((len(items),), class_number(label, classes))}
        shares = np.asarray(self.spec.columns[column].shares or np.ones(len(classes)), dtype=np.float64)
        edges = torch.from_numpy(np.cumsum(shares / shares.sum()))
        draws = ItemRng(derive(seed, "label"), items).uniform(len(items)).double()
        return {column: torch.searchsorted(edges, draws, right=True).clamp(max=len(classes) - 1)}

    def sample(
        self, n: int, given: dict[str, Tensor] | None = None, seed: int = 0, chunk: int = 250, **options: Any
    ) -> dict[str, Tensor]:
        """n items of each target column, canonical, on the CPU. given: None draws labels; {} asks for none.

        options: of the family's sampler, e.g. temperature; see Model.sample.
        """
        parts = list(self.stream(n, given, seed, chunk, **options))
        return {name: torch.cat([part[name] for part in parts]) for name in self.spec.target}

    @torch.no_grad()
    def stream(
        self, n: int, given: dict[str, Tensor] | None = None, seed: int = 0, chunk: int = 250, **options: Any
    ) -> Iterator[dict[str, Tensor]]:
        """The same in chunks, so that a long sample can be written as it is made."""
        check_asked(n, seed)
        self._check(options)
        given = self.labels(n, seed=seed) if given is None else given
        for start in range(0, n, chunk):
            rows = range(start, min(start + chunk, n))
            part = {name: value[start : rows.stop].to(self.device) for name, value in given.items()}
            made = self.model.sample(len(rows), part, ItemRng(seed, rows, self.device), **options)
            yield {name: (v.float() if v.is_floating_point() else v).cpu() for name, v in made.items()}

    def _check(self, options: dict[str, Any]) -> None:
        """Refuses what the family's sampler has no parameter for."""
        known = self.model.options
        if known is None:
            return
        if unknown := [name for name in options if name not in known]:
            raise UserError(
                f"This model takes no {', '.join(unknown)}.",
                f"It takes {', '.join(known)}." if known else "Its family has one way to sample.",
            )


def check_asked(n: int, seed: int) -> None:
    """Refuses a sample of nothing, and a seed that is none."""
    if n < 1:
        raise UserError(f"n = {n}: a sample has at least one item.", "Ask for -n 1 or more.")
    if seed < 0:
        raise UserError(f"seed = {seed}: a seed is 0 or more.", "Use --seed 0, 1, 2, ...")


def class_number(label: str | int, classes: tuple[str, ...]) -> int:
    """Number of a class named by its name, or by its number when no class has that name."""
    text = str(label)
    if text in classes:
        return classes.index(text)
    if text.isdigit() and int(text) < len(classes):
        return int(text)
    raise UserError(f"There is no class {text!r}.", nearest(text, classes))
