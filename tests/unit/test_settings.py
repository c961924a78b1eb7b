"""How settings, classes and columns are named: in short, near enough, or as another keyboard writes them."""

# ruff: noqa: RUF001 -- letters of full and half width are the point

from __future__ import annotations

import sys
import unicodedata
from typing import Any

import pytest

from maquette import api
from maquette.core import data_config as data_configs
from maquette.core.data_config import DataConfig
from maquette.core.errors import UserError, closest
from maquette.core.recipe import load_recipe
from maquette.modalities.label import Spec
from maquette.modalities.label.values import asked


@pytest.mark.parametrize(
    ("setting", "kind", "key", "value"),
    [
        ("data.context=32", "text", "context", 32), ("data.text.context=32", "text", "context", 32),
        ("data.fit=pad", "image", "fit", "pad"), ("data.size=48x64", "image", "size", (48, 64)),
        ("data.image.size=64", "image", "size", (64, 64)), ("data.size=null", "image", "size", None),
    ],
)  # fmt: skip
def test_a_setting_that_one_kind_of_data_has_needs_no_name_of_the_kind(
    setting: str, kind: str, key: str, value: Any
) -> None:
    made = load_recipe("image/gan", [setting])
    assert getattr(made.data.of(kind), key) == value
    if value is not None:
        assert f"  {kind}:\n" in made.dump(), "the run's recipe has it in full"
    name = setting.partition("=")[0]
    assert api.resolve_recipe("image/gan", "digits", settings={name: value}).data.of(kind) == made.data.of(kind)


def test_a_setting_that_several_kinds_have_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_configs, "_keys_of_kinds", lambda: ["shape.size", "sound.size", "text.context"])
    with pytest.raises(UserError, match=r"'data\.shape\.size' or 'data\.sound\.size'"):
        load_recipe("image/gan", ["data.size=3"])


@pytest.mark.parametrize("kind", ["image", "video"])
def test_of_several_kinds_that_have_a_setting_the_one_that_is_made_is_meant(kind: str) -> None:
    made = load_recipe(f"{kind}/flow", ["data.size=32"]).data
    assert made.of(kind).size == (32, 32)
    assert all(made.of(other).size is None for other in {"image", "video"} - {kind})


@pytest.mark.parametrize(
    ("setting", "says"),
    [("data.contxt=32", "'data.text.context'"), ("data.strct=true", "'data.strict'"),
     ("data.context=3", "'data.text.context'"),
     ("data.size=big", "48x64"), ("data.text=3", "'data.text'")],
)  # fmt: skip
def test_a_setting_of_data_that_is_none_is_named_with_the_nearest(setting: str, says: str) -> None:
    with pytest.raises(UserError) as error:
        load_recipe("image/gan", [setting])
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("setting", "key"),
    [("train.fewer_multiplications=never", "train.fewer_multiplications"),
     ("train.fewer_multiplications={net.stem: seldom}", "train.fewer_multiplications.net.stem"),
     ("train.micro_batch=none", "train.micro_batch")],
)  # fmt: skip
def test_a_value_that_is_of_no_type_is_named_by_its_key_alone(setting: str, key: str) -> None:
    with pytest.raises(UserError, match=f"^'{key}' cannot be "):
        load_recipe("image/gan", [setting])


def test_the_short_name_is_no_key_of_a_recipe_file() -> None:
    with pytest.raises(UserError, match=r"data\.text\.context"):
        DataConfig.model_validate({"context": 32})


def test_names_are_near_whatever_their_width_and_capitals() -> None:
    assert closest("Ｓeven", ["seven", "eight"]) == closest("SEVEN", ["seven", "eight"]) == "seven"
    assert closest("ｶﾀｶﾅ", ["ひらがな", "カタカナ"]) == "カタカナ" and closest("dog", ["seven", "８"]) is None


def test_a_class_is_named_as_any_keyboard_writes_it() -> None:
    classes = Spec(classes=("1", "7", "café", "猫ＡＢ"), shares=(0.25,) * 4)

    def code(name: Any) -> int:
        return int(asked(name, classes, lambda note: None))

    assert [code(name) for name in ("café", unicodedata.normalize("NFD", "café"), " 7", 7, 0)] == [2, 2, 1, 1, 0]
    for name, meant in (("７", "7"), ("CAFÉ", "café"), ("猫AB", "猫ＡＢ")):
        with pytest.raises(UserError) as error:
            code(name)
        assert error.value.remedy == f"Did you mean '{meant}'?"


@pytest.mark.parametrize("family", ["this", "antigravity.x", "gaan", "", "a..b", ".a", "../gan"])
def test_a_recipe_file_imports_no_module_of_its_choice(tmp_path, family):
    file = tmp_path / "r.yaml"
    file.write_text(f"about: mine\nfamily: '{family}'\n")
    with pytest.raises(UserError, match="it was not imported"):
        load_recipe(str(file))
    assert not {"this", "antigravity"} & set(sys.modules)
    for named in ("json", "a..b", ".a", "../gan"):  # one that the user names is, where there is such a family
        with pytest.raises(UserError, match=r"no model family|not a model family"):
            load_recipe(str(file), [f"family={named}"])
