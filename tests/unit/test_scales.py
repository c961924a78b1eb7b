"""Scales of a recipe: what is asked for is obeyed, and what is not is chosen by the curves."""

from __future__ import annotations

import pytest
import yaml

from maquette.core import scales
from maquette.core.errors import UserError
from maquette.core.find import recipe_names
from maquette.core.needs import need_of
from maquette.core.outline import outline
from maquette.core.recipe import Recipe, load_recipe, parse_recipe
from maquette.core.spec import DataSpec
from maquette.modalities.image.config import Spec as Picture
from maquette.modalities.text.config import Spec as Text

WRITTEN = """
about: scaled
family: flow
target: [image]
model: {width: 64, blocks: 2}
train: {batch_size: 32}
scales:
  S: {model: {width: 16}, train: {batch_size: 16}}
  M: {}
  L: {model: {width: 128}}
  XL: {model: {width: 256}}
"""


def parsed(*settings: str) -> Recipe:
    return parse_recipe(WRITTEN, settings)


def test_a_scale_is_asked_for_by_name_and_settings_count_over_it() -> None:
    recipe = parsed("scale=S")
    assert (recipe.scale, recipe.scales) == ("S", {})
    assert (recipe.model, recipe.train.batch_size) == ({"width": 16, "blocks": 2}, 16)
    assert parsed("model.width=24", "scale=S").model["width"] == 24
    assert parsed("scales.S.model.width=20", "scale=S").model["width"] == 20
    again = parse_recipe(recipe.dump())  # as a run holds it
    assert again == recipe.model_copy(update={"model": again.model}) and again.config == recipe.config


def test_what_scales_change_is_the_users_once_they_set_it() -> None:
    for setting in ("model.width=64", "train.batch_size=48", "train.batch_tokens=null"):
        recipe = parsed(setting)
        assert (recipe.scale, recipe.scales) == ("M", {})
    assert parsed("train.batch_size=48").train.batch_size == 48
    recipe = parsed("model.blocks=1", "train.ema_decay=0.9")  # nothing that they change
    assert recipe.scale == "auto" and recipe.at_scale("L").model == {"width": 128, "blocks": 1}
    assert recipe.written == "M" and recipe.at_scale("M").model == recipe.model


def test_what_is_inside_a_setting_is_changed_there() -> None:
    text = WRITTEN.replace("{model: {width: 16}", "{model: {degrade: {a: 1}}").replace("blocks: 2", "degrade: {b: 2}")
    raw = yaml.safe_load(text)
    recipe = Recipe.model_validate(raw)
    assert recipe.at_scale("S").model["degrade"] == {"b": 2, "a": 1}
    assert "model.degrade.a" in recipe.scales["S"].keys


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["scale=XS"], "no scale 'XS'"),
        (["scales.S.model.wdith=3"], "model.wdith"),
        (["scales.S.train.batchsize=3"], "scales.S.train.batchsize"),
        (["scales.S.data=3"], "scales.S.data"),
        (["scales.M.model={width: 3}"], "the recipe as it is written"),
    ],
)
def test_what_cannot_be_is_refused_by_name(settings: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        parsed(*settings)


def test_a_recipe_without_scales_is_not_asked_for_one() -> None:
    assert load_recipe("image/dcgan", ["scale=auto"]).scale == "auto"
    with pytest.raises(UserError, match="no scale 'S'"):
        load_recipe("image/dcgan", ["scale=S"])


@pytest.mark.parametrize("name", recipe_names())
def test_scales_that_ship_can_be_built_smallest_first(name: str) -> None:
    recipe = load_recipe(name)
    specs = {"image": pictures(), "text": texts()}
    models = [outline(recipe.at_scale(scale), specs[name.partition("/")[0]], trains=False) for scale in recipe.scales]
    sizes = [scales.multiplied(model) for model in models if model is not None]
    assert len(sizes) == len(recipe.scales) and sizes == sorted(sizes)
    assert set(scales._table()) <= set(recipe_names())


# -- the choice ---------------------------------------------------------------------------------------


def pictures(side: int = 28, channels: int = 1) -> DataSpec:
    return DataSpec(columns={"image": Picture(shape=(channels, side, side))}, target=("image",))


def texts() -> DataSpec:
    return DataSpec(columns={"text": Text(shape=(257,), vocab=90, mean_length=257.0)}, target=("text",))


def row(scale: str, data: str = "digits28", **changes: float) -> dict[str, object]:
    """A row of the table; S is done early, M goes further and costs four times as much."""
    known = {
        "S": {"least": 1e4, "most": 1e6, "floor": 5.0, "a": 5e5, "b": 1.0, "work": 0.001},
        "M": {"least": 1e4, "most": 1e6, "floor": 1.0, "a": 5e5, "b": 1.0, "work": 0.004},
    }[scale]
    return {"scale": scale, "data": data, "extent": 28, "channels": 1, "items": 60000, **known, **changes}


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row("S"), row("M"), row("S", "colours", extent=64, channels=3, floor=50.0)]
    monkeypatch.setattr(scales, "_table", lambda: {"my/own": {"measure": "a distance of {}", "curves": rows}})
    monkeypatch.setattr(scales, "names_by_about", lambda: {"scaled": "my/own"})
    monkeypatch.setattr(scales, "load_recipe", lambda name: parsed())


def choice(seconds: float | None, items: int = 60_000, known: dict[str, float] | None = None,
           each: float = 0.001, recipe: Recipe | None = None) -> scales.Choice:  # fmt: skip
    return scales.choose(recipe or parsed(), pictures(), items, seconds, known or {}, lambda scale: each)


def test_little_time_takes_a_small_network_and_much_a_larger_one(table: None) -> None:
    short = choice(60.0)
    assert short.name == "S"
    assert short.words == (
        "Scale S of S, M, L, XL: 1,000 items/s, 1 passes over the data; on digits28 that came to a distance of "
        "about 13.3; with 67 minutes, M would come to 1.5."
    )
    assert choice(900.0).name == "M"
    assert choice(None).name == "M" and not choice(None).words  # steps were asked for
    # Of the same time, on a machine twenty times as fast.
    assert choice(60.0, each=0.00005).name == "M"


def test_what_was_not_measured_is_not_told(table: None) -> None:
    assert choice(3.0).words.startswith("Scale S of") and "so little was not measured" in choice(3.0).words
    assert (
        "on digits28 1,000,000 items came to a distance of about 1.5, and more were not measured."
        in choice(4500.0, each=0.001).words
    )


def test_of_few_items_nothing_is_promised_of_more_time(table: None) -> None:
    assert "would come to" in choice(60.0, items=40_000).words
    assert "would come to" not in choice(5.0, items=20_000).words


def test_what_was_trained_here_is_known_and_not_measured(table: None) -> None:
    chosen = scales.choose(parsed(), pictures(), 60_000, 200.0, {"M": 0.0004}, lambda scale: pytest.fail("measured"))
    assert chosen.name == "M" and "2,500 items/s" in chosen.words


def test_a_larger_network_than_was_measured_takes_more_time_than_was(table: None) -> None:
    assert choice(3600.0).name == "M"
    beyond = choice(1e6)  # S would see 1e9 items, M 250 million, L and XL a fourth of the one before, each
    assert beyond.name == "XL" and "was not measured" in beyond.words
    assert choice(5e3).name == "M"  # L would not see the million that M was measured for


def test_one_that_is_too_large_for_the_memory_is_not_chosen(table: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def outline(recipe: Recipe, *rest: object, **more: object) -> None:
        if recipe.scale == "XL":
            raise UserError("It takes 9 TiB of memory.", "Ask for less.")

    monkeypatch.setattr(scales, "outline", outline)
    assert choice(1e6).name == "L"


def test_what_a_curve_says_is_not_the_best_is_not_chosen_for_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row("S", most=1e5), row("M", floor=20.0)]
    monkeypatch.setattr(scales, "_table", lambda: {"my/own": {"measure": "a distance of {}", "curves": rows}})
    monkeypatch.setattr(scales, "names_by_about", lambda: {"scaled": "my/own"})
    monkeypatch.setattr(scales, "load_recipe", lambda name: parsed())
    assert choice(1000.0).name == "S"  # M would see 250,000, of the million that it was measured for
    assert choice(5000.0).name == "M"


@pytest.mark.parametrize("name", ["image/flow", "image/gan", "image/vae", "text/lm"])
def test_more_time_is_never_promised_to_come_to_less(name: str) -> None:
    recipe, spec = load_recipe(name), pictures() if name.startswith("image") else texts()
    curves = {curve.scale: curve for curve in scales.curves_of(recipe, spec)}
    known, items = {scale: curve.work for scale, curve in curves.items()}, next(iter(curves.values())).items
    promised = []
    for seconds in (10.0 * 1.2**step for step in range(45)):
        chosen = scales.choose(recipe, spec, items, seconds, known, lambda scale: pytest.fail("measured"))
        curve = curves.get(chosen.name)
        if curve is None or seconds / curve.work > curve.most:  # nothing is promised beyond
            continue
        promised.append(curve.score(seconds / curve.work))
        assert promised[-1] == min(promised), chosen.words


def test_an_unmeasured_network_needs_more_than_a_small_one_is_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe("image/vae")
    (curve,) = scales.curves_of(recipe, pictures())
    known = {curve.scale: curve.work}
    need = need_of(recipe, pictures())
    assert need is not None and need.worth_it > curve.most
    for shown, name in ((2 * curve.most, "M"), (20 * need.worth_it, "L")):
        chosen = scales.choose(recipe, pictures(), 60_000, shown * curve.work, known, lambda scale: 1.0)
        assert chosen.name == name


def test_of_few_items_only_what_was_measured_for_as_many_passes(table: None) -> None:
    # M covers 16 passes: 500 items 8,000 times. S makes as many in a fourth of the time.
    assert choice(30.0, items=500).name == "M"
    many = choice(3600.0, items=500)
    assert many.name == "M" and "were not measured" in many.words
    assert choice(1e6, items=500).name == "M"  # and nothing beyond the recipe as it is written


def test_the_curves_are_those_of_the_nearest_data(table: None) -> None:
    near = scales.curves_of(parsed(), pictures(56, 3))
    assert [curve.data for curve in near] == ["colours"]
    assert [curve.scale for curve in scales.curves_of(parsed(), pictures(32))] == ["S", "M"]


def test_nothing_is_claimed_of_another_recipe(table: None) -> None:
    own = parse_recipe(WRITTEN.replace("width: 64", "width: 48"))
    assert not scales.curves_of(own, pictures()) and choice(60.0, recipe=own) == scales.Choice("M")
    other = parse_recipe(WRITTEN.replace("about: scaled", "about: mine"))
    assert choice(60.0, recipe=other) == scales.Choice("M")
    assert scales.curves_of(parsed("model.blocks=1"), pictures())
