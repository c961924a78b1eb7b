"""One reader for all tables: however a program writes the same rows, the same rows are read."""

from __future__ import annotations

import csv
import io
import json
import random
import shlex
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from maquette.core.data_config import DataConfig
from maquette.core.errors import UserError
from maquette.core.modality import Notes
from maquette.data import open_dataset, suggestion
from maquette.data.decode import Decoder, parted
from maquette.data.raw import Array, Files, RawTable, Values
from maquette.data.readers import find_source
from maquette.data.separated import sheet_of
from maquette.modalities import text

WORDS = {
    "utf-8": ["Straße", "Köln", "über", "sieben", "été", "猫", "и"], "utf-8-sig": ["猫", "和", "狗", "Straße"],
    "utf-16": ["猫", "和", "狗", "Straße", "и"], "cp1252": ["Straße", "Köln", "über", "Brücken", "für", "Müller"],
    "gb18030": ["海上生明月", "天涯共此时", "情人怨遥夜", "竟夕起相思"],
    "shift_jis": ["古池や蛙飛びこむ水の音", "閑さや岩にしみ入る蝉の声", "夏草や兵どもが夢の跡"],
}  # fmt: skip
ENDS = ("\n", "\r\n", "\r", "\r\r\n")


def read(path: Path, columns: Sequence[str] = ()) -> RawTable:
    return find_source(path, path.parent).load(lambda message: None, columns)


def rows_of(table: RawTable) -> dict[str, list[object]]:
    return {name: [*cells.cells] for name, cells in table.columns.items() if isinstance(cells, Values)}


def written(rows: Sequence[Sequence[str]], separator: str, end: str, quoting: int = csv.QUOTE_MINIMAL) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="\n", quoting=quoting).writerows(rows)  # type: ignore[call-overload]
    return out.getvalue().replace("\n", end)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    encoding=st.sampled_from(sorted(WORDS)), end=st.sampled_from(ENDS), separator=st.sampled_from(",;\t|^"),
    excel=st.booleans(), index=st.sampled_from(["", "Unnamed: 0", None]), blanks=st.sampled_from(["", " "]),
    again=st.booleans(), trailing=st.booleans(), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    long=st.sampled_from(["note", "label: mood of the reader", "Which of these, and why?", "In your words, what?"]),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_the_same_rows_however_they_are_written(
    tmp_path: Path, encoding: str, end: str, separator: str, excel: bool, index: str | None, blanks: str,
    again: bool, trailing: bool, quoting: int, long: str, seed: int,
) -> None:  # fmt: skip
    draws = random.Random(seed)
    body = [[" ".join(draws.choices(WORDS[encoding], k=6)) + f" {i}", "ab"[i % 2], str(i / 8)] for i in range(30)]
    head = ["text", long, "weight"]
    rows = [[f"{blanks}{name}{blanks}" for name in head], *body]
    if again:
        rows.insert(11, rows[0])
    if index is not None:
        count = iter(range(100))
        rows = [[index if row is rows[0] else str(next(count)), *row] for row in rows]
        if again:
            rows[11][0] = index
    if trailing:
        rows = [[*row, ""] for row in rows]
    whole = (f"sep={separator}{end}" if excel else "") + written(rows, separator, end, quoting)
    (tmp_path / "a.csv").write_bytes(whole.encode(encoding))
    found = rows_of(read(tmp_path / "a.csv"))
    assert found == {name: [row[k] for row in body] for k, name in enumerate(head)}


@pytest.mark.parametrize(
    ("body", "header", "rows"),
    [
        ("text\nHello, you\nMe\n", ["text"], 2),
        ("1.png,cat\n2.png,dog\n3.png,cat\n", ["col1", "col2"], 3),
        ("Go.\tVa !\nHi.\tSalut !\n", ["col1", "col2"], 2),
        ("0,1\nhello there,cat\nyou two,dog\n", ["0", "1"], 2),
        ('"file" "label"\n"1" "a.png" "cat"\n"2" "b.png" "dog"\n', ["file", "label"], 2),
        ("a;b;c\n1,5;2,5;x\n1,5;3,5;y\n", ["a", "b", "c"], 2),
        ("a,a,b\n1,2,x\n2,3,y\n", ["a", "a_2", "b"], 2),
        (",text,\n0,a b,\n1,c d,\n", ["text"], 2),
        ('text\tlabel\n"Hi" she said\tx\ny\tz\n', ["text", "label"], 2),
        ('text\tlabel\n"a\nb"\tx\ny\tz\n', ["text", "label"], 2),
        ("Poems of 2024\n\ntext,label\na b,x\nc d,y\n", ["text", "label"], 2),
        ("# from R\ntext;label\na b;x\nc d;y\n", ["text", "label"], 2),
        ("Poems;;\ntext;label;id\na b;x;1\nc d;y;2\n", ["text", "label", "id"], 2),
        ("text,label\na b,x,,\nc d,y,,\n", ["text", "label"], 2),
        ('text, label\n"a, b", "x"\n"c, d", "y"\n', ["text", "label"], 2),
        ("'text','label'\n'a, b','x'\n'c, d','y'\n", ["text", "label"], 2),
        ("text\nYes, it is\nNo, not\n", ["text"], 2),
        ("id,text,score\n1,NA,0.5\n2,you,0.25\n", ["id", "text", "score"], 2),
        ("", [], 0),
    ],
)
def test_what_separates_and_what_is_a_header(body: str, header: list[str], rows: int) -> None:
    found = sheet_of(body, "a.csv")
    assert (found.header, len(found.rows), found.left_out) == (header, rows, [])


def test_what_was_guessed_of_a_table_is_said() -> None:
    assert "has no header" in sheet_of("1.5,2.5\n2.5,3.5\n", "a.csv").notes[0]
    assert "is read as its header: 'Hello', 'Hallo'" in sheet_of("Hello\tHallo\nOh yes\tO ja\n", "a.tsv").notes[0]
    assert sheet_of("Hello\tHallo\nOh yes\tO ja\n", "a.tsv", ["col1"]).header == ["col1", "col2"]
    assert "two columns 'a'" in sheet_of("a,a\n1,2\n3,4\n", "a.csv").notes[0]
    assert "1 more row" in sheet_of("text,label\na,b\ntext,label\nc,d\n", "a.csv").notes[0]
    with pytest.raises(UserError, match="quotation mark in line 3 is never closed"):
        sheet_of('text,label\na,b\n"open,c\nd,e\n', "a.csv")
    with pytest.raises(UserError, match="line 4"):
        sheet_of('sep=;\ntext;label\na;b\n"open;c\nd;e\n', "a.csv")


# -- line ends ---------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    ends=st.lists(st.sampled_from(["\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x1e"]), min_size=9,
                  max_size=9),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]),
)  # fmt: skip
def test_whatever_ends_lines_separates_words(ends: list[str], encoding: str) -> None:
    whole = "".join(f"word{i}{end}" for i, end in enumerate(ends))
    cells = text.interpret(Files(["a.txt"], [0], lambda _: [whole.encode(encoding)]), text.Config(), Notes())
    (cell,) = cells.take([0])
    assert str(cell).split() == [f"word{i}" for i in range(9)]
    assert len(str(cell).splitlines()) == 9


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("encoding", ["cp1252", "gb18030", "shift_jis"])
def test_short_lines_in_other_encodings_are_characters(encoding: str, end: str) -> None:
    lines = [f"{word} {i}" for i, word in enumerate(WORDS[encoding] * 40)]
    assert Decoder().decode(end.join(lines).encode(encoding), "a.txt") == "\n".join(lines)


def test_line_ends_escaped_in_json_separate_and_others_end_no_row(tmp_path: Path) -> None:
    rows = [{"text": "one\r\ntwo\rthree\u2028four\x0cfive"}, {"text": "six"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r, ensure_ascii=k > 0) + "\r\n" for k, r in enumerate(rows)))
    assert rows_of(read(tmp_path / "a.jsonl")) == {"text": ["one\ntwo\nthree\nfour\nfive", "six"]}
    assert parted("a\u2028b\r\r\nc", " ") == "a b c"


def test_json_as_pandas_writes_it(tmp_path: Path) -> None:
    for name, whole in {"a": {"text": ["x", "y"], "label": [1, 2]},
                        "b": {"text": {"0": "x", "1": "y"}, "label": {"0": 1, "1": 2}}}.items():  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps(whole))
        assert rows_of(read(tmp_path / f"{name}.json")) == {"text": ["x", "y"], "label": ["1", "2"]}
    (tmp_path / "c.jsonl").write_text('{"text": "x", "meta": {"a": 1}}\n')
    assert "'meta' holds lists or objects: not read." in read(tmp_path / "c.jsonl").notes


# -- files that a table names ------------------------------------------------------------------------


def picture(path: Path, i: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(i).integers(0, 255, (16, 16), dtype=np.uint8)).save(path)


@pytest.mark.parametrize("column", ["file_name", "filename", "File Name", "path", "image", "photo", "id"])
@pytest.mark.parametrize("form", ["{}.png", "./{}.png", "pics\\{}.png", "/somewhere/pics/{}.png", "{}"])
def test_the_column_that_names_files_is_told_by_what_it_holds(tmp_path: Path, column: str, form: str) -> None:
    for i in range(12):
        picture(tmp_path / "set" / "pics" / f"été{i}.png", i)
    names = [unicodedata.normalize("NFD", form.format(f"été{i}")) for i in range(12)]
    rows = [[column, "mood"], *([name, "ab"[i % 2]] for i, name in enumerate(names))]
    (tmp_path / "set" / "labels.csv").write_text(written(rows, ";", "\r\n"), encoding="utf-16")
    table = read(tmp_path / "set")
    assert [*table.columns] == ["image", "mood"] and table.names[0] == "pics/été0.png" and len(table) == 12


def test_a_table_that_names_no_file_is_passed_over(tmp_path: Path) -> None:
    for i in range(12):
        picture(tmp_path / f"{i}.png", i)
    (tmp_path / "classes.csv").write_text("number,name\n0,cat\n1,dog\n2,bird\n")
    table = read(tmp_path)
    assert [*table.columns] == ["image"] and table.ignored == ["classes.csv"]


def test_names_in_either_form_are_the_same(tmp_path: Path) -> None:
    from maquette.core.option import given_of
    from maquette.modalities.label.values import asked

    composed, apart = (unicodedata.normalize(form, "müde") for form in ("NFC", "NFD"))
    for i in range(40):
        picture(tmp_path / "set" / (composed if i % 4 else apart) / f"{i}.png", i)
        picture(tmp_path / "set" / "wach" / f"{i}.png", 100 + i)
    config = DataConfig(kinds={apart: "label"})
    label = open_dataset(tmp_path / "set", cache=tmp_path / "cache").train.columns["label"].spec
    assert label.classes == (composed, "wach") and int(asked(apart, label, print)) == 0  # type: ignore[attr-defined]
    rows = [["text", apart], *([f"a line, {i}", "ab"[i % 2]] for i in range(40))]
    (tmp_path / "a.csv").write_text(written(rows, ",", "\n"))
    table = open_dataset(tmp_path / "a.csv", config, target=("text",), given=(composed,), cache=tmp_path / "cache")
    assert composed in table.train.columns and given_of([f"{apart}=a"]) == {composed: "a"}


# -- arrays, workbooks, lines ------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["pixel{}", "{}", "v_{}", None])
def test_columns_of_numbers_that_make_up_a_square_are_an_array(tmp_path: Path, header: str | None) -> None:
    arrays = np.random.default_rng(0).integers(0, 256, (20, 8, 8))
    rows = [[str(i % 3), *map(str, array.ravel())] for i, array in enumerate(arrays)]
    head = [] if header is None else [["label", *(header.format(i) for i in range(64))]]
    (tmp_path / "a.csv").write_text(written([*head, *rows], ",", "\n"))
    table = read(tmp_path / "a.csv")
    cells = table.columns["image"]
    assert isinstance(cells, Array) and np.array_equal(cells.parts[0], arrays)
    assert rows_of(table) == {"label": [str(i % 3) for i in range(20)]}
    joined = [
        ["emotion", "grey", "usage"],
        *([row[0], " ".join(row[1:]), ("train", "test")[i % 5 > 3]] for i, row in enumerate(rows)),
    ]
    (tmp_path / "c.csv").write_text(written(joined, ",", "\n"))
    table = read(tmp_path / "c.csv")
    cells = table.columns["grey"]
    assert isinstance(cells, Array) and np.array_equal(cells.parts[0], arrays)
    assert table.splits.count("test") == 4 and [*table.columns] == ["emotion", "grey"]
    floats = [[row[0], *(f"{float(cell) / 7:.3f}" for cell in row[1:])] for row in rows]
    (tmp_path / "b.csv").write_text(written(floats, ",", "\n"))
    assert "image" not in read(tmp_path / "b.csv").columns


def test_a_workbook_is_read_as_its_csv_would_be(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [["text", "stars", None], *([f"Zeile {i}\r\nzwei", i % 3, None] for i in range(12)), [None, None, None]]:
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    found = read(tmp_path / "a.xlsx")
    assert rows_of(found) == {"text": [f"Zeile {i}\nzwei" for i in range(12)], "stars": [str(i % 3) for i in range(12)]}
    (tmp_path / "b.xlsx").write_bytes((tmp_path / "a.xlsx").read_bytes()[:500])
    with pytest.raises(UserError, match="no whole workbook"):
        read(tmp_path / "b.xlsx")


def test_lines_of_files_are_texts_where_that_is_asked_for(tmp_path: Path) -> None:
    names = [f"name{i}" for i in range(60)]
    for side, part in (("a", names[:30]), ("b", names[30:])):
        (tmp_path / "set" / f"{side}.txt").parent.mkdir(exist_ok=True)
        (tmp_path / "set" / f"{side}.txt").write_text("\r\n\n".join(part))
    config = DataConfig.model_validate({"text": {"items": "lines"}})
    found = open_dataset(tmp_path / "set", config, target=("text",), cache=tmp_path / "cache")
    assert found.summary["found"] == found.summary["used"] == 60 and found.train.columns["text"].spec.framed  # type: ignore[attr-defined]
    assert found.train.names[0] == "a.txt:1"
    (tmp_path / "names.txt").write_text("\n".join(names))
    whole = open_dataset(tmp_path / "names.txt", target=("text",), cache=tmp_path / "cache")
    assert any("--items lines" in note for note in whole.summary["notes"])


def test_pairs_with_a_tab_between_are_offered_as_a_table(tmp_path: Path) -> None:
    path = tmp_path / "fra.txt"
    path.write_text("".join(f"Go {i}.\tVa {i} !\tCC-BY\n" for i in range(60)))
    plain = open_dataset(path, target=("text",), cache=tmp_path / "cache")
    assert any("--target col2 --given col1" in note for note in plain.summary["notes"])
    pairs = open_dataset(path, target=("col2",), given=("col1",), cache=tmp_path / "cache")
    assert pairs.summary["kind"] == "table" and pairs.summary["used"] == 60 and "col3" in pairs.summary["unused"]


# -- what is suggested -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "target", "beside"),
    [
        ({"n": "{i}", "poem": "a poem of some words {i}", "note": ""}, ("poem",), ()),
        ({"id": "p-{i}", "en": "some words {i}", "de": "ein paar Worte {i}"}, ("de",), ("en",)),
        ({"title": "a title {i}", "body": "a body of very many more words than its title, {i}", "mood": "{h}"},
         ("body",), ("mood",)),
        ({"body": "a body of words {i}", "label": "{h}"}, ("body",), ()),
    ],
)  # fmt: skip
def test_what_is_suggested_makes_sense(
    tmp_path: Path, columns: dict[str, str], target: tuple[str, ...], beside: tuple[str, ...]
) -> None:
    rows = [[*columns], *([cell.format(i=i, h="ab"[i % 2]) for cell in columns.values()] for i in range(40))]
    (tmp_path / "a.csv").write_text(written(rows, ",", "\n"))
    made, given, _ = suggestion(tmp_path / "a.csv", DataConfig(), cache=tmp_path / "cache")
    assert (made, given) == (target, beside)
    found = open_dataset(tmp_path / "a.csv", target=made, given=given, cache=tmp_path / "cache").summary
    noted = [note for note in found["notes"] if "not used" in note]
    assert len(noted) <= 1 and set(found["unused"]) == {*columns} - {*target, *beside, "label", "mood"}


def test_inspect_says_each_thing_once_and_its_command_has_the_same_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from maquette.api import resolve_recipe
    from maquette.cli.data import command
    from maquette.training import prepare

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    rows = [["id", "poem", "mood", "stars", "late"]]
    rows += [
        [f"p{i}", f"a poem of some words {i}", "ab"[i % 2], "" if i % 9 == 0 else str(i / 3), ""] for i in range(60)
    ]
    (tmp_path / "my poems.csv").write_text(written(rows, ";", "\r\n"), encoding="cp1252")
    for i in range(40):
        picture(tmp_path / "set" / f"{i}.png", i)
    lines = ["image,caption", *(f"{i}.png,{'' if i % 9 == 0 else f'a small thing {i}'}" for i in range(40))]
    (tmp_path / "set" / "about.csv").write_text("\n".join(lines))
    for source in ("my poems.csv", "set"):
        printed = CliRunner().invoke(command, ["inspect", source]).output.splitlines()
        notes = [line for line in printed if "Note: " in line]
        assert len({*notes}) == len(notes) and sum("not used" in note for note in notes) == (source != "set")
        (told,) = [line.partition(": ")[2] for line in printed if line.startswith("To train on it")]
        _, _, recipe, *options = shlex.split(told)
        asked = dict(zip([name.removeprefix("--") for name in options[::2]], options[1::2], strict=True))
        small = ["model.width=32", *(["model.layers=1", "model.heads=2"] if "lm" in recipe else [])]
        _, dataset = prepare(
            resolve_recipe(recipe, settings=small, **asked), tmp_path / f"run-{source}", lambda note: None
        )
        sides = f"{len(dataset.train):,} to learn from, {len(dataset.test):,} held out"
        assert any(sides in line for line in printed) and len(dataset.train) + len(dataset.test) == (
            60 if "p" in source else 40
        )
