"""The family that docs/add_a_model.md explains meets the contract, as a user's own would have to."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.core.generator import build_model
from maquette.core.model import Encodes, Scores
from maquette.core.recipe import load_recipe
from maquette.core.spec import DataSpec
from maquette.testing import check_model
from specs import image_spec

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `PYTHONPATH=examples MAQUETTE_FAMILIES=my_family` does for a user."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("MAQUETTE_FAMILIES", "my_family")


@pytest.mark.parametrize("spec", [image_spec(1, 16, 16), image_spec(3, 12, 10, classes=3)], ids=["grey", "rgb+label"])
def test_it_meets_the_contract(spec: DataSpec) -> None:
    assert "resume_equals_straight_run" in check_model("my_family", spec)


def test_its_recipe_is_complete_and_builds() -> None:
    recipe = load_recipe(str(EXAMPLES / "my_family.yaml"), ["family=my_family", "model.latent_dim=2"])
    model = build_model(recipe, image_spec(1, 8, 8))
    assert isinstance(model, Encodes) and model.latent_dim == 2
    assert not isinstance(model, Scores)  # no ability is claimed that is not there
