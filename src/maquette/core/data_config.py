"""The section `data` of a recipe: where the data is, how it is split, and a section for each kind of column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from maquette.core.bounds import Seed
from maquette.core.errors import UserError, closest, nearest
from maquette.core.explained import explain
from maquette.core.find import find_modality, modality_names
from maquette.core.modality import data_options
from maquette.core.option import checked
from maquette.core.spec import plain


class DataConfig(BaseModel):
    """Where the data is and how it is split; and a section for each kind of column, whose keys are those of the
    modality's Config."""

    model_config = ConfigDict(extra="allow", validate_default=True, allow_inf_nan=False)

    source: str | None = Field(None, description="folder, archive, array file, or a name such as digits or mnist")
    kinds: dict[str, str] = Field({}, description="column: modality, where it is not to be told from what it holds")
    splits: Literal["auto", "folders", "none"] = Field(
        "auto",
        description="auto: the data's own, by the names of folders and files; folders: also where folders that are "
        "called like splits could be classes; none: it has none, and such folders are classes",
    )
    label_pattern: str | None = Field(
        None, description="columns that the names of files tell, such as '{label}_{speaker}_{take}'"
    )
    test_where: str | None = Field(
        None, description="what is held out, by the values of a column: column=value,value or column=0..4"
    )
    split_by: str | None = Field(
        None, description="a column whose values are never on both sides, such as speaker; null: only copies are not"
    )
    test_share: float = Field(0.1, gt=0, lt=1, description="held out when the data has no test split of its own")
    strict: bool = Field(False, description="stop at the first unusable item instead of leaving it out")
    split_seed: Seed = 0

    @field_validator("kinds")
    @classmethod
    def _names_in_one_form(cls, kinds: dict[str, str]) -> dict[str, str]:
        return {plain(name): kind for name, kind in kinds.items()}

    @model_validator(mode="after")
    def _one_rule(self) -> DataConfig:
        if self.test_where and self.split_by:
            raise UserError("data.test_where and data.split_by both say what is held out.", "Give one of them.")
        return self

    @model_validator(mode="after")
    def _sections_of_kinds(self) -> DataConfig:
        """The further keys are modalities, each with its Config."""
        for kind, value in list((self.__pydantic_extra__ or {}).items()):
            if kind not in modality_names():
                raise _no_setting(kind)
            schema = find_modality(kind).Config
            if not isinstance(value, BaseModel):
                try:
                    made = schema.model_validate(value or {})
                except ValidationError as error:
                    raise explain(error, schema, f"data.{kind}.") from None
                self.__pydantic_extra__[kind] = made  # type: ignore[index]
        return self

    def of(self, kind: str) -> Any:
        """The section of a modality: its Config, with what was set."""
        found = (self.__pydantic_extra__ or {}).get(kind)
        return find_modality(kind).Config() if found is None else found


def _keys_of_kinds() -> list[str]:
    """What can be set of the kinds of data, as `<kind>.<key>`."""
    return [f"{kind}.{key}" for kind in modality_names() for key in find_modality(kind).Config.model_fields]


def owners(name: str, target: Sequence[str] = ()) -> list[str]:
    """Keys of kinds of data that a bare `data.<name>` may stand for; none where the section `data` has it itself.

    target: what is made; where a column of it is called as one of several kinds, that one is meant
    """
    if name in DataConfig.model_fields or name in modality_names():
        return []
    found = [key for key in _keys_of_kinds() if key.rpartition(".")[2] == name]
    asked = [key for key in found if key.partition(".")[0] in target]
    return [f"data.{key}" for key in asked or found]


def _no_setting(name: str) -> UserError:
    """There is no such key in the section `data`; perhaps it is one of a kind's own section."""
    known = [*DataConfig.model_fields, *_keys_of_kinds()]
    meant = owners(name) or [f"data.{key}" for key in filter(None, [closest(name, known)])]
    hint = f"Did you mean {' or '.join(map(repr, meant))}?" if meant else nearest(name, known)
    return UserError(f"There is no setting 'data.{name}'.", hint)


def data_settings(of_data: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for by options of data, as a recipe's section `data`: {name: value, kind: {name: value}}."""
    options, sections = data_options(), dict[str, Any]()
    values = checked(options.values(), {name: value for name, value in of_data.items() if value is not None}, "Data")
    for key, option in options.items():
        if option.name in values:
            _, *kind, name = key.split(".")
            (sections.setdefault(kind[0], {}) if kind else sections)[name] = values[option.name]
    return sections
