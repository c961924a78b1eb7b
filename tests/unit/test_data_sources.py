"""Every form of data that is accepted opens to the same kind of table, and says clearly when it does not."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flat_config import flat_config
from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.table import Dataset
from maquette.data import open_dataset

RNG = np.random.default_rng(0)


def pictures(n: int, side: int = 16, channels: int = 1) -> np.ndarray:
    """n different smooth pictures u8[n, side, side(, 3)]."""
    shape = (5, 5) if channels == 1 else (5, 5, 3)
    coarse = np.random.default_rng(1).integers(0, 256, (n, *shape), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((side, side))) for c in coarse])


def png(picture: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, format="PNG")
    return data.getvalue()


def tree(n: int = 40, classes: tuple[str, ...] = ("cat", "dog"), prefix: str = "") -> dict[str, bytes]:
    """Encoded pictures by name, in class folders."""
    return {f"{prefix}{classes[i % len(classes)]}/{i:03d}.png": png(p) for i, p in enumerate(pictures(n))}


def put(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def opened(source: Path | str, cache: Path, **config: object) -> Dataset:
    return open_dataset(source, flat_config(**config), cache=cache)  # type: ignore[arg-type]


def all_rows(dataset: Dataset, column: str = "image") -> torch.Tensor:
    tables = (dataset.train, dataset.test)
    return torch.cat([t.columns[column].take(np.arange(len(t))) for t in tables])


def test_folder_archives_and_their_names(tmp_path: Path, cache: Path) -> None:
    files = tree()
    folder = put(tmp_path / "pets", files)
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as z:
        for name, data in {**files, "__MACOSX/cat/._000.png": b"x", "wrap/": b""}.items():
            z.writestr(name, data)
    for suffix, mode in ((".tar", "w"), (".tar.gz", "w:gz")):
        with tarfile.open(tmp_path / f"pets{suffix}", mode) as t:
            for name in sorted(files, reverse=True):  # the order in the file is not that of the names
                info = tarfile.TarInfo(f"./pets/{name}")
                info.size = len(files[name])
                t.addfile(info, io.BytesIO(files[name]))
    reference = opened(folder, cache)
    assert reference.train.columns["label"].spec.classes == ("cat", "dog")
    assert len(reference.train) + len(reference.test) == 40 and len(reference.test) >= 1
    batch = reference.train.batch([0, 1], reference.spec(["image"], ["label"]))
    assert batch.only().shape == (2, 1, 16, 16) and batch.given["label"].dtype == torch.int64
    for other in ("pets.zip", "pets.tar", "pets.tar.gz"):
        dataset = opened(tmp_path / other, cache)
        assert {n[-11:] for n in dataset.test.names} == {n[-11:] for n in reference.test.names}, other
        for names, table in ((t.names, t) for t in (dataset.train, dataset.test)):
            for i in (0, len(names) - 1):
                want = torch.from_numpy(pictures(40)[int(names[i][-7:-4])] / 127.5 - 1).float()
                assert torch.allclose(table.columns["image"].take(np.array([i]))[0, 0], want, atol=1e-6)
                label = int(table.columns["label"].take(np.array([i])))
                assert dataset.spec(["image"], ["label"]).columns["label"].classes[label] in names[i]


def test_split_folders_metadata_and_further_columns(tmp_path: Path, cache: Path) -> None:
    data = [png(p) for p in pictures(40)]
    files = {f"train/{i:02d}.png": data[i] for i in range(30)} | {f"test/{i}.png": data[i] for i in range(30, 40)}
    rows = [{"file_name": f"{i:02d}.png", "mood": ["glad", "sad"][i % 2], "age": i % 3, "note": f"no. {i}",
             "weight": i / 7} for i in range(30)]  # fmt: skip
    files["train/metadata.jsonl"] = "\n".join(map(json.dumps, rows)).encode()
    files["test/metadata.csv"] = b"file_name,mood,age\n" + b"".join(b"%d.png,glad,1\n" % i for i in range(30, 39))
    put(tmp_path / "set", files)
    whole = opened(tmp_path / "set", cache)
    kinds = {name: column.spec.kind for name, column in whole.train.columns.items()}
    assert kinds == {"image": "image", "mood": "label", "age": "label", "note": "text", "weight": "number"}
    dataset = open_dataset(tmp_path / "set", target=("image",), cache=cache)
    assert (len(dataset.train), len(dataset.test)) == (30, 10)
    assert set(dataset.train.columns) == {"image", "mood", "age"}
    mood = dataset.train.columns["mood"].spec
    assert mood.classes == ("glad", "sad", "(missing)") and mood.shares == (0.5, 0.5, 0.0)
    assert dataset.train.columns["age"].spec.classes == ("0", "1", "2", "(missing)")
    assert any("'note'" in note for note in dataset.summary["notes"])
    assert dataset.summary["own_split"] is True


def test_validation_is_held_out_only_when_there_is_no_test(tmp_path: Path, cache: Path) -> None:
    data = list(tree().items())
    files = {f"train/{name}": d for name, d in data[:30]} | {f"validation/{name}": d for name, d in data[30:]}
    dataset = opened(put(tmp_path / "a", files), cache)
    assert len(dataset.test) == 10 and dataset.train.columns["label"].spec.classes == ("cat", "dog")
    files |= {f"test/{name}": d for name, d in data[:0]}
    files["test/cat/x.png"] = png(pictures(50)[49])
    dataset = opened(put(tmp_path / "b", files), cache)
    assert (len(dataset.train), len(dataset.test), len(dataset.splits["validation"])) == (30, 1, 10)


def test_numbered_classes_sort_as_numbers(tmp_path: Path, cache: Path) -> None:
    files = tree(60, classes=tuple(str(i) for i in range(12)))
    dataset = opened(put(tmp_path / "n", files), cache)
    assert dataset.train.columns["label"].spec.classes == tuple(str(i) for i in range(12))


def test_stray_pictures_and_one_class(tmp_path: Path, cache: Path) -> None:
    files = {**tree(), "stray.png": png(pictures(41)[40])}
    dataset = opened(put(tmp_path / "a", files), cache)
    assert dataset.summary["left_out"] == [{"name": "stray.png", "reason": "outside the class folders"}]
    flat = {name.replace("/", "-"): data for name, data in tree().items()}
    assert set(opened(put(tmp_path / "b", flat), cache).train.columns) == {"image"}
    one = opened(put(tmp_path / "c", tree(classes=("cat",))), cache)
    assert one.train.columns["label"].spec.classes == ("cat",)
    assert any("one class only" in w for w in one.summary["warnings"])


def test_folder_of_archives(tmp_path: Path, cache: Path) -> None:
    files = list(tree().items())
    (tmp_path / "set").mkdir()
    for split, part in (("train", files[:30]), ("test", files[30:])):
        with zipfile.ZipFile(tmp_path / "set" / f"{split}.zip", "w") as z:
            for name, data in part:
                z.writestr(name, data)
    dataset = opened(tmp_path / "set", cache)
    assert (len(dataset.train), len(dataset.test)) == (30, 10)
    assert dataset.train.names[0].startswith("train/cat/")


def test_archive_bombs_and_damage_are_refused(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "1MB")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("a.png", bytes(2 * 10**6))
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("a.png")
        info.size = 2 * 10**6
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    for name in ("bomb.zip", "bomb.tar.gz"):
        with pytest.raises(UserError, match="more than 1MB once decoded"):
            opened(tmp_path / name, cache)
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04" + b"x" * 100)
    (tmp_path / "bad.tar.gz").write_bytes(gzip.compress(b"x" * 2000)[:-9])
    for name in ("bad.zip", "bad.tar.gz"):
        with pytest.raises(UserError, match="not a readable archive"):
            opened(tmp_path / name, cache)


def test_damaged_member_of_a_zip_is_left_out(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.zip"
    files = tree()
    with zipfile.ZipFile(path, "w") as z:
        for name, data in files.items():
            z.writestr(name, data)
    raw = bytearray(path.read_bytes())
    raw[raw.find(files["cat/000.png"]) + 60] ^= 255
    path.write_bytes(raw)
    dataset = opened(path, cache)
    (entry,) = dataset.summary["left_out"]
    assert entry["name"] == "cat/000.png" and "damaged inside the archive" in entry["reason"]


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.mark.parametrize("packed", [True, False])
def test_idx_folder_and_file(tmp_path: Path, cache: Path, packed: bool) -> None:
    x, y = pictures(50), (np.arange(50) % 5).astype(np.uint8)
    parts = {"train-images-idx3-ubyte": x[:40], "train-labels-idx1-ubyte": y[:40],
             "t10k-images-idx3-ubyte": x[40:], "t10k-labels-idx1-ubyte": y[40:]}  # fmt: skip
    for name, array in parts.items():
        data = idx_bytes(array)
        (tmp_path / f"{name}{'.gz' if packed else ''}").write_bytes(gzip.compress(data) if packed else data)
    dataset = opened(tmp_path, cache)
    assert (len(dataset.train), len(dataset.test)) == (40, 10)
    assert torch.equal(dataset.train.columns["label"].take(np.arange(40)), torch.from_numpy(y[:40].astype(np.int64)))
    one = opened(next(tmp_path.glob("train-images*")), cache)
    assert len(one.train) + len(one.test) == 40 and "label" in one.train.columns


@pytest.mark.parametrize("damage", ["short", "long", "claims"])
def test_damaged_idx(tmp_path: Path, cache: Path, damage: str) -> None:
    data = idx_bytes(pictures(40))
    data = {"short": data[:-5], "long": data + b"x", "claims": data[:4] + b"\xff" * 8 + data[12:]}[damage]
    (tmp_path / "x-images-idx3-ubyte").write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        opened(tmp_path / "x-images-idx3-ubyte", cache)


@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW", "flat", "float01", "float11", "bits", "u16"])
def test_arrays_of_every_layout_and_scale(tmp_path: Path, cache: Path, layout: str) -> None:
    x = pictures(40, channels=3 if layout in ("NHWC", "NCHW") else 1)
    x[0, :2, :2] = 0
    x[0, 3:5, 3:5] = 255
    want = x if x.ndim == 3 else x.transpose(0, 3, 1, 2)
    saved = {
        "NHW": x, "NHWC": x, "NCHW": want, "flat": x.reshape(40, -1), "float01": (x / 255).astype(np.float32),
        "float11": x / 127.5 - 1, "bits": x > 127, "u16": x.astype(np.uint16) * 257,
    }[layout]  # fmt: skip
    want = np.where(x > 127, 255, 0) if layout == "bits" else want
    np.savez(tmp_path / "set.npz", images=saved, labels=np.arange(40) % 2, extra=np.zeros(3))
    dataset = opened(tmp_path / "set.npz", cache)
    order = [int(name) for name in (*dataset.train.names, *dataset.test.names)]
    got = (all_rows(dataset) + 1) * 127.5
    assert np.abs(got.numpy() - want.reshape(got.shape)[order]).max() < 0.51
    assert dataset.train.columns["label"].spec.classes == ("0", "1")
    assert any("'extra'" in note for note in dataset.summary["notes"])


def test_arrays_with_splits_and_npy(tmp_path: Path, cache: Path) -> None:
    x, y = pictures(50), np.array(["a", "b"] * 25)
    np.savez(tmp_path / "k.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    dataset = opened(tmp_path / "k.npz", cache)
    assert (len(dataset.train), len(dataset.test)) == (40, 10)
    assert dataset.train.columns["label"].spec.classes == ("a", "b")
    np.save(tmp_path / "plain.npy", x)
    assert set(opened(tmp_path / "plain.npy", cache).train.columns) == {"image"}
    (tmp_path / "dir").mkdir()
    np.save(tmp_path / "dir" / "images.npy", x)
    np.save(tmp_path / "dir" / "labels.npy", np.arange(50) % 2)
    assert set(opened(tmp_path / "dir", cache, size=(32, 24)).train.columns) == {"image", "label"}


def test_array_with_not_a_number_is_left_out(tmp_path: Path, cache: Path) -> None:
    x = pictures(40) / 255
    x[7, 0, 0] = np.nan
    np.save(tmp_path / "x.npy", x)
    dataset = opened(tmp_path / "x.npy", cache)
    assert dataset.summary["left_out"] == [{"name": "000007", "reason": "some of its pixels are not numbers"}]
    assert len(dataset.train) + len(dataset.test) == 39


class Poison:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("/tmp/maquette-was-executed",)


def test_pickles_are_refused_and_not_run(tmp_path: Path, cache: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([Poison()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", images=np.array([Poison()], dtype=object))
    (tmp_path / "y.npy").write_bytes(pickle.dumps(Poison()))
    for name in ("x.npy", "x.npz", "y.npy"):
        with pytest.raises(UserError, match=r"refused|damaged"):
            opened(tmp_path / name, cache)
    assert not Path("/tmp/maquette-was-executed").exists()


@pytest.mark.parametrize("fault", ["lengths", "shape", "object", "cut", "none", "tiny"])
def test_arrays_that_are_no_pictures(tmp_path: Path, cache: Path, fault: str) -> None:
    path = tmp_path / "x.npz"
    x = pictures(40)
    arrays = {
        "lengths": {"x": x, "y": np.arange(39)}, "shape": {"x": x[..., None, None]}, "object": {"x": x.astype("U3")},
        "cut": {"x": x}, "none": {"a": x, "b": x}, "tiny": {"x": x[:, :4, :4]},
    }[fault]  # fmt: skip
    np.savez(path, **arrays)  # type: ignore[arg-type]
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError) as caught:
        opened(path, cache)
    assert caught.value.remedy


def test_datasets_on_disk(tmp_path: Path, cache: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({
        "picture": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"]),
        "note": datasets.Value("string"),
    })  # fmt: skip
    rows = [{"picture": {"bytes": png(p), "path": None}, "label": i % 2, "note": str(RNG.random())}
            for i, p in enumerate(pictures(40))]  # fmt: skip
    rows[3]["picture"] = {"bytes": b"broken", "path": None}
    parts = {"train": rows[:30], "test": rows[30:]}
    made = datasets.DatasetDict({k: datasets.Dataset.from_list(v, features=features) for k, v in parts.items()})
    made.save_to_disk(tmp_path / "set")
    dataset = opened(tmp_path / "set", cache)
    assert (len(dataset.train), len(dataset.test)) == (29, 10)
    assert dataset.train.columns["label"].spec.classes == ("cat", "dog")
    assert dataset.summary["left_out"][0]["name"] == "train/000003"
    (tmp_path / "set" / "train" / "state.json").write_text("{")
    with pytest.raises(UserError, match="not a whole"):
        opened(tmp_path / "set", cache)


def test_rows_of_others_name_no_files_of_ones_own(cache: Path, tmp_path: Path) -> None:
    """A .parquet from somebody else may name any file of the reader's."""
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    *shown, hidden = map(png, pictures(9))
    put(tmp_path, {"own.png": hidden, "set/beside.png": hidden})
    names = [str(tmp_path / "own.png"), "../own.png", "http://localhost/own.png", "\0", ""]
    rows = [{"bytes": data, "path": "a.png"} for data in shown] + [{"bytes": None, "path": name} for name in names]
    parquet.write_table(pa.table({"image": rows}), tmp_path / "set" / "a.parquet")
    for source in ("set", "set/a.parquet"):
        dataset = opened(tmp_path / source, cache)
        assert len(dataset.train) + len(dataset.test) == len(shown)
        assert len(dataset.summary["left_out"]) == len(names)


def test_hub_without_the_extra_or_the_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def unreachable(name: str) -> None:
        raise ConnectionError(f"no route to {name}")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(UserError, match="could not be fetched"):
        opened("hf:someone/pets", cache)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError) as caught:
        opened("hf:someone/pets", cache)
    assert "maquette[hub]" in caught.value.remedy


def test_what_is_not_there_or_not_data(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path / "texts", {"a.txt": b"hello", "b.md": b"# x"})
    (tmp_path / "a.docx").write_bytes(b"PK something")
    cases = {
        "minst": "mnist", str(tmp_path / "nowhere"): "folder of sounds", str(tmp_path / "empty"): ".png",
        str(tmp_path / "texts"): "too little text", str(tmp_path / "a.docx"): "folder of sounds", "a\0b": "folder",
    }  # fmt: skip
    for source, hint in cases.items():
        with pytest.raises(UserError) as caught:
            opened(source, cache)
        assert hint in str(caught.value), source
