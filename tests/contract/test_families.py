"""Every shipped recipe's family meets the contract, on every kind of data. A new recipe is tested by existing."""

from __future__ import annotations

import pytest

from maquette.core.find import recipe_names
from maquette.core.recipe import load_recipe
from maquette.core.spec import DataSpec
from maquette.testing import check_model, image_spec, text_spec

SPECS: dict[str, dict[str, DataSpec]] = {
    "image": {
        "grey 8x8, 10 classes": image_spec(1, 8, 8, classes=10),
        "RGB 12x16": image_spec(3, 12, 16),
    },
    "text": {
        "windows of one text": text_spec(framed=False),
        "lines, 3 classes": text_spec(classes=3),
        "pairs": text_spec(source=True),
    },
}
# Dropout draws from the engine's own generator, so cutting a batch up changes it; the contract is about the rest.
EXACT = {"dropout": 0.0}
# Recipes that bring trained runs together are tested in tests/unit: test_cooperative.py, test_latent.py.
TOGETHER = ("text/cooperative", "text/writer-critic", "image/latent")
CASES = [(name, spec) for name in recipe_names() if name not in TOGETHER for spec in SPECS[name.partition("/")[0]]]


@pytest.mark.parametrize(("recipe", "spec"), CASES)
def test_contract(recipe: str, spec: str) -> None:
    loaded = load_recipe(recipe)
    kind = recipe.partition("/")[0]
    settings = {**loaded.model, **(EXACT if kind == "text" else {})}
    checks = check_model(loaded.family, SPECS[kind][spec], settings)
    assert len(checks) >= 11
