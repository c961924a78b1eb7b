"""Every shipped recipe's family meets the contract, on every kind of data. A new recipe is tested by existing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from maquette.core.find import recipe_names
from maquette.core.recipe import load_recipe
from maquette.core.spec import DataSpec
from maquette.testing import Check, Skipped, column_spec, data_spec, model_checks
from specs import image_spec, text_spec

SPECS: dict[str, dict[str, DataSpec]] = {
    "image": {
        "grey, 10 classes": image_spec(1, 8, 8, classes=10),
        "RGB 12x16": image_spec(3, 12, 16),
        "any given": data_spec(
            column_spec("image", 1, 8, 8), label=column_spec("label", classes=3), slant=column_spec("number"),
            caption=column_spec("text", 8),
        ),
    },
    "text": {
        "windows": text_spec(framed=False),
        "lines, 3 classes": text_spec(classes=3),
        "pairs": text_spec(source=True),
    },
    "audio": {
        "clips, 3 classes": data_spec(column_spec("audio", 1, 128), label=column_spec("label", classes=3)),
        "any given": data_spec(
            column_spec("audio", 1, 128), label=column_spec("label", classes=3), pitch=column_spec("number"),
            words=column_spec("text", 8), like=column_spec("audio", 1, 64),
        ),
    },
}  # fmt: skip
# The contract holds at any size, so it is checked at a small one; all else is as the recipe has it. Dropout draws from
# the engine's own generator, so cutting a batch up changes it.
SMALL = {
    "flow": {"width": 16, "deep": 32, "blocks": 1, "deep_blocks": 1, "condition": 16},
    "clustered": {"prior": {"family": "flow", "width": 16, "deep": 32, "blocks": 1, "deep_blocks": 1, "condition": 16,
                            "predicts": "item"}},
    "gan": {"width": 8, "deep": 16, "blocks": 1, "features": 16},
    "vae": {"width": 32, "encoder_blocks": 1, "decoder_blocks": 1, "head": 32, "hidden": [64],
            "groups": [["global", 8], ["local", 2]]},
    "transformer": {"width": 32, "layers": 2, "heads": 2, "encoder_layers": 1, "dropout": 0.0},
    "wavenet": {"blocks": 2, "layers": 4, "residual": 16, "skip": 32, "condition": 16, "crop": 64},
    "restoration": {"width": 32, "deep": 32, "blocks": 1, "deep_blocks": 1, "frames": 16},
    "seq2seq": {"width": 32, "embedding": 32, "dropout": 0.0},
}  # fmt: skip
# Recipes that bring trained runs together are tested in tests/unit: test_cooperative.py, test_latent.py.
TOGETHER = ("text/cooperative", "text/writer-critic", "image/latent")


def checks() -> Iterator[object]:
    for name in recipe_names():
        if name in TOGETHER:
            continue
        recipe = load_recipe(name)
        for label, spec in SPECS[name.partition("/")[0]].items():
            if label == "any given" and not name.endswith(f"/{recipe.family}"):
                continue  # once a family
            if recipe.given == ():
                spec = spec.model_copy(update={"given": ()})
            for check in model_checks(recipe.family, spec, {**recipe.model, **SMALL[recipe.family]}):
                yield pytest.param(check, id=f"{name}-{label}-{check}")


@pytest.mark.parametrize("check", list(checks()))
def test_contract(check: Check) -> None:
    outcome = check.run()
    if isinstance(outcome, Skipped):
        pytest.skip(outcome.reason)
