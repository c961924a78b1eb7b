"""Whatever a person names is read as one table of cells, and each column finds its modality."""

from __future__ import annotations

import importlib
import io
import json
import struct
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maquette.core.errors import UserError
from maquette.core.recipe import DataConfig
from maquette.core.spec import DataSpec
from maquette.data.raw import Array, Files, RawTable, Values
from maquette.data.readers import find_source, readers
from maquette.data.typing import column_kinds, kind_of_values
from maquette.modalities import text


def put(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return root


def png(number: int) -> bytes:
    data = io.BytesIO()
    values = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(values).save(data, format="PNG")
    return data.getvalue()


def read(source: Path | str, *columns: str) -> RawTable:
    return find_source(source, Path("nowhere")).load(lambda message: None, columns)


def kinds(table: RawTable, **config: Any) -> dict[str, str]:
    return column_kinds(table, DataConfig(**config))


def values(table: RawTable, column: str) -> Sequence[object]:
    cells = table.columns[column]
    assert isinstance(cells, Values)
    return cells.cells


def files(table: RawTable, column: str) -> Sequence[str | None]:
    cells = table.columns[column]
    assert isinstance(cells, Files)
    return cells.names


NUMBERS = range(60)
ROWS = [{"file_name": f"{i:02}.png", "caption": f"a thick {('seven', 'one')[i % 2]} that leans left, number {i}",
         "width": str(i / 7), "mood": ("glad", "sad", "calm")[i % 3]} for i in NUMBERS]  # fmt: skip


def csv(rows: list[dict[str, str]]) -> str:
    return "\n".join([",".join(rows[0]), *(",".join(f'"{cell}"' for cell in row.values()) for row in rows)])


def jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


# -- files and what is known of them -----------------------------------------------------------------


@pytest.mark.parametrize("where", ["folder", "zip"])
def test_a_table_beside_files_gives_captions_numbers_and_labels(tmp_path: Path, where: str) -> None:
    content = {row["file_name"]: png(i) for i, row in enumerate(ROWS)}
    source = put(tmp_path / "set", {**content, "metadata.csv": csv(ROWS[:-1]), "notes.pdf": b"%PDF"})
    if where == "zip":
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for path in source.iterdir():
                archive.write(path, path.name)
        source = tmp_path / "set.zip"
    table = read(source)
    assert kinds(table) == {"image": "image", "caption": "text", "width": "number", "mood": "label"}
    assert list(files(table, "image")) == list(table.names) == sorted(content)
    assert values(table, "caption") == [*(row["caption"] for row in ROWS[:-1]), None], (
        "a file that no row names is kept"
    )
    assert table.ignored == ["notes.pdf"] and table.place(3, "image") == "03.png"
    (cell,) = table.columns["image"].take([5])
    assert cell.read() == content["05.png"]  # type: ignore[union-attr]


def test_several_files_a_row_by_named_columns(tmp_path: Path) -> None:
    """`<anything>_file_name`, as Hugging Face has it; the folder of the table is where names begin."""
    rows = [{"sketch_file_name": f"in/{i}.png", "photo_file_name": f"./out\\{i}.png", "story": f"it was {i}"}
            for i in range(12)]  # fmt: skip
    data = {f"a/{side}/{i}.png": png(i) for i in range(11) for side in ("in", "out")} | {
        "a/metadata.jsonl": jsonl(rows)
    }
    table = read(put(tmp_path / "set", data))
    assert kinds(table) == {"sketch": "image", "photo": "image", "story": "text"}
    assert files(table, "photo")[10] == "a/out/10.png" and table.names[10] == "a/in/10.png" and len(table) == 11
    assert any("2 files that are not there: 'in/11.png'" in note for note in table.notes)


def test_a_table_of_its_own_may_name_files_beside_it(tmp_path: Path) -> None:
    folder = put(tmp_path, {f"drawn/{i}.png": png(i) for i in range(8)} | {"other/x.png": png(99), "notes.txt": "mine"})
    rows = [{"file_name": f"drawn/{i % 8}.png", "caption": f"one of {i}"} for i in range(16)]
    put(
        folder,
        {"pairs.csv": csv(rows), "plain.csv": csv([{"file_name": f"gone{i}.png", "n": str(i)} for i in range(5)])},
    )
    source = find_source(folder / "pairs.csv", tmp_path)
    table, before = source.load(lambda message: None), source.key()
    assert kinds(table) == {"image": "image", "caption": "text"} and len(table) == 16, "a file may have several rows"
    assert not table.ignored and table.files == ["pairs.csv"]
    (folder / "drawn" / "0.png").write_bytes(png(77))
    assert find_source(folder / "pairs.csv", tmp_path).key() != before, "the files belong to it"
    assert list(read(folder / "plain.csv").columns) == ["file_name", "n"], (
        "names of files that are not there are values"
    )


def test_a_table_that_names_no_files(tmp_path: Path) -> None:
    put(tmp_path, {"a.png": png(0), "metadata.csv": "mood\nglad\n"})
    with pytest.raises(UserError, match="has no column 'file_name'"):
        read(tmp_path)


def test_several_files_a_row_by_stem(tmp_path: Path) -> None:
    data: dict[str, str | bytes] = {}
    for i in range(20):
        data[f"{('cat', 'dog')[i % 2]}/{i:03}.png"] = png(i)
        data[f"{('cat', 'dog')[i % 2]}/{i:03}.txt"] = f"a story, {i}"
    del data["dog/007.txt"]
    table = read(put(tmp_path, {**data, "README.md": "about"}))
    assert kinds(table) == {"image": "image", "label": "label", "text": "text"} and len(table) == 20
    row = list(table.names).index("dog/007.png")
    assert files(table, "text")[row] is None and files(table, "text")[0] == "cat/000.txt"
    assert values(table, "label")[row] == "dog" and table.ignored == ["README.md"]


def test_of_two_kinds_in_one_folder_the_bulk_decides(tmp_path: Path) -> None:
    many = {f"{i}.png": png(i) for i in range(12)} | {"a.txt": "one", "b.txt": "two"}
    table = read(put(tmp_path / "a", many))
    assert kinds(table) == {"image": "image"} and table.ignored == ["a.txt", "b.txt"]
    assert table.facts["passed_over"] == ["2 texts, of which there are fewer ('a.txt', 'b.txt')"]
    many = {f"{i}.txt": f"number {i}" for i in range(12)} | {"a.png": png(0)}
    assert list(read(put(tmp_path / "b", many)).columns) == ["text"]
    beside = {f"{i}.png": png(i) for i in range(4)} | {f"{i}.json": "{}" for i in range(4)}
    assert list(read(put(tmp_path / "c", beside)).columns) == ["image"]


def test_what_merely_looks_like_something_is_no_bulk(tmp_path: Path) -> None:
    """Annotations of pictures, as many as these; and pictures whose names say nothing beside one text."""
    voc = {f"Seen/{i}.png": png(i) for i in range(9)} | {f"Annotations/{i}.xml": "<object/>" for i in range(9)}
    assert "image" in (columns := read(put(tmp_path / "a", voc)).columns) and "text" not in columns
    bare = {str(i): png(i) for i in range(5)} | {"a.txt": "one", "b.txt": "two"}
    table = read(put(tmp_path / "b", bare))
    assert kinds(table) == {"image": "image"} and len(table) == 5


@pytest.mark.parametrize("how", ["named", "imported"])
def test_a_users_own_kind_of_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Nothing but the modality says that a file is one, or what a column of values is."""
    put(tmp_path / "lib", {"my_chords/__init__.py": """
from pydantic import BaseModel
from maquette.core.spec import TokenSpec
KIND, NOUN, Spec = "my_chords", ("chord", "chords"), TokenSpec
class Config(BaseModel): pass
""", "my_chords/claims.py": """
def claims(name, head): return name.endswith(".chord")
def claims_values(name, values, role, category): return 5.0 * all(str(v).startswith("(") for v in values)
"""})  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path / "lib")
    if how == "named":
        monkeypatch.setenv("MAQUETTE_MODALITIES", "my_chords")
    else:
        importlib.import_module("my_chords")
    chords = {f"{i}.chord": f"{60 + i} 64 67" for i in range(9)}
    assert kinds(read(put(tmp_path / "a", chords))) == {"my_chords": "my_chords"}
    both = read(put(tmp_path / "b", chords | {f"{i}.png": png(i) for i in range(9)}))
    assert kinds(both) == {"image": "image", "my_chords": "my_chords"}
    table = read(put(tmp_path, {"c.csv": csv([{"x": f"(60 {i})", "y": f"({i} is one"} for i in range(30)])}) / "c.csv")
    assert kinds(table) == {"x": "my_chords", "y": "my_chords"}
    assert kinds(table, kinds={"y": "text"})["y"] == "text"
    for name in ("my_chords", "my_chords.claims"):
        sys.modules.pop(name)


# -- values ------------------------------------------------------------------------------------------


def test_json_and_jsonl_with_values_of_all_sorts(tmp_path: Path) -> None:
    rows = [{"title": f"no. {i}", "year": 1900 + i % 3, "odd": bool(i % 2), "weight": i / 7, "deep": {"a": 1},
             "steps": i, "empty": None} for i in NUMBERS]  # fmt: skip
    put(
        tmp_path,
        {"a.jsonl": jsonl(rows), "a.json": json.dumps({"rows": rows}), "lines.jsonl": '"one"\n"two"\n"three"\n'},
    )
    for name in ("a.jsonl", "a.json"):
        table = read(tmp_path / name)
        assert kinds(table) == {"title": "text", "year": "label", "odd": "label", "weight": "number", "steps": "number"}
        assert values(table, "odd")[:2] == ["false", "true"] and values(table, "year")[0] == "1900"
        assert "deep" not in table.columns and values(table, "empty") == [None] * 60
    assert values(read(tmp_path / "lines.jsonl"), "text") == ["one", "two", "three"]


def test_the_same_rule_of_labels_wherever_values_come_from() -> None:
    def of(name: str, cells: Sequence[object], role: str = "", category: bool = False) -> str | None:
        return kind_of_values(name, cells, role, category)  # type: ignore[arg-type]

    digits = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    captions = [
        f"a {('thin', 'thick')[i % 2]} {digits[i % 10]} leaning {('left', 'right')[i % 2]}" for i in range(6000)
    ]
    assert of("said", captions) == "text", "twenty descriptions, but descriptions"
    assert of("caption", ["red", "blue"] * 500) == "text", "by its name"
    assert of("mood", ["glad", "sad", " sad ", None] * 50) == "label"
    assert of("city", [f"New York City {i % 5}" for i in range(100)]) == "text"
    assert of("city", ["New York City", "Rome"] * 50) == "label"
    assert of("one", ["same"] * 100) == "text" and of("label", ["same"] * 100) == "label"
    assert of("grade", [str(i % 12) for i in range(200)]) == "label"
    assert of("age", [str(i % 90) for i in range(500)]) == "number", "of too many values"
    assert of("weight", ["1.5", "2.5"] * 100) == "number" and of("weight", ["1.5", "2.5"] * 100, "given") == "number"
    assert of("id", [str(i) for i in range(500)]) == "number"
    assert of("mood", ["glad", "sad"] * 50, "target") == "text", "what is made of values is written"
    assert of("label", [f"class {i % 300}" for i in range(900)], category=True) == "label"
    assert of("empty", [None] * 20) is None


def test_what_a_column_is_can_be_told(tmp_path: Path) -> None:
    put(tmp_path, {"a.csv": csv([{"say": f"t{i}", "mood": ("a", "b")[i % 2]} for i in NUMBERS])})
    table = read(tmp_path / "a.csv")
    assert kinds(table) == {"say": "text", "mood": "label"}
    assert kinds(table, kinds={"mood": "text"})["mood"] == "text"
    run = DataSpec(columns={"mood": text.Spec(shape=(8,), vocab=9)}, target=("mood",))
    assert column_kinds(table, DataConfig(), like=run)["mood"] == "text"
    with pytest.raises(UserError, match="'moods', which the data has not") as caught:
        kinds(table, kinds={"moods": "text"})
    assert "mood" in caught.value.remedy
    with pytest.raises(UserError, match="no columns of the kind 'smell'"):
        kinds(table, kinds={"mood": "smell"})


def test_datasets_with_files_and_values_of_all_sorts(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({
        "picture": datasets.Image(), "caption": datasets.Value("string"), "width": datasets.Value("float32"),
        "label": datasets.ClassLabel(names=["no", "yes"]), "ok": datasets.Value("bool"),
        "translation": {"en": datasets.Value("string"), "de": datasets.Value("string")},
        "many": datasets.Sequence(datasets.Value("int32")),
    })  # fmt: skip
    rows = [{"picture": {"bytes": png(i), "path": None}, "caption": f"the one and only number {i}", "width": i / 3,
             "label": i % 2, "ok": bool(i % 2), "translation": {"en": f"hello {i}", "de": f"hallo {i}"}, "many": [i]}
            for i in range(30)]  # fmt: skip
    whole = datasets.Dataset.from_list(rows, features=features)
    parts = datasets.DatasetDict(train=whole.select(range(20)), validation=whole.select(range(20, 30)))
    parts.save_to_disk(str(tmp_path / "set"))
    table = read(tmp_path / "set")
    assert kinds(table) == {"image": "image", "caption": "text", "width": "number", "label": "label", "ok": "label",
                            "en": "text", "de": "text"}  # fmt: skip
    assert set(table.splits) == {"train", "validation"} and table.names[20] == "validation/000000"
    assert values(table, "de")[3] == "hallo 3" and values(table, "ok")[1] == "true" and table.categories == {"label"}
    (cell,) = table.columns["image"].take([21])
    assert cell.read() == png(21)  # type: ignore[union-attr]


# -- arrays ------------------------------------------------------------------------------------------


def test_arrays_beside_the_items_are_columns(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    labels, width = np.arange(40) % 2, np.arange(40) / 3
    np.savez(tmp_path / "set.npz", x_train=x[:30], x_test=x[30:], y_train=labels[:30], y_test=labels[30:],
             width_train=width[:30], width_test=width[30:], mask_train=x[:30], mask_test=x[30:])  # fmt: skip
    table = read(tmp_path / "set.npz")
    assert kinds(table) == {"image": "image", "label": "label", "width": "number", "mask": "image"}
    assert table.splits == ["train"] * 30 + ["test"] * 10 and isinstance(table.columns["mask"], Array)
    np.savez(tmp_path / "measured.npz", photos=x, y=width)
    assert kinds(read(tmp_path / "measured.npz")) == {"image": "image", "y": "number"}, "fractions are no classes"


def test_any_reader_reads_from_an_archive(tmp_path: Path) -> None:
    x, y = np.zeros((20, 8, 8), np.uint8), (np.arange(20) % 5).astype(np.uint8)

    def idx(array: np.ndarray) -> bytes:
        return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()

    with zipfile.ZipFile(tmp_path / "idx.zip", "w") as archive:
        archive.writestr("train-images-idx3-ubyte", idx(x))
        archive.writestr("train-labels-idx1-ubyte", idx(y))
    assert kinds(read(tmp_path / "idx.zip")) == {"image": "image", "label": "label"}
    np.save(tmp_path / "x.npy", x)
    with zipfile.ZipFile(tmp_path / "npy.zip", "w") as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    assert len(read(tmp_path / "npy.zip")) == 20


# -- the package -------------------------------------------------------------------------------------


def test_splits_keep_the_words_of_the_data(tmp_path: Path) -> None:
    data = {f"{split}/{i}.txt": f"{split} {i}" for split in ("training", "validation", "test_2016") for i in range(3)}
    assert read(put(tmp_path / "a", data)).splits == [*["test_2016"] * 3, *["training"] * 3, *["validation"] * 3]
    rows = [{"t": f"n{i}", "split": "train" if i < 8 else "test"} for i in range(12)]
    table = read(put(tmp_path, {"a.csv": csv(rows)}) / "a.csv")
    assert table.splits == ["train"] * 8 + ["test"] * 4 and list(table.columns) == ["t"]


def test_every_reader_says_what_it_reads(tmp_path: Path) -> None:
    for reader in readers():
        assert reader.ACCEPTS and callable(reader.claims) and callable(reader.read), reader.__name__
    with pytest.raises(UserError) as caught:
        find_source(tmp_path / "nowhere", tmp_path)
    for part in ("a folder of pictures or texts", "IDX files", "parallel files", "digits"):
        assert part in caught.value.remedy


def test_a_new_reader_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from maquette.data import readers as package

    put(tmp_path / "more", {"semaphores.py": """
from maquette.data.raw import RawTable, Values
ACCEPTS = "semaphores"
def claims(place): return 0.9 * any(name.endswith(".sem") for name in place.tree.names)
def read(place, columns): return RawTable("semaphores", {"flag": Values(["up", "down"])}, ["a:1", "a:2"], [None, None])
"""})  # fmt: skip
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "more")])
    package.readers.cache_clear()
    try:
        assert list(read(put(tmp_path / "a", {"a.sem": "|/", "b.txt": "beside"})).columns) == ["flag"]
        with pytest.raises(UserError) as caught:
            find_source(tmp_path / "nowhere", tmp_path)
        assert "semaphores" in caught.value.remedy
    finally:
        package.readers.cache_clear()


def test_a_key_changes_with_the_content_and_not_otherwise(tmp_path: Path) -> None:
    folder = put(tmp_path / "a", {"a.txt": "one", "b.txt": "two"})
    before = find_source(folder, tmp_path).key()
    assert find_source(folder, tmp_path).key() == before
    put(folder, {"c.txt": "three"})
    assert find_source(folder, tmp_path).key() != before
