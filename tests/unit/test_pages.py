"""Files that hold several pictures, and DICOM: pages as items, all those of a file on one side."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flat_config import flat_config
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.core.table import Dataset
from maquette.data import open_dataset
from maquette.modalities import image

pydicom = pytest.importorskip("pydicom")


def pages(n: int, seed: int, side: int = 12, deep: bool = False) -> list[Image.Image]:
    draws = np.random.default_rng(seed)
    coarse = draws.integers(0, 256, (n, 5, 5), np.uint8)
    made = [np.asarray(Image.fromarray(page).resize((side, side))) for page in coarse]
    return [Image.fromarray(page.astype(np.uint16) * 16 if deep else page) for page in made]


def stack(n: int, seed: int, kind: str = "TIFF", **more: object) -> bytes:
    data, (first, *rest) = io.BytesIO(), pages(n, seed, **more)  # type: ignore[arg-type]
    options = {"lossless": True} if kind == "WEBP" else {}
    first.save(data, kind, save_all=True, append_images=rest, **options)
    return data.getvalue()


def opened(source: Path, **config: object) -> Dataset:
    return open_dataset(source, flat_config(**config), cache=source.parent / "cache")


def folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def names(dataset: Dataset, side: str) -> set[str]:
    table = getattr(dataset, side)
    return {table.names[i] for i in range(len(table))}


def pixels(dataset: Dataset) -> dict[str, np.ndarray]:
    made = {}
    for table in (dataset.train, dataset.test):
        items = image.quantised(table.columns["image"].take(np.arange(len(table))))
        made |= {table.names[i]: item for i, item in enumerate(items)}
    return made


def test_the_first_page_is_used_and_the_rest_is_counted(tmp_path: Path) -> None:
    files = {f"{i}.tif": stack(5, i) for i in range(10)} | {f"{i}.gif": stack(3, 50 + i, "GIF") for i in range(4)}
    root = folder(tmp_path / "set", files)
    dataset = opened(root)
    assert dataset.summary["used"] == 14
    note = "14 files hold 62 pictures: the first page of each is used, and 48 are not; --pages all uses every one."
    assert dataset.summary["notes"].count(note) == 1
    assert not any("pages" in note for note in opened(root, pages="all").summary["notes"])


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_page_is_an_item(tmp_path: Path, kind: str, packed: bool) -> None:
    files = {f"{'ab'[i % 2]}/{i}.{kind.lower()}": stack(4, i, kind) for i in range(12)}
    files["a/single.tif"] = stack(1, 99)
    root = folder(tmp_path / "set", files)
    if packed:
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        root = tmp_path / "set.zip"
    dataset = opened(root, pages="all")
    assert dataset.summary["used"] == dataset.summary["found"] == 49
    found = pixels(dataset)
    for i in range(12):
        for k, page in enumerate(pages(4, i)):
            item = found[f"{'ab'[i % 2]}/{i}.{kind.lower()}#{k + 1}"]
            assert np.abs(item[0].astype(int) - np.asarray(page)).max() <= 1
    assert "a/single.tif" in found
    file = {name.partition("#")[0] for name in names(dataset, "train")}
    assert file.isdisjoint(name.partition("#")[0] for name in names(dataset, "test"))


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(1, 6), min_size=6, max_size=14), same=st.integers(0, 5))
def test_no_file_is_on_both_sides(tmp_path_factory: pytest.TempPathFactory, counts: list[int], same: int) -> None:
    """Whatever the files hold, and even where some of their pages are the same."""
    shared = pages(6, 1234)[:same]
    root = tmp_path_factory.mktemp("set")
    for i, count in enumerate(counts):
        first, *rest = pages(count, i) + (shared if i % 3 == 0 else [])
        first.save(root / f"{i}.tif", save_all=True, append_images=rest)
    dataset = open_dataset(root, flat_config(pages="all"), cache=root / "cache")
    sides = [{name.partition("#")[0] for name in names(dataset, side)} for side in ("train", "test")]
    assert sides[0].isdisjoint(sides[1]) and len(sides[0] | sides[1]) == len(counts)


def test_of_one_file_the_end_is_held_out(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", {"a.tif": stack(50, 0, deep=True)})
    dataset = opened(root)  # one file is no set, so all of its pages must be meant
    assert names(dataset, "test") == {f"a.tif#{k}" for k in range(46, 51)}
    assert dataset.train.columns["image"].spec.scale == (0, 4095)
    assert any("All pictures come from one file: its last 5 are held out." in n for n in dataset.summary["notes"])
    with pytest.raises(UserError, match="one usable picture"):
        opened(root, pages="first")


def test_pages_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    first, *rest = pages(3, 0)
    small = [first, rest[0].resize((4, 4)), rest[1]]
    root = folder(tmp_path / "set", {f"{i}.tif": stack(3, i) for i in range(1, 8)})
    small[0].save(root / "0.tif", save_all=True, append_images=small[1:])
    dataset = opened(root, pages="all")
    assert dataset.summary["left_out"] == [{"name": "0.tif#2", "reason": "too small: 4x4 px, the least is 8"}]
    assert dataset.summary["used"] == 23 and dataset.summary["found"] == 24


def test_smaller_copies_beside_a_picture_are_no_pages() -> None:
    first, second = pages(2, 0, side=16)
    data = io.BytesIO()
    second.encoderinfo = {"tiffinfo": {254: 1}}
    first.save(data, "TIFF", save_all=True, append_images=[second])
    with Image.open(io.BytesIO(data.getvalue())) as img:
        img.seek(1)
        marked = img.tag_v2.get(254)  # type: ignore[attr-defined]
    assert image.probe(data.getvalue(), "a.tif").pages == (1 if marked == 1 else 2)


def dicom(values: np.ndarray, **tags: object) -> bytes:
    """u16[(pages,) H, W] as DICOM."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.Rows, made.Columns = values.shape[-2:]
    if values.ndim == 3:
        made.NumberOfFrames = len(values)
    made.SamplesPerPixel, made.BitsAllocated, made.BitsStored, made.HighBit = 1, 16, 16, 15
    made.PixelRepresentation, made.PhotometricInterpretation = int(values.dtype.kind == "i"), "MONOCHROME2"
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    made.PixelData = values.tobytes()
    for name, value in tags.items():
        setattr(made, name, value)
    data = io.BytesIO()
    made.save_as(data, enforce_file_format=True)
    return data.getvalue()


def test_dicom_has_its_window_and_its_slope(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    values = draws.integers(0, 3000, (40, 12, 12)).astype(np.uint16)
    ct = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": [40.5, 300], "WindowWidth": [401, 1500]}
    files = {f"{i:02d}": dicom(v, **(ct if i % 8 else {**ct, "WindowWidth": 99})) for i, v in enumerate(values)}
    dataset = opened(folder(tmp_path / "set", files))  # hospitals give them no suffix
    spec = dataset.train.columns["image"].spec
    assert spec.shape == (1, 12, 12) and spec.scale == (-160, 240)
    want = np.rint((values.astype(float) - 1024 + 160) * 255 / 400).clip(0, 255)
    found = pixels(dataset)
    assert all(np.abs(found[f"{i:02d}"][0] - want[i]).max() <= 1 for i in range(40))
    inverted = image.read(dicom(values[0], PhotometricInterpretation="MONOCHROME1", **ct), spec)
    assert np.array_equal(inverted, 255 - found["00"])


def test_frames_of_dicom_are_pages(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    sets = [draws.integers(-900, 3000, (6, 12, 12)).astype(np.int16) for _ in range(8)]
    root = folder(tmp_path / "set", {f"{i}.dcm": dicom(values) for i, values in enumerate(sets)})
    assert opened(root).summary["used"] == 8
    dataset = opened(root, pages="all")
    assert dataset.summary["used"] == 48
    black, white = dataset.train.columns["image"].spec.scale
    want = np.rint((sets[3][5].astype(float) - black) * 255 / (white - black)).clip(0, 255)
    assert np.abs(pixels(dataset)["3.dcm#6"][0] - want).max() <= 0.5


def test_dicom_that_cannot_be_read_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    good = dicom(np.zeros((9, 9), np.uint16))
    bomb = dicom(np.zeros((9, 9), np.uint16), Rows=60000, Columns=60000)
    meta = dicom(np.zeros((9, 9), np.uint16)).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    for data, reason in ((bomb, "1 GiB once decoded"), (meta, "deflated"), (good[:-20], "truncated|damaged|less than")):
        with pytest.raises(Unreadable, match=reason):
            image.probe(data, "a.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(Unreadable, match=r"needs pydicom \(pip install 'maquette\[dicom\]'\)"):
        image.probe(good, "a.dcm")
