"""Data sets known by name: `digits` (inside scikit-learn), `mnist` and `fashion-mnist`."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from maquette.core.errors import UserError
from maquette.core.files import expanded
from maquette.core.progress import stage
from maquette.data.names import digest
from maquette.data.raw import RawTable, Values
from maquette.data.readers import Place, idx
from maquette.data.readers.arrays import arranged
from maquette.data.trees import Folder, stamp

ACCEPTS = "a set that is known by name"
DIGITS = "digits"
SETS: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
NAMES = (DIGITS, *SETS)


def claims(place: Place) -> float:
    """How surely a place holds data sets that are known by name, in [0, 1]."""
    return 1.0 if place.path is None and place.name in NAMES else 0.0


def remote(place: Place) -> bool:
    """Whether the set has to be fetched."""
    if place.name == DIGITS or _local(place.name) is not None:
        return False
    import pooch

    known = SETS[place.name]
    files = [(place.downloads / place.name / file, md5) for file, md5 in zip(known["files"], known["md5"], strict=True)]
    return not all(file.is_file() and pooch.file_hash(str(file), "md5") == md5 for file, md5 in files)


def key(place: Place) -> str:
    """What tells one state of the source from another, for the cache."""
    # A download is checked against its checksum, so its name alone says what it holds.
    local = None if place.name == DIGITS else _local(place.name)
    files = [] if local is None else [stamp(local / name) for name in Folder(local).names]
    return digest(["named", place.name, *files])


def read(place: Place, columns: Sequence[str]) -> RawTable:
    """1,797 handwritten digits, 8 x 8, from the UCI repository, which ship inside scikit-learn; or MNIST or
    Fashion-MNIST: a local copy under MAQUETTE_DATA, else downloaded once and checked."""
    if place.name == DIGITS:
        from sklearn.datasets import load_digits

        found = load_digits()
        items = np.asarray(found.data).reshape(-1, 8, 8)
        return arranged("known set", {None: items}, {None: found.target}, scale_max=16)
    folder = _local(place.name) or _download(place)
    made = idx.read(replace(place, path=folder), columns)
    made.kind = "known set"
    label = made.columns.get("label")
    if (classes := SETS[place.name].get("classes")) and isinstance(label, Values):
        label.cells = [classes[int(value or 0)] for value in label.cells]
    return made


def _local(name: str) -> Path | None:
    """The folder of a local copy under MAQUETTE_DATA."""
    root = os.environ.get("MAQUETTE_DATA")
    local = expanded(root) / name if root else None
    return local if local and local.is_dir() and idx.quartet_in(Folder(local).names) else None


def _download(place: Place) -> Path:
    """Fetches what is missing, trying one mirror after the other; returns the folder."""
    import pooch
    import requests

    cached, known = place.downloads / place.name, SETS[place.name]
    pooch.get_logger().setLevel(logging.ERROR)
    mirror = os.environ.get("MAQUETTE_MIRROR")
    bases = (f"{mirror.rstrip('/')}/{place.name}/",) if mirror else known["mirrors"]
    fetch = pooch.HTTPDownloader(timeout=20, progressbar=False)
    for file, checksum in zip(known["files"], known["md5"], strict=True):
        failures = []
        for base in bases:
            if not (cached / file).is_file():
                place.notify(f"Downloading {base}{file}")
            try:
                with stage(f"downloading {file}"):
                    pooch.retrieve(f"{base}{file}", f"md5:{checksum}", file, cached, downloader=fetch)
                break
            except requests.exceptions.RequestException as error:
                failures.append(f"{base}: {_brief(error)}")
            except ValueError:
                failures.append(f"{base}: the file has a wrong checksum")
            except OSError as error:
                raise UserError(
                    f"'{cached}' cannot be written: {error.strerror or error}.",
                    "Name another folder with MAQUETTE_CACHE.",
                ) from None
        else:
            raise UserError(
                f"'{place.name}' could not be downloaded: {'; '.join(failures)}.",
                f"Without a network, put {', '.join(known['files'])} into a folder '{place.name}' and name the folder "
                "above it: MAQUETTE_DATA=/path/to/that.",
            )
    return cached


def _brief(error: Exception) -> str:
    import requests

    if isinstance(error, requests.exceptions.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    return "unreachable"
