"""Shared by all tests: a cache of their own, and jobs for the engine on made-up data."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import maquette.testing
import specs

# Until every test imports them from `specs`.
maquette.testing.image_spec, maquette.testing.text_spec = specs.image_spec, specs.text_spec  # type: ignore[attr-defined]


from trained import trained  # noqa: E402, F401


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests neither read nor fill the user's cache. CI shares one cache between its tests through the variable."""
    if "MAQUETTE_TEST_CACHE" not in os.environ:
        os.environ["MAQUETTE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    else:
        os.environ["MAQUETTE_CACHE"] = os.environ["MAQUETTE_TEST_CACHE"]


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Tests that draw without a generator of their own draw the same each time."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; skips by name without it."""
    folder = os.environ.get("MAQUETTE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("MAQUETTE_DATA is not set: tests on real data are left out")
    return Path(folder)
