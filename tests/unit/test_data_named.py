"""Sets known by name: inside the install, in a local folder, or fetched and checked."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from test_data_sources import idx_bytes, opened, pictures

from flat_config import flat_config
from maquette.api import resolve_recipe
from maquette.cli import demo
from maquette.core.errors import UserError
from maquette.data import open_dataset
from maquette.data.readers import named
from maquette.recipes import DEFAULT

FILES = named.SETS["mnist"]["files"]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAQUETTE_DATA", "MAQUETTE_MIRROR", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def quartet(folder: Path) -> list[bytes]:
    """Writes the four files of a small MNIST into `folder`; returns their bytes in the order of FILES."""
    x, y = pictures(50, side=28), (np.arange(50) % 10).astype(np.uint8)
    arrays = (x[:40], y[:40], x[40:], y[40:])
    files = [gzip.compress(idx_bytes(array), mtime=0) for array in arrays]
    folder.mkdir(parents=True)
    for name, data in zip(FILES, files, strict=True):
        (folder / name).write_bytes(data)
    return files


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A local server with a small Fashion-MNIST; yields the folder it serves."""
    files = quartet(tmp_path / "served" / "fashion-mnist")
    sums = [hashlib.md5(data).hexdigest() for data in files]
    monkeypatch.setitem(named.SETS["fashion-mnist"], "md5", sums)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served")))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("MAQUETTE_MIRROR", f"http://127.0.0.1:{server.server_port}")
    yield tmp_path / "served" / "fashion-mnist"
    server.shutdown()
    server.server_close()


def test_digits(tmp_path: Path) -> None:
    dataset = opened("digits", tmp_path / "cache")
    assert len(dataset.train) + len(dataset.test) == 1797 and 120 < len(dataset.test) < 240
    x = dataset.train.columns["image"].take(np.arange(len(dataset.train)))
    assert x.shape[1:] == (1, 8, 8) and x.min() == -1 and x.max() == 1
    assert dataset.train.columns["label"].spec.classes == tuple("0123456789")
    assert dataset.summary["source"] == "digits"


def test_a_folder_of_the_same_name_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    for _ in range(2):  # the first time, and out of the cache
        said: list[str] = []
        open_dataset("digits", cache=tmp_path / "cache", notify=said.append)
        assert any("what lies here under it is ./digits" in note for note in said)


def test_a_local_copy_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quartet(tmp_path / "data" / "mnist")
    monkeypatch.setenv("MAQUETTE_DATA", str(tmp_path / "data"))
    dataset = opened("mnist", tmp_path / "cache")
    assert (len(dataset.train), len(dataset.test)) == (40, 10)
    for packed in (tmp_path / "data" / "mnist").iterdir():
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    again = opened("mnist", tmp_path / "cache")
    assert torch.equal(
        again.test.columns["image"].take(np.arange(10)), dataset.test.columns["image"].take(np.arange(10))
    )


def test_fetched_once_and_checked(tmp_path: Path, mirror: Path) -> None:
    dataset = opened("fashion-mnist", tmp_path / "cache")
    assert (len(dataset.train), len(dataset.test)) == (40, 10)
    assert "sneaker" in dataset.train.columns["label"].spec.classes
    for file in mirror.iterdir():
        file.unlink()
    assert opened("fashion-mnist", tmp_path / "cache", size=(14, 14)).test.columns["image"].spec.shape == (1, 14, 14)


def test_what_is_here_is_used_and_nothing_is_fetched_unasked(tmp_path: Path, mirror: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(UserError, match="not on this machine"):
        open_dataset("fashion-mnist", cache=cache, fetch=False)
    assert not cache.exists()
    opened("fashion-mnist", cache)
    for file in mirror.iterdir():
        file.unlink()
    open_dataset("fashion-mnist", cache=cache, fetch=False)  # prepared
    other = flat_config(size=(14, 14))
    assert len(open_dataset("fashion-mnist", other, cache=cache, fetch=False).train) == 40  # fetched before, whole
    (cache / "downloads" / "fashion-mnist" / FILES[0]).write_bytes(b"cut off")
    with pytest.raises(UserError, match="not on this machine"):
        open_dataset("fashion-mnist", flat_config(size=(7, 7)), cache=cache, fetch=False)


def test_a_wrong_checksum_is_refused(tmp_path: Path, mirror: Path) -> None:
    (mirror / FILES[1]).write_bytes(gzip.compress(b"something else"))
    with pytest.raises(UserError, match="wrong checksum") as caught:
        opened("fashion-mnist", tmp_path / "cache")
    assert "MAQUETTE_DATA" in caught.value.remedy and FILES[1] in caught.value.remedy
    assert not (tmp_path / "cache" / "downloads" / "fashion-mnist" / FILES[1]).exists()


def test_the_next_mirror_is_tried(tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    good = f"{os.environ['MAQUETTE_MIRROR']}/fashion-mnist/"
    monkeypatch.delenv("MAQUETTE_MIRROR")
    mirrors = ["http://127.0.0.1:9/", good.replace("fashion", "no"), good]
    monkeypatch.setitem(named.SETS["fashion-mnist"], "mirrors", mirrors)
    assert len(opened("fashion-mnist", tmp_path / "cache").train) == 40


def test_offline_says_where_to_put_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="unreachable") as caught:
        opened("mnist", tmp_path / "cache")
    assert "MAQUETTE_DATA" in caught.value.remedy and "train-images-idx3-ubyte.gz" in caught.value.remedy


def test_the_real_mnist(tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_DATA", str(real_data))
    dataset = opened("mnist", tmp_path / "cache")
    assert (len(dataset.train), len(dataset.test)) == (60_000, 10_000)
    assert dataset.summary["classes"]["label"]["1"] == 6742
    assert dataset.summary["duplicates"]["near_copies"] < 20  # a hash alone would call thousands of ones the same


def test_the_demo_can_show_each_of_them() -> None:
    assert tuple(demo.SETS) == named.NAMES
    for name, (budget, settings) in demo.SETS.items():
        recipe = resolve_recipe(DEFAULT, name, budget=budget, settings=settings)
        assert recipe.train.budget == budget and recipe.data.source == name
