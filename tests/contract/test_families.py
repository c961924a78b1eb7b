"""Every shipped recipe's family meets the contract, on every kind of picture. A new recipe is tested by existing."""

from __future__ import annotations

import pytest

from maquette.core.find import recipe_names
from maquette.core.recipe import load_recipe
from maquette.testing import check_model, image_spec

SPECS = {
    "grey 8x8, 10 classes": image_spec(1, 8, 8, classes=10),
    "RGB 12x16": image_spec(3, 12, 16),
}


@pytest.mark.parametrize("recipe", recipe_names())
@pytest.mark.parametrize("spec", SPECS)
def test_contract(recipe: str, spec: str) -> None:
    loaded = load_recipe(recipe)
    checks = check_model(loaded.family, SPECS[spec], loaded.model)
    assert len(checks) >= 11
