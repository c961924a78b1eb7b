"""Items are the same to the last bit, whatever is asked for beside them."""

from __future__ import annotations

import pytest
import torch

from maquette.core.generator import Generator, build_model
from maquette.core.recipe import load_recipe
from maquette.core.rows import passes, rows_of
from maquette.testing.specs import column_spec, data_spec


def test_passes_are_of_one_size() -> None:
    assert [rows.tolist() for rows in passes(5, 4)] == [[0, 1, 2, 3], [4, 4, 4, 4]]
    assert [len(rows) for rows in passes(8, 4)] == [4, 4]
    assert [rows_of(shape) for shape in ((1, 28, 28), (3, 64, 64), (1, 16, 64, 64), (3, 512, 512))] == [16, 4, 1, 1]


@pytest.mark.parametrize("recipe", ["image/gan", "image/vae", "image/flow"])
def test_an_item_does_not_know_its_batch(recipe: str) -> None:
    spec = data_spec(column_spec("image", 1, 8, 8), label=column_spec("label"))
    generator = Generator(build_model(load_recipe(recipe, ["model.width=16"]), spec), spec)
    given = generator.given_for(21, seed=3)
    together = generator.sample(21, given, seed=3)["image"]
    for i in (0, 7, 20):
        own = {name: value[i : i + 1] for name, value in given.items()}
        assert torch.equal(generator.items([(3, i)], own)["image"][0], together[i])
    mixed = generator.items([(9, 0), (3, 7)], {name: value[[0, 7]] for name, value in given.items()})["image"]
    assert torch.equal(mixed[1], together[7])
