"""Data sets known by name: `digits` (inside scikit-learn), `mnist` and `fashion-mnist`."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from maquette.core.errors import UserError
from maquette.data.idx import IdxFolder, in_folder
from maquette.data.sources import Arrays, Say, Source
from maquette.data.text import digest

NAMES = ("digits", "mnist", "fashion-mnist")
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")

_PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
FILES = tuple(f"{part}-ubyte.gz" for part in _PARTS)
CHECKSUMS = {  # MD5, as published by the authors; they guard against broken downloads
    "mnist": (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873", "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3", "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fashion-mnist": (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79", "bb300cfdad3c16e7a12a480ee83cd310",
    ),
}  # fmt: skip
MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
}


def find(name: str, downloads: Path) -> Source:
    """The source behind a name of NAMES."""
    return Digits() if name == "digits" else Idx(name, downloads / name)


class Digits:
    """1,797 handwritten digits, 8 x 8, from the UCI repository; they ship inside scikit-learn."""

    def key(self) -> str:
        return digest(["named", "digits"])

    def load(self, say: Say) -> Arrays:
        from sklearn.datasets import load_digits

        found = load_digits()
        labels: list[str | None] = [str(v) for v in found.target.tolist()]
        images = np.asarray(found.images)
        return Arrays("named", [(None, images, {"label": labels})], scale_max=16)


class Idx:
    """MNIST or Fashion-MNIST: a local copy under MAQUETTE_DATA, else downloaded once and checked."""

    def __init__(self, name: str, cached: Path) -> None:
        self.name, self.cached = name, cached
        root = os.environ.get("MAQUETTE_DATA")
        local = Path(root).expanduser() / name if root else None
        self.local = local if local and in_folder(local) else None

    def key(self) -> str:
        # A download is checked against its checksum, so its name alone says what it holds.
        return IdxFolder(self.local).key() if self.local else digest(["named", self.name])

    def load(self, say: Say) -> Arrays:
        made = IdxFolder(self.local or self._download(say)).load(say)
        made.kind = "named"
        if self.name == "fashion-mnist":
            for _, _, values in made.parts:
                values["label"] = [CLOTHES[int(v or 0)] for v in values.get("label", [])]
        return made

    def _download(self, say: Say) -> Path:
        """Fetches what is missing, trying one mirror after the other; returns the folder."""
        import pooch
        import requests

        pooch.get_logger().setLevel(logging.ERROR)
        mirror = os.environ.get("MAQUETTE_MIRROR")
        bases = (f"{mirror.rstrip('/')}/{self.name}/",) if mirror else MIRRORS[self.name]
        fetch = pooch.HTTPDownloader(timeout=20, progressbar=False)
        for file, checksum in zip(FILES, CHECKSUMS[self.name], strict=True):
            failures = []
            for base in bases:
                known = (self.cached / file).is_file()
                if not known:
                    say(f"Downloading {base}{file}")
                try:
                    pooch.retrieve(f"{base}{file}", f"md5:{checksum}", file, self.cached, downloader=fetch)
                    break
                except requests.exceptions.RequestException as error:
                    failures.append(f"{base}: {_brief(error)}")
                except ValueError:
                    failures.append(f"{base}: the file has a wrong checksum")
                except OSError as error:
                    raise UserError(
                        f"'{self.cached}' cannot be written: {error.strerror or error}.",
                        "Name another folder with MAQUETTE_CACHE.",
                    ) from None
            else:
                raise UserError(
                    f"'{self.name}' could not be downloaded: {'; '.join(failures)}.",
                    f"Without a network, put {', '.join(FILES)} into a folder '{self.name}' and name the folder "
                    "above it: MAQUETTE_DATA=/path/to/that.",
                )
        return self.cached


def _brief(error: Exception) -> str:
    import requests

    if isinstance(error, requests.exceptions.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    return "unreachable"
