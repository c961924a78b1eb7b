"""Clips of video. See core/modality.py for what a modality is."""

from __future__ import annotations

import importlib
from typing import Any

KIND = "video"
NOUN = ("clip", "clips")
PREVIEW_SUFFIX = ".gif"

# Where the rest stands: imported when it is asked for, so that naming a modality costs nothing.
_MODULES = ("config", "data", "files", "claims", "shown")


def __getattr__(name: str) -> Any:
    if not name.startswith("_"):
        for module in _MODULES:
            found = importlib.import_module(f"{__name__}.{module}")
            if hasattr(found, name):
                return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
