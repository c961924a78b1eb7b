"""A DataConfig from keys without their sections, as tests like to write them."""

from __future__ import annotations

from typing import Any

from maquette.core.data_config import DataConfig
from maquette.core.find import find_modality


def flat_config(**keys: Any) -> DataConfig:
    """flat_config(size=(8, 8), vocab=300) -> data.image.size, data.text.vocab; keys of data itself stay there."""
    plain: dict[str, Any] = {}
    for key, value in keys.items():
        kind = next((k for k in ("image", "text") if key in find_modality(k).Config.model_fields), None)
        (plain if kind is None else plain.setdefault(kind, {}))[key] = value
    return DataConfig.model_validate(plain)
