"""Runs that are trained once, for all tests and all processes of a session."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

import maquette

QUICK = ("train.trackers=[]", "train.precision=fp32", "train.compile=off", "train.preview_items=8", "train.device=cpu")


class Trained:
    """Trains each run that is asked for at the first time, and hands out its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, recipe: str, data: str | Path = "digits", *settings: str, steps: int = 20, given: str | None = None
    ) -> Path:
        """A run folder that others read, too: not to be changed. Data in files is known by its content."""
        file = Path(data)
        content = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else str(data)
        asked = repr((recipe, content, settings, steps, given))
        path = self.folder / f"{recipe.replace('/', '-')}-{hashlib.sha256(asked.encode()).hexdigest()[:12]}"
        with FileLock(path.with_suffix(".lock")):
            if not path.with_suffix(".done").exists():
                shutil.rmtree(path, ignore_errors=True)
                if file.is_file():  # beyond the test that wrote it
                    data = shutil.copy(file, self.folder / f"{content[:12]}{file.suffix}")
                maquette.train(
                    recipe, str(data), out=path, steps=steps, given=given, settings=[*QUICK, *settings], quiet=True
                )
                path.with_suffix(".done").touch()
        return path

    def copy(self, run: Path, to: Path) -> Path:
        """A run of one's own, to change."""
        return Path(shutil.copytree(run, to))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """`trained("image/gan")`: the folder of a run of a few steps on data that ships with the install."""
    # The processes of pytest-xdist have folders of their own side by side.
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "popen-gw" in base.name else base) / "trained"
    folder.mkdir(exist_ok=True)
    return Trained(folder)
