"""Prepared once: found again by a walk of the folder, never half-written, never in the way."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_data_sources import opened, pictures, png, put, tree

from maquette.core.data_config import DataConfig
from maquette.data import open_dataset, prepare
from maquette.data import store as storing
from maquette.data.cache import Cache


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return put(tmp_path / "pets", tree())


def forbid(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(prepare, name, never)


def test_the_second_open_looks_at_no_picture(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(root, cache)
    forbid(monkeypatch, "survey")
    second = opened(root, cache)
    assert second.fingerprint == first.fingerprint and second.train.names == first.train.names
    assert not first.summary["from_cache"] and second.summary["from_cache"]
    rows = np.arange(len(first.train))
    assert torch.equal(second.train.columns["image"].take(rows), first.train.columns["image"].take(rows))


def test_the_same_bytes_in_another_shape_are_other_data(cache: Path, tmp_path: Path) -> None:
    items = np.random.default_rng(0).integers(0, 256, (50, 16, 8)).astype(np.uint8)
    for shape in ((16, 8), (8, 16)):
        np.save(tmp_path / "x.npy", items.reshape(50, *shape))
        assert opened(tmp_path / "x.npy", cache).train.columns["image"].spec.shape == (1, *shape)


def test_what_goes_well_is_told_as_progress_alone(root: Path, cache: Path) -> None:
    lines: list[str] = []
    open_dataset(root, DataConfig(), cache=cache, notify=lines.append)
    assert lines == []


def test_a_copy_elsewhere_is_known_by_its_content(root: Path, cache: Path, tmp_path: Path) -> None:
    first = opened(root, cache)
    shutil.copytree(root, tmp_path / "moved")
    lines: list[str] = []
    second = open_dataset(tmp_path / "moved", DataConfig(), cache=cache, notify=lines.append)
    assert second.fingerprint == first.fingerprint and "prepared before" in " ".join(lines)
    assert second.summary["source"] == second.source == "moved"


def test_each_folder_keeps_its_own_list_of_broken_files(root: Path, cache: Path, tmp_path: Path) -> None:
    whole = png(pictures(60)[59])
    (root / "cat" / "zero.png").write_bytes(b"")
    (root / "cat" / "cut.png").write_bytes(whole[:-30])  # its header is whole: only decoding finds out
    first = opened(root, cache)
    assert {e["name"] for e in first.summary["left_out"]} == {"cat/zero.png", "cat/cut.png"}
    shutil.copytree(root, tmp_path / "moved")
    (tmp_path / "moved" / "cat" / "zero.png").unlink()
    for _ in range(2):  # by its content, then from the cache
        second = opened(tmp_path / "moved", cache)
        assert second.fingerprint == first.fingerprint
        assert [e["name"] for e in second.summary["left_out"]] == ["cat/cut.png"] and second.summary["used"] == 40
    assert opened(root, cache).summary["left_out_count"] == 2


@pytest.mark.parametrize("change", ["pixels", "added", "removed", "renamed", "config"])
def test_changes_are_noticed(root: Path, cache: Path, change: str) -> None:
    first = opened(root, cache)
    picture = root / "cat" / "000.png"
    if change == "pixels":
        picture.write_bytes(png(pictures(90)[89]))
        os.utime(picture, ns=(time.time_ns(), time.time_ns() + 10**9))
    elif change == "added":
        (root / "cat" / "new.png").write_bytes(png(pictures(90)[89]))
    elif change == "removed":
        picture.unlink()
    elif change == "renamed":
        picture.rename(root / "dog" / "000.png")
    second = opened(root, cache, **({"size": (8, 8)} if change == "config" else {}))
    assert second.fingerprint != first.fingerprint and not second.summary["from_cache"]


def test_large_sets_are_mapped_and_small_ones_are_not(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = opened(root, cache)
    monkeypatch.setattr(storing, "IN_MEMORY_BYTES", 1000)
    large = opened(root, cache)
    stored = [d.train.columns["image"].array for d in (small, large)]  # type: ignore[attr-defined]
    assert not isinstance(stored[0], np.memmap) and isinstance(stored[1], np.memmap)
    assert stored[0].dtype == np.uint8 and np.array_equal(*stored)
    batches = [d.train.batch([3, 1, 3], d.spec(["image"], ["label"])) for d in (small, large)]
    assert torch.equal(batches[0].target["image"], batches[1].target["image"])


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "json", "table", "key"])
def test_a_damaged_cache_is_made_again(root: Path, cache: Path, damage: str) -> None:
    first = opened(root, cache)
    (folder,) = (cache / "prepared").iterdir()
    if damage == "cut":
        os.truncate(folder / "0.bin", 2000)
    elif damage == "empty":
        os.truncate(folder / "1.bin", 0)
    elif damage == "gone":
        (folder / "train.bin").unlink()
    elif damage == "json":
        (folder / "summary.json").write_text("{")
    elif damage == "table":
        (folder / "table.json").write_text('{"columns": {}}')
    else:
        next((cache / "keys").iterdir()).write_text("[]")
    second = opened(root, cache)
    assert second.fingerprint == first.fingerprint and len(second.train) == len(first.train)
    assert opened(root, cache).summary["from_cache"]


def test_a_half_written_cache_is_never_used(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Cache, "keep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened(root, cache)
    assert list((cache / "prepared").iterdir()) == []  # swept up
    assert not opened(root, cache).summary["from_cache"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_locked_cache_keeps_the_pictures_in_memory(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    reference = opened(root, cache)

    def full(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(storing.FileSink, "add", full)
    lines: list[str] = []
    dataset = open_dataset(root, DataConfig(), cache=cache.parent / "other", notify=lines.append)
    assert dataset.fingerprint == reference.fingerprint and dataset.train.names == reference.train.names
    rows = np.arange(len(reference.train))
    assert torch.equal(dataset.train.columns["image"].take(rows), reference.train.columns["image"].take(rows))
    assert any("MAQUETTE_CACHE" in line for line in lines)


def test_a_cache_that_fills_at_the_very_end_repeats_nothing(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "cat" / "cut.png").write_bytes(png(pictures(60)[59])[:-30])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Cache, "keep", full)
    summary = opened(root, cache).summary
    assert [e["name"] for e in summary["left_out"]] == ["cat/cut.png"] and summary["used"] == 40
    assert len(set(summary["notes"])) == len(summary["notes"])


def test_a_cache_that_is_a_file(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    dataset = opened(root, tmp_path / "file")
    assert any("MAQUETTE_CACHE" in w for w in dataset.summary["warnings"])


def test_the_variable_names_the_cache(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "mine"))
    dataset = open_dataset(root, DataConfig())
    assert list((tmp_path / "mine" / "prepared").glob("*/0.bin")) and dataset.fingerprint


def open_and_tell(root: Path, cache: Path, results: Any) -> None:
    dataset = opened(root, cache)
    results.put((dataset.fingerprint, dataset.summary["from_cache"], len(dataset.train)))


@pytest.mark.skipif(sys.platform != "linux", reason="forks, to spare the import of torch")
def test_several_processes_at_once(root: Path, cache: Path) -> None:
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    processes = [fork.Process(target=open_and_tell, args=(root, cache, results)) for _ in range(3)]
    for process in processes:
        process.start()
    told = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(10)
    assert len({(fingerprint, n) for fingerprint, _, n in told}) == 1
    assert sorted(from_cache for _, from_cache, _ in told) == [False, True, True]
    assert len(list((cache / "prepared").iterdir())) == 1
