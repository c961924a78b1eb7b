"""One limit of bytes for all that is decoded: a small file cannot fill the memory, whatever its form."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.data import open_dataset
from maquette.data.separated import CELL
from maquette.modalities import image
from maquette.modalities.image.config import Spec

LIMIT = 10**6


@pytest.fixture(autouse=True)
def limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "1MB")
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("said", "size"),
    [("500MB", 5 * 10**8), ("4GiB", 2**32), ("4 gib", 2**32), ("1.5G", 15 * 10**8), ("123", 123), ("", 2**30)],
)
def test_the_limit_can_be_set(monkeypatch: pytest.MonkeyPatch, said: str, size: int) -> None:
    monkeypatch.setenv(limits.VARIABLE, said)
    assert limits.limit() == size


@pytest.mark.parametrize("said", ["much", "-1GB", "0", "1e9", "4GiBs", "NaN", "9" * 400])
def test_what_is_no_size_is_the_user_s_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv(limits.VARIABLE, said)
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    for tried in (limits.limit, lambda: image.probe((tmp_path / "a.png").read_bytes(), "a.png")):
        with pytest.raises(UserError, match=limits.VARIABLE):
            tried()


def test_what_is_read_a_few_at_a_time_may_be_a_multiple_of_its_file() -> None:
    limits.check(20 * LIMIT, of=LIMIT)
    for size, of in ((LIMIT + 1, 0), (20 * LIMIT + 1, LIMIT)):
        with pytest.raises(limits.TooMuch, match="more than 1MB once decoded; raise MAQUETTE_DECODE_LIMIT"):
            limits.check(size, of=of)


def test_the_reason_goes_from_one_process_to_another() -> None:
    assert str(pickle.loads(pickle.dumps(limits.TooMuch()))) == str(limits.TooMuch())


# -- pictures ----------------------------------------------------------------------------------------


def saved(kind: str, *pictures: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    pictures[0].save(file, kind, save_all=len(pictures) > 1, append_images=pictures[1:], **options)  # type: ignore[arg-type]
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def frames(side: int, count: int) -> list[Image.Image]:
    made = [Image.new("P", (side, side), 0) for _ in range(count)]
    for i, picture in enumerate(made):
        picture.putpalette(bytes(range(256)) * 3)
        picture.putpixel((i, i), i + 1)
    return made


def tiled() -> bytes:
    """A TIFF of 16 x 16 pixels in a tile of 4096 x 4096."""
    body = zlib.compress(bytes(4096 * 4096))
    tags = [(256, 16), (257, 16), (258, 8), (259, 8), (262, 1), (277, 1), (322, 4096), (323, 4096), (324, 8),
            (325, len(body))]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (
        struct.pack("<2sHI", b"II", 42, 8 + len(body)) + body + struct.pack("<H", len(tags)) + entries + bytes(4)
    )  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda: saved("PNG", Image.new("RGB", (400, 400))),
        lambda: saved("JPEG", Image.new("L", (400, 400))),
        lambda: saved("WEBP", Image.new("RGB", (400, 400))),
        lambda: saved("BMP", Image.new("L", (400, 400))),
        lambda: saved("PNG", Image.new("RGBA", (300, 300))),
        lambda: saved("PNG", Image.new("I;16", (300, 300))),
        lambda: saved("GIF", *frames(300, 12)),
        lambda: saved("PNG", *frames(300, 12)),
        lambda: saved("WEBP", *[frame.convert("RGB") for frame in frames(300, 12)]),
        lambda: saved("TIFF", *frames(300, 12), compression="tiff_lzw"),
        lambda: saved("TIFF", Image.new("L", (9, 9)), Image.new("L", (1200, 900)), compression="tiff_lzw"),
        tiled,
    ],
    ids=["png", "jpeg", "webp", "bmp", "alpha", "deep", "gif", "apng", "moving webp", "tiff", "second page", "tile"],
)
def test_pictures_beyond_it_are_left_out_before_they_are_decoded(make: Callable[[], bytes]) -> None:
    with pytest.raises(Unreadable, match="more than 1MB once decoded"):
        image.probe(make(), "a")


def test_a_page_is_measured_by_itself() -> None:
    data = saved("TIFF", Image.new("L", (9, 9)), Image.new("L", (400, 400)), compression="tiff_lzw")
    assert image.probe(data, "a.tif").pages == 2
    with pytest.raises(Unreadable, match="1MB once decoded"):
        image.read(data, Spec(shape=(1, 8, 8)), 1)


def test_words_in_a_png_are_not_unpacked_without_end() -> None:
    data = saved("PNG", Image.new("L", (9, 9)))
    words = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**27)))
    with pytest.raises(Unreadable, match="damaged"):
        image.probe(data[:33] + words + data[33:], "a")  # behind its header, of 33 bytes


def test_postscript_is_no_picture_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would hand it to Ghostscript."""
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("Ghostscript was started"))
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n(x) print\n%%EOF\n"
    for tried in (lambda: image.probe(data, "a.png"), lambda: image.read(data, Spec(shape=(1, 8, 8)))):
        with pytest.raises(Unreadable, match="not a picture: it is PostScript"):
            tried()
    path = tmp_path / "training.gif"
    path.write_bytes(data)
    from maquette.modalities.image.report import animate, moving, previewed

    with pytest.raises(Unreadable, match="PostScript"):
        previewed(path, Spec(shape=(1, 8, 8)), "")
    with pytest.raises(Unreadable, match="PostScript"):
        moving(tmp_path, "training")
    assert animate([path], tmp_path / "made", None) is None  # type: ignore[arg-type]


# -- data --------------------------------------------------------------------------------------------


def npy(shape: tuple[int, ...], body: bytes = b"", kind: str = "|u1") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue() + body


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def headed(kind: bytes, size: int, count: int = 1, body: bytes = b"") -> bytes:
    made = io.BytesIO()
    for i in range(count):
        member = tarfile.TarInfo(f"{i}.png")
        member.type, member.size = kind, size
        made.write(member.tobuf() + body)
    return gzip.compress(made.getvalue() + bytes(1024), mtime=0)


IDX = b"\0\0\x08\x03" + struct.pack(">III", 2000, 32, 32)
MANY = b"ab\n" * 10**5


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.npz", zipped({"x.npy": npy((2000, 32, 32), bytes(2000 * 32 * 32))})),
        ("a-idx3-ubyte.gz", gzip.compress(IDX + bytes(2000 * 32 * 32), mtime=0)),
        ("a.txt.gz", gzip.compress(b"a" * 2 * LIMIT, mtime=0)),
        ("wide.txt.gz", gzip.compress(b"a" * (LIMIT // 2) + "😀".encode(), mtime=0)),
        ("a.csv.gz", gzip.compress(MANY, mtime=0)),
        ("a.jsonl.gz", gzip.compress(b"{}\n" * 10**5, mtime=0)),
        ("a.json.gz", gzip.compress(b"[" + b"[]," * 10**5 + b"[]]", mtime=0)),
        ("a.zip", zipped({f"{i}.png": bytes(LIMIT // 2) for i in range(4)})),
        ("a.tar.gz", headed(tarfile.REGTYPE, 0, 5000)),
    ],
)
def test_small_files_that_hold_too_much_are_refused(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match="is more than 1MB once decoded") as error:
        open_dataset(tmp_path / name)
    assert limits.VARIABLE in error.value.remedy


def test_workbooks_and_parquet_that_hold_too_much_are_refused(tmp_path: Path) -> None:
    openpyxl, parquet = pytest.importorskip("openpyxl"), pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    book = openpyxl.Workbook()
    for _ in range(5000):
        book.active.append(["ab", "ab"])
    book.save(tmp_path / "a.xlsx")
    again = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["x" * 50_000]))
    parquet.write_table(pa.table({"text": again}), tmp_path / "again.parquet", compression="zstd")
    parquet.write_table(pa.table({"text": pa.array([True] * 10**5)}), tmp_path / "rows.parquet", compression="zstd")
    for name in ("a.xlsx", "again.parquet", "rows.parquet"):
        with pytest.raises(UserError, match="is more than 1MB once decoded"):
            open_dataset(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.npy", npy((10**9, 32, 32), bytes(99)), r"declares 1,024,000,000,000 bytes and has 99"),
        ("a.npy", npy((10**12, 0, 32)), "1,000,000,000,000 items have no bytes"),
        ("a.npy", npy((10**12,), kind="<U0"), "items have no bytes"),
        ("a.npz", zipped({"x.npy": npy((10**9, 32, 32), bytes(99))}), "declares"),
        ("a.npy", npy((3,), bytes(24), kind="|O"), "holds Python objects"),
        ("a.npz", zipped({"x.npy": npy((3,), bytes(24), kind="|O")}), "Python objects"),
        ("a.npy", pickle.dumps([1, 2]), "Python objects"),
        ("a-idx3-ubyte", b"\0\0\x08\x03" + struct.pack(">III", 2**31, 2**31, 9), "damaged: its header declares"),
        (
            "a-idx3-ubyte.gz",
            gzip.compress(b"\0\0\x08\x03" + struct.pack(">III", 2**31, 9, 9), mtime=0),
            "header declares",
        ),
        ("a-idx3-ubyte", b"\0\0\x08\x03" + struct.pack(">III", 2**31, 0, 9), "damaged: its header declares 0 bytes"),
        ("a.tar.gz", headed(tarfile.XHDTYPE, 2**30, body=bytes(2**22)), "more stands before a member"),
        ("a.tar.gz", headed(tarfile.GNUTYPE_LONGNAME, 2**30, body=bytes(2**22)), "more stands before a member"),
        ("a.tar.gz", headed(tarfile.REGTYPE, -512), "not a readable archive"),
    ],
)
def test_heads_that_lie_are_named(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=reason):
        open_dataset(tmp_path / name)


def test_many_columns_of_one_name_take_no_time(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join([",".join(["a"] * 2_000), *[",".join(["1"] * 2_000)] * 3]))
    (tmp_path / "b.csv").write_text("a" + ",b" * 300_000)
    with pytest.raises(UserError, match="usable"):
        open_dataset(tmp_path / "a.csv")
    with pytest.raises(UserError, match="has 300,001 cells, and a table 262,144 at most"):
        open_dataset(tmp_path / "b.csv")


def test_a_large_table_may_come_to_more_than_the_limit(tmp_path: Path) -> None:
    rows = [{"text": f"{i} words, as they are written in such tables", "label": i % 2} for i in range(3000)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert len(open_dataset(tmp_path / "a.jsonl").train) > 2000


def test_arrays_that_are_written_out_as_columns_count_as_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sets of digits that most people have as .csv: 785 columns, nearly all of them 0."""
    monkeypatch.setenv(limits.VARIABLE, "16MB")
    header = ",".join(["label", *(f"pixel{i}" for i in range(784))])
    rows = [f"{i % 10}," + "0," * 783 + f"{i % 100}" for i in range(400)]
    (tmp_path / "digits.csv").write_text("\n".join([header, *rows]))
    (tmp_path / "digits.csv.gz").write_bytes(gzip.compress((tmp_path / "digits.csv").read_bytes()))
    assert max(limits.limit(), 20 * (tmp_path / "digits.csv").stat().st_size) < 400 * 785 * CELL
    for name in ("digits.csv", "digits.csv.gz"):
        assert open_dataset(tmp_path / name).train.columns["image"].stored(0).shape == (1, 28, 28)


def test_a_text_may_be_of_wide_characters(tmp_path: Path) -> None:
    """One wide character makes all of them wide in memory: of a file that is as large itself, that is no bomb."""
    words = "\n".join(f"{i} goes on \u2014 and on." for i in range(LIMIT // 30))
    (tmp_path / "a.txt").write_text(words, encoding="utf-8")
    assert 2 * len(words) > LIMIT and (tmp_path / "a.txt").stat().st_size < LIMIT
    assert open_dataset(tmp_path / "a.txt")


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(Unreadable, match="no file"):
        limits.contents(tmp_path / "pipe.png")
