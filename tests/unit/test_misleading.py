"""Data that is not what it is called, or not whole: one line says what it is, and what mends it."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import socket
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maquette.core.errors import UserError
from maquette.data.open import open_dataset
from maquette.data.raw import RawTable
from maquette.data.readers import find_source

ROWS = "text,label\n" + "".join(f"this is line {i},{'ab'[i % 2]}\n" for i in range(40))
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
ITEMS = np.random.default_rng(0).integers(0, 255, (20, 8, 8, 3), dtype=np.uint8)
OBJECTS = np.array([{"a": 1}, None] * 10, dtype=object)


def read(path: Path) -> RawTable:
    return find_source(path, Path("nowhere")).load(lambda message: None)


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    assert caught.value.remedy and "\n" not in caught.value.problem, "one line, and a remedy"
    return str(caught.value)


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def png(seed: int) -> bytes:
    made = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8), dtype=np.uint8)).save(made, "PNG")
    return made.getvalue()


# -- arrays ------------------------------------------------------------------------------------------


def test_arrays_of_objects_are_never_loaded_and_said_to_be_what_they_are(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", OBJECTS, allow_pickle=True)
    np.savez(tmp_path / "labels.npz", x=ITEMS, y=OBJECTS)
    np.savez(tmp_path / "all.npz", x=OBJECTS)
    put(tmp_path / "b.npy", pickle.dumps([1, 2]))
    for name, array in (("a.npy", "a"), ("labels.npz", "y"), ("all.npz", "x"), ("b.npy", "b")):
        said = refused(tmp_path / name)
        assert f"Array '{array}' of" in said and "Python objects" in said and "never loaded" in said and name in said
        assert "astype(str)" in said and "damaged" not in said


def test_an_array_of_objects_beside_others_is_left_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=ITEMS, y=np.arange(20) % 3, meta=OBJECTS)
    table = read(tmp_path / "a.npz")
    assert {*table.columns} == {"image", "label"} and any("'meta'" in n and "Python objects" in n for n in table.notes)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.array(["a"] * 20), "20 of strings"), (np.zeros(20, [("a", "i4"), ("b", "f4")]), "20 of records"),
        (ITEMS.astype(np.complex64), "20 x 8 x 8 x 3 of complex64"), (np.float32(3), "one of float32"),
        (np.zeros((20, 8, 8), "M8[s]"), "datetime64"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_items_are_named_by_their_form(tmp_path: Path, array: np.ndarray, says: str) -> None:
    np.save(tmp_path / "a.npy", array)
    assert says in refused(tmp_path / "a.npy")


@pytest.mark.parametrize("form", ["big-endian", "fortran", "bool"])
def test_arrays_of_any_order_of_bytes_are_read(tmp_path: Path, form: str) -> None:
    array = {"big-endian": ITEMS.astype(">u2"), "fortran": np.asfortranarray(ITEMS), "bool": ITEMS > 128}[form]
    np.save(tmp_path / "a.npy", array)
    (column,) = read(tmp_path / "a.npy").columns.values()
    assert np.array_equal(column.take([3])[0], array[3])


def test_arrays_that_end_early(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ITEMS)
    whole = (tmp_path / "a.npy").read_bytes()
    for size in (4, 40, 1000):
        assert "is damaged" in refused(put(tmp_path / "cut.npy", whole[:size]))


# -- tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "line"),
    [("this is line 7,", 9), ("this is line 0,", 2), ("text,", 1), ("this is line 39,", 41)],
)
def test_a_quotation_mark_that_is_never_closed_is_named_by_its_line(tmp_path: Path, cell: str, line: int) -> None:
    said = refused(put(tmp_path / "a.csv", ROWS.replace(cell, f'"{cell}', 1)))
    assert f"the quotation mark in line {line} is never closed" in said


def test_marks_that_close_in_the_middle_of_a_cell(tmp_path: Path) -> None:
    table = read(put(tmp_path / "a.csv", ROWS.replace("this is line 7,", '"this is" line 7,')))
    assert len(table) == 40 and any("line 9 of 'a.csv' goes on after its closing quotation" in n for n in table.notes)
    swallowed = ROWS.replace("this is line 7,", '"this is line 7,').replace("line 20", 'line "20')
    table = read(put(tmp_path / "b.csv", ROWS.replace("line 20", 'line "20')))
    assert len(table) == 40 and not table.left_out, "within a cell a mark is a mark"
    table = read(put(tmp_path / "c.csv", swallowed.replace('line "20', '"line 20')))
    assert ("c.csv:9", "its quotation mark is not closed before line 22") in table.left_out


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "text,label\n", "There are no rows below the header in 'a.csv'"),
        ("a.jsonl", "[]", "There are no rows in"),
        ("a.jsonl", '{"text": "\\ud800"}\n' * 3, "a.jsonl:1: half of a surrogate pair"),
        ("a.csv", png(0), "no characters at all"),
        ("a.csv", "<!DOCTYPE html><html><body>404</body></html>", "is a web page"),
        ("a.npz", "<html></html>", "is a web page"),
        ("a.zip", "<html></html>", "is a web page"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0" + bytes(100), "a document of an old Office"),
        ("a.csv.gz", gzip.compress(ROWS.encode(), mtime=0)[:100], "damaged gzip file"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, name: str, content: str | bytes, says: str) -> None:
    assert says in refused(put(tmp_path / name, content))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.xlsx"])
def test_tables_in_another_form_than_their_name_says_are_read(tmp_path: Path, name: str) -> None:
    rows = [{"text": f"line {i}, x", "label": "ab"[i % 2]} for i in range(40)]
    written = {"array": json.dumps(rows, indent=1), "lines": "\n".join(map(json.dumps, rows))}
    for content in written.values():
        assert {*(table := read(put(tmp_path / name, content))).columns} == {"text", "label"} and len(table) == 40
    if name == "a.xlsx":
        assert len(read(put(tmp_path / name, ROWS))) == 40


# -- files that are none -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a.txt", "a.csv", "a.jsonl", "a.json", "a.xlsx", "a.npy", "a.npz", "a.zip", "a.tar", "a.tar.gz", "a.png",
             "a.csv.gz", "a.parquet", "a", "a.idx"],
)  # fmt: skip
def test_an_empty_file_and_a_pointer_of_any_name(tmp_path: Path, name: str) -> None:
    assert "is empty" in refused(put(tmp_path / name, b""))
    said = refused(put(tmp_path / name, LFS))
    assert "a pointer of Git LFS to a file that was not fetched" in said and "git lfs pull" in said
    assert "git annex get" in refused(put(tmp_path / name, "../.git/annex/objects/XY/SHA256-s1"))


def test_pointers_among_files_are_left_out_by_name(tmp_path: Path) -> None:
    for i in range(12):
        put(tmp_path / "data" / f"{i}.png", LFS if i % 4 == 0 else png(i))
    facts = open_dataset(tmp_path / "data", cache=tmp_path / "cache").summary
    assert {(entry["name"], entry["reason"]) for entry in facts["left_out"]} == {
        (f"{i}.png", "a pointer of Git LFS to a file that was not fetched") for i in (0, 4, 8)
    }


def test_an_archive_that_is_cut_off(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for i in range(8):
            content = png(i)
            member = tarfile.TarInfo(f"{i}.png")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    whole = (tmp_path / "a.tar").read_bytes()
    assert len(find_source(tmp_path / "a.tar", tmp_path).place.tree.names) == 8
    for size in (3 * 1024 + 100, 3 * 1024 + 600):
        assert "is not a readable archive" in refused(put(tmp_path / "cut.tar", whole[:size]))


def test_what_waits_or_leads_nowhere_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data"
    for i in range(8):
        put(folder / f"{i}.png", png(i))
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "again").symlink_to(".")
    (folder / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    os.mkfifo(folder / "pipe.csv")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s.png")  # its path may have a hundred bytes, and that of the folder can be longer
        facts = open_dataset(folder, cache=tmp_path / "cache").summary
    assert facts["used"] == 8 and {entry["name"] for entry in facts["left_out"]} == {"gone.png", "loop.png"}
    for name in ("pipe.csv", "zero.png"):
        assert "is neither a file nor a folder" in refused(folder / name)
    for name in ("gone.png", "loop.png"):
        assert "is a link that leads nowhere" in refused(folder / name)


def test_a_folder_without_rights_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(8):
        put(tmp_path / "data" / f"{i}.png", png(i))
    (tmp_path / "data" / "closed").mkdir()
    scandir = os.scandir

    def closed(path: str) -> object:
        if path.rstrip("/").endswith(("closed", "shut")):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert read(tmp_path / "data").facts["passed_over"] == ["1 that cannot be read ('closed')"]
    (tmp_path / "shut").mkdir()
    assert "cannot be read: Permission denied" in refused(tmp_path / "shut")


def test_a_file_that_goes_while_it_is_read_is_left_out_by_name(tmp_path: Path) -> None:
    for i in range(8):
        put(tmp_path / "data" / f"{i}.png", png(i))
    source = find_source(tmp_path / "data", tmp_path)
    assert len(source.place.tree.names) == 8
    (tmp_path / "data" / "3.png").unlink()
    cells = source.load(lambda message: None).columns["image"]
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        cells.take([3])[0].read()


def test_a_folder_of_what_is_data_by_itself_names_the_file(tmp_path: Path) -> None:
    np.save(put(tmp_path / "data/part/a.npy", b""), ITEMS)
    with pytest.raises(UserError) as caught:
        read(tmp_path / "data")
    assert caught.value.remedy == f"Name the file itself: {tmp_path / 'data/part/a.npy'}"
    put(tmp_path / "other/notes.xyz", b"\0\xff\1" * 99)
    assert "it holds 1 file (1 .xyz)" in refused(tmp_path / "other")
