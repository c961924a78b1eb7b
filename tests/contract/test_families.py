"""Every shipped recipe's family meets the contract, on every kind of data. A new recipe is tested by existing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from maquette.core.find import recipe_names
from maquette.core.recipe import load_recipe
from maquette.core.spec import DataSpec
from maquette.testing import Check, Skipped, column_spec, data_spec, model_checks
from specs import image_spec, text_spec


def sounds(samples: int) -> dict[str, DataSpec]:
    return {
        "clips, 3 classes": data_spec(column_spec("audio", 1, samples), label=column_spec("label", classes=3)),
        "any given": data_spec(
            column_spec("audio", 1, samples), label=column_spec("label", classes=3), pitch=column_spec("number"),
            words=column_spec("text", 8), like=column_spec("audio", 1, 64),
        ),
    }  # fmt: skip


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
    "music": {
        "tunes": data_spec(column_spec("music", 256)),
        "tunes, 3 classes": data_spec(column_spec("music", 256), label=column_spec("label", classes=3)),
    },
    "audio": sounds(128),
    "spectrogram": sounds(2048),  # 17 frames
    "video": {
        "clips, 3 classes": data_spec(column_spec("video", 1, 6, 8, 8), label=column_spec("label", classes=3)),
        "RGB 12x10": data_spec(column_spec("video", 3, 5, 12, 10)),
        "any given": data_spec(
            column_spec("video", 1, 6, 8, 8), label=column_spec("label", classes=3), speed=column_spec("number"),
            words=column_spec("text", 8),
        ),
    },
    "audio/tts": {
        "clips with words": data_spec(column_spec("audio", 1, 8192, rate_hz=8000), words=column_spec("text", 8)),
        "any given": data_spec(
            column_spec("audio", 1, 8192, rate_hz=8000), words=column_spec("text", 8),
            label=column_spec("label", classes=3), pitch=column_spec("number"), notes=column_spec("text", 6),
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
    "flow_video": {"width": 16, "deep": 32, "blocks": 1, "deep_blocks": 1, "condition": 16},
    "predictor": {"width": 16, "deep": 32, "blocks": 1, "deep_blocks": 1, "condition": 16},
    "seq2seq": {"width": 32, "embedding": 32, "dropout": 0.0},
    "spectrogram": {"voice": {"width": 16, "blocks": 1, "rounds": 2, "seconds": 0.05}},
    # Loud before it has learned: of sounds whose phases are drawn, only loudness brings the mean nearer.
    "tts": {"width": 16, "blocks": 2, "text_width": 16, "text_layers": 1, "condition": 16, "data_mean": 0.8,
            "voice": {"vocoder": "griffin-lim", "rounds": 2}},
}  # fmt: skip
ONCE = ("audio/flow", "video/flow")  # of their families, and of those of their names
# Recipes that bring trained runs together are tested in tests/unit: test_cooperative.py, test_latent.py.
TOGETHER = ("text/cooperative", "text/writer-critic", "image/latent")


def checks() -> Iterator[object]:
    for name in recipe_names():
        if name in TOGETHER:
            continue
        recipe = load_recipe(name)
        model = {**recipe.model, **SMALL[recipe.family]}
        if recipe.family in ("spectrogram", "flow_video", "predictor"):
            prior = recipe.model["prior"]
            model["prior"] = {**prior, **SMALL[prior["family"]]}
        for label, spec in SPECS.get(name, SPECS.get(recipe.family, SPECS[name.partition("/")[0]])).items():
            if label == "any given" and not (
                name.endswith(f"/{recipe.family}") or name in ("audio/flow", "video/direct")
            ):
                continue  # once a family
            if recipe.given == ():
                spec = spec.model_copy(update={"given": ()})
            for check in model_checks(recipe.family, spec, model):
                yield pytest.param(check, id=f"{name}-{label}-{check}")


@pytest.mark.parametrize("check", list(checks()))
def test_contract(check: Check) -> None:
    outcome = check.run()
    if isinstance(outcome, Skipped):
        pytest.skip(outcome.reason)
