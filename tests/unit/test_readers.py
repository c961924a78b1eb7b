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

from maquette.core.data_config import DataConfig
from maquette.core.errors import UserError
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
    assert table.facts["passed_over"] == ["2 texts, not the bulk ('a.txt', 'b.txt')"]
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
    for part in ("a folder of sounds, pictures", "IDX files", "parallel files", "digits"):
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


# -- JSON of its own shape ---------------------------------------------------------------------------


def numbered(n: int = 40) -> dict[str, str | bytes]:
    return {f"{i // 20:05d}/img{i:03d}.png": png(i) for i in range(n)}


@pytest.mark.parametrize("label", [lambda i: i % 2, lambda i: f"{i % 2}", lambda i: [int(i % 2 == 0), int(i % 2 == 1)]])
def test_stylegan_labels_and_folders_that_mean_nothing(tmp_path: Path, label: Any) -> None:
    data = numbered()
    entries = json.dumps({"labels": [[name, label(i)] for i, name in enumerate(sorted(data))]})
    table = read(put(tmp_path / "a", {**data, "dataset.json": entries}))
    assert values(table, "label") == ["0", "1"] * 20 and table.categories == {"label"}
    assert table.files == ["dataset.json"] and not table.ignored
    assert list(read(put(tmp_path / "b", {**data, "dataset.json": '{"labels": null}'})).columns) == ["image"]


def coco(names: Sequence[str], category: Any = None) -> str:
    files = [{"id": 100 + i, "file_name": name, "width": 8, "license": 1} for i, name in enumerate(names)]
    said = [{"id": 9 * i + k, "image_id": 100 + i, "caption": f"number {i}, said {k}"}
            for i in range(len(names)) for k in range(2)]  # fmt: skip
    if category:
        said = [{"id": i, "image_id": 100 + i, "category_id": category(i), "bbox": [0, 0, 1, 1], "iscrowd": 0}
                for i in range(len(names))]  # fmt: skip
    kinds = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    return json.dumps({"info": {"year": 2017}, "images": files, "annotations": said, "categories": kinds})


def test_annotations_give_sentences_and_classes(tmp_path: Path) -> None:
    data: dict[str, str | bytes] = {f"train2017/{i:03}.png": png(i) for i in range(20)}
    data |= {f"val2017/{i:03}.png": png(i) for i in range(20, 30)}
    names = [name.rpartition("/")[2] for name in sorted(data)]
    written = {"annotations/captions_train.json": coco(names[:20]), "annotations/captions_val.json": coco(names[20:])}
    table = read(put(tmp_path / "a", data | written))
    assert len(table) == 60 and {*table.splits} == {"train2017", "val2017"}
    assert values(table, "caption")[:2] == ["number 0, said 0", "number 0, said 1"] and "label" not in table.columns
    table = read(put(tmp_path / "b", data | {"instances.json": coco(names, lambda i: 1 + i % 2)}))
    assert len(table) == 30 and values(table, "label")[:2] == ["cat", "dog"]


def test_json_that_describes_no_files_changes_nothing(tmp_path: Path) -> None:
    data: dict[str, str | bytes] = {f"{kind}/{i}.png": png(i) for kind in ("cat", "dog") for i in range(9)}
    for k, content in enumerate([{"labels": {"0": "cat"}}, {"labels": [["gone.png", 1]]}, {"user_id": 3, "rows": []},
                                 {"labels": [[1, 2, 3]]}]):  # fmt: skip
        table = read(put(tmp_path / str(k), {**data, "config.json": json.dumps(content)}))
        assert {*values(table, "label")} == {"cat", "dog"}, content
    lines = "".join(json.dumps({"file_name": f"cat/{i}.png", "said": f"no. {i}"}) + "\n" for i in range(9))
    assert values(read(put(tmp_path / "lines", {**data, "metadata.json": lines})), "said")[0] == "no. 0"


# -- what a folder holds -----------------------------------------------------------------------------


def packed(files: Mapping[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


CATS = {f"{kind}/{i}.png": png(i) for kind in ("cat", "dog") for i in range(20)}


@pytest.mark.parametrize(
    "beside",
    [{"README.md": "# Cats\n" * 40}, {"LICENSE.txt": "All" * 50, "notes.csv": "a,b\n1,2\n"}, {".gitattributes": "x"}],
)  # fmt: skip
def test_what_lies_beside_an_archive_does_not_hide_it(tmp_path: Path, beside: dict[str, str]) -> None:
    table = read(put(tmp_path / "set", {"train.zip": packed(CATS), **beside}))
    assert {*values(table, "label")} == {"cat", "dog"} and len(table) == 40
    assert all("train.zip" not in phrase for phrase in table.facts["passed_over"])  # type: ignore[attr-defined]


def test_an_archive_that_was_unpacked_beside_itself_is_not_read_twice(tmp_path: Path) -> None:
    table = read(put(tmp_path / "set", {"set.zip": packed(CATS), **CATS}))
    assert len(table) == 40 and table.ignored == ["set.zip"]
    assert "archive" in table.facts["passed_over"][0]  # type: ignore[index]


def test_archives_may_be_splits(tmp_path: Path) -> None:
    table = read(put(tmp_path / "set", {"seg_train.zip": packed({f"seg_train/{k}": v for k, v in CATS.items()}),
                                        "seg_test.zip": packed({f"seg_test/{k}": v for k, v in CATS.items()}),
                                        "README.md": "about"}))  # fmt: skip
    assert {*table.splits} == {"train", "test"} and {*values(table, "label")} == {"cat", "dog"}


@pytest.mark.parametrize("where", ["folder", "file"])
def test_parquet(tmp_path: Path, where: str) -> None:
    pytest.importorskip("datasets")
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = {"photo": [png(i) for i in range(30)], "label": ["a", "b"] * 15, "size": [i / 7 for i in range(30)]}
    parts = {"train": slice(20), "test": slice(20, 30)}
    (tmp_path / "set" / "data").mkdir(parents=True)
    for split, part in parts.items():
        table = arrow.table({name: column[part] for name, column in rows.items()})
        parquet.write_table(table, tmp_path / "set" / "data" / f"{split}-00000-of-00001.parquet")
    put(tmp_path / "set", {"README.md": "# A set"})
    source = tmp_path / "set" if where == "folder" else tmp_path / "set" / "data" / "train-00000-of-00001.parquet"
    found = find_source(source, tmp_path / "downloads").load(lambda message: None)
    assert kinds(found) == {"image": "image", "label": "label", "size": "number"}
    assert len(found) == (30 if where == "folder" else 20)
    assert {*found.splits} == ({"train", "test"} if where == "folder" else {None})


def test_parquet_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError) as caught:
        read(put(tmp_path, {"a.parquet": b"PAR1"}) / "a.parquet")
    assert ".parquet" in caught.value.problem and "maquette[hub]" in caught.value.remedy


def test_data_splits_none_takes_no_split_from_anywhere(tmp_path: Path) -> None:
    put(tmp_path / "a", {f"{split}/{i}.png": png(i) for split in ("train", "test") for i in range(9)})
    made = find_source(tmp_path / "a", tmp_path, "none").load(lambda message: None)
    assert {*made.splits} == {None} and {*values(made, "label")} == {"train", "test"}
    rows = [{"t": f"n{i}", "split": "train" if i < 8 else "test"} for i in range(12)]
    put(tmp_path, {"a.csv": csv(rows)})
    assert {*find_source(tmp_path / "a.csv", tmp_path, "none").load(lambda message: None).splits} == {None}


def test_tables_that_list_the_same_files_say_more_of_them(tmp_path: Path) -> None:
    """As CelebA has it: attributes, and which part, each in a table of its own; captions have rows of their own."""
    n = range(20)
    put(tmp_path, {f"faces/{i:02}.png": png(i) for i in n} | {
        "attributes.csv": csv([{"image_id": f"{i:02}.png", "smiles": str(i % 2)} for i in n]),
        "captions.csv": csv([{"image": f"{i // 2:02}.png", "caption": f"one {i}"} for i in n]),
        "parts.csv": csv([{"image_id": f"{i:02}.png", "part": ["train", "test"][i > 14]} for i in n]),
    })  # fmt: skip
    table = read(tmp_path)
    assert {*table.columns} == {"image", "smiles", "caption"}
    assert len(table) == 30 and [*files(table, "image")].count("faces/03.png") == 2
    assert values(table, "caption")[:3] == ["one 0", "one 1", "one 2"]
    assert values(table, "smiles")[:4] == ["0", "0", "1", "1"] and values(table, "smiles")[-1] == "1"
    assert table.splits.count("test") == 5


@pytest.mark.parametrize("form", ["sample_submission.csv", "sampleSubmission.csv", "gender_submission.csv"])
def test_the_form_of_an_answer_is_no_data(tmp_path: Path, form: str) -> None:
    rows = [{"id": str(i), "words": f"number {i}", "mood": str(i % 2)} for i in range(12)]
    put(tmp_path / "texts", {"train.csv": csv(rows), "test.csv": csv([{"id": "99", "words": "?"}])})
    put(
        tmp_path / "pictures",
        {f"train/{i}.png": png(i) for i in range(12)} | {f"test/{i}.png": png(i) for i in (98, 99)},
    )
    put(tmp_path / "pictures", {"labels.csv": csv([{"id": str(i), "mood": str(i % 2)} for i in range(12)])})
    for source, count in (("texts", 13), ("pictures", 14)):
        put(tmp_path / source, {form: csv([{"id": str(i), "mood": "7"} for i in (98, 99)])})
        table = read(tmp_path / source)
        assert len(table) == count and "7" not in values(table, "mood") and table.ignored == [form]
