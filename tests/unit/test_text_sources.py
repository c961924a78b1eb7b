"""Every form of text that is accepted opens to the same kind of table, and what is wrong with one is said by name."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import os
import stat
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flat_config import flat_config
from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.spec import BOS, UNK, TokenSpec
from maquette.core.table import Dataset, Table
from maquette.data import open_dataset
from maquette.modalities import text

NOUNS = ("cat", "dog", "house", "tree", "river", "king", "ship", "stone", "bird", "road")
VERBS = ("sees", "finds", "loses", "paints", "carries", "follows")


def sentence(i: int) -> str:
    return f"the {NOUNS[i % 10]} {VERBS[i // 10 % 6]} the {NOUNS[i // 60 % 10]} {i}"


def saetze(i: int) -> str:
    return f"die {NOUNS[i % 10].upper()} {VERBS[i // 10 % 6]} über {i}"


LINES = [sentence(i) for i in range(120)]
ZEILEN = [saetze(i) for i in range(120)]


def put(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return root


def lines(texts: list[str]) -> str:
    return "".join(f"{t}\n" for t in texts)


def jsonl(rows: list[dict[str, Any]]) -> str:
    return lines([json.dumps(row, ensure_ascii=False) for row in rows])


def pairs(n: int = 120, **more: str | bytes) -> dict[str, str | bytes]:
    return {"train.en": lines(LINES[:n]), "train.de": lines(ZEILEN[:n]), **more}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def opened(
    source: Path | str, cache: Path, target: str | None = "text", given: str | None = None, **config: Any
) -> Dataset:
    like, own = config.pop("like", None), config.pop("own", None)
    return open_dataset(
        source, flat_config(**{"vocab": 300, **config}), target=(target,) if target else (),
        given=(given,) if given else (), like=like, own=own, cache=cache,
    )  # fmt: skip


def said(table: Table, column: str = "text") -> list[str]:
    found = table.columns[column]
    return [text.decode(found.take(np.array([i]))[0], found.spec) for i in range(len(table))]


def refused(source: Path, cache: Path, **options: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        opened(source, cache, **options)
    assert caught.value.remedy
    return caught.value


# -- what is accepted --------------------------------------------------------------------------------


def test_tables_of_all_kinds_say_the_same(tmp_path: Path, cache: Path) -> None:
    rows = [{"text": t, "mood": ("glad", "sad", "calm")[i % 3]} for i, t in enumerate(LINES)]
    csv = "mood,text\n" + lines([f'{row["mood"]},"{row["text"]}"' for row in rows])
    tables = {
        "a.jsonl": jsonl(rows), "a.json": json.dumps(rows), "b.json": json.dumps({"version": 1, "data": rows}),
        "a.csv": csv, "semi.csv": csv.replace(",", ";"), "a.tsv": csv.replace(",", "\t").replace('"', ""),
        "a.jsonl.gz": gzip.compress(jsonl(rows).encode()), "a.ndjson": jsonl(rows), "misnamed.json": jsonl(rows),
    }  # fmt: skip
    put(tmp_path, tables)
    found = {name: opened(tmp_path / name, cache, given="mood") for name in tables}
    for name, dataset in found.items():
        mood = dataset.train.columns["mood"].spec
        assert mood.kind == "label" and mood.classes == ("calm", "glad", "sad"), name
        assert sum(mood.shares) == pytest.approx(1)
        assert dataset.train.columns["text"].spec.framed and dataset.train.columns["text"].spec.start == BOS
        assert sorted(said(dataset.train) + said(dataset.test)) == sorted(LINES), name
        assert sorted(said(dataset.test)) == sorted(said(found["a.jsonl"].test)), name  # the split is by content
        for row in range(10):
            i = LINES.index(said(dataset.train)[row])
            label = int(dataset.train.columns["mood"].take(np.array([row])))
            assert mood.classes[label] == rows[i]["mood"], name
    assert found["a.jsonl"].train.names[0].startswith("a.jsonl:") and found["a.csv"].summary["kind"] == "table"


def test_parallel_files_packed_or_not(tmp_path: Path, cache: Path) -> None:
    files = pairs(100, **{"val.en": lines(LINES[100:105]), "val.de": lines(ZEILEN[100:105]),
                          "test_2016.en": lines(LINES[105:112]), "test_2016.de": lines(ZEILEN[105:112]),
                          "test_2017.en": lines(LINES[112:]), "test_2017.de": lines(ZEILEN[112:]),
                          "README.md": "about"})  # fmt: skip
    plain = opened(put(tmp_path / "plain", files), cache, "de", "en")
    packed = {f"{name}.gz": gzip.compress(str(data).encode()) for name, data in files.items()}
    for dataset in (plain, opened(put(tmp_path / "packed", packed), cache, "de", "en")):
        assert (len(dataset.train), len(dataset.test)) == (100, 7)
        assert {name: len(table) for name, table in dataset.splits.items()} == {
            "test_2016": 7, "test_2017": 8, "val": 5
        }  # fmt: skip
        assert dataset.summary["splits"] == {"test_2016": 7, "test_2017": 8, "val": 5}
        assert said(dataset.train, "de") == ZEILEN[:100] and said(dataset.train, "en") == LINES[:100]
        assert said(dataset.test, "de") == ZEILEN[105:112] and said(dataset.splits["val"], "en") == LINES[100:105]
        spec = dataset.spec(("de",), ("en",))
        assert list(spec.givens(TokenSpec)) == ["en"] and spec.only().unit == "bpe"
        assert spec.only().tokenizer == spec.columns["en"].tokenizer
        assert dataset.summary["own_split"] and dataset.train.names[3].endswith(":4")
    assert plain.summary["ignored"] == ["README.md"]
    other = opened(tmp_path / "plain", cache, "en", "de")
    assert other.spec(("en",), ("de",)).only().tokenizer == plain.spec(("de",), ("en",)).only().tokenizer
    apart = opened(tmp_path / "plain", cache, "de", "en", joint=False)
    assert apart.spec(("de",), ("en",)).columns["en"].tokenizer != apart.spec(("de",), ("en",)).only().tokenizer


def test_val_is_the_test_split_where_there_is_no_other(tmp_path: Path, cache: Path) -> None:
    files = pairs(100, **{"val.en": lines(LINES[100:]), "val.de": lines(ZEILEN[100:])})
    dataset = opened(put(tmp_path / "a", files), cache, "de", "en")
    assert len(dataset.test) == 20 and list(dataset.splits) == ["val"]
    assert any("'val' is held out" in note for note in dataset.summary["notes"])
    only = opened(put(tmp_path / "b", {"corpus.en": lines(LINES), "corpus.de": lines(ZEILEN)}), cache, "de", "en")
    assert not only.summary["own_split"] and len(only.train) + len(only.test) == 120 and len(only.test) > 2


def test_what_names_a_language(tmp_path: Path) -> None:
    from maquette.data.readers.pairs import find_pairs

    for a, b in (("en", "de"), ("cs", "pl"), ("src", "tgt"), ("en_US", "zh-Hans"), ("eng_Latn", "deu_Latn")):
        for end in ("", ".gz", ".txt", ".txt.gz"):
            assert find_pairs([f"x/train.v2.{a}{end}", f"x/train.v2.{b}{end}"]) == {
                "x/train.v2": {a: f"x/train.v2.{a}{end}", b: f"x/train.v2.{b}{end}"}
            }  # fmt: skip
    for names in (
        ["a.tex", "a.aux", "a.bbl"],
        ["a.txt", "a.md"],
        ["a.csv", "a.json"],
        ["a.en", "b.de"],
        ["main.c", "main.h"],
    ):
        assert find_pairs(names) == {}, names


def test_what_names_a_split() -> None:
    from maquette.data.layout import role

    assert [role(stem) for stem in ("test_2016", "Test", "testimony", "val", "dev2", "trainer", "train-1", "x")] == [
        "test", "test", "", "val", "val", "", "train", ""
    ]  # fmt: skip


def test_a_language_that_is_missing_somewhere_is_passed_over(tmp_path: Path, cache: Path) -> None:
    folder = put(tmp_path / "a", pairs(100, **{"test.en": lines(LINES[100:]), "val.en": lines(LINES[100:110]),
                                               "val.de": lines(ZEILEN[100:110])}))  # fmt: skip
    dataset = opened(folder, cache, "de", "en")
    assert list(dataset.splits) == ["val"]
    assert any("'test' is not used: 'test.de' is missing" in note for note in dataset.summary["notes"])


def test_splits_of_tables_by_file_by_column_and_by_key(tmp_path: Path, cache: Path) -> None:
    rows = [{"text": t, "split": "train" if i < 90 else "validation" if i < 100 else "test"}
            for i, t in enumerate(LINES)]  # fmt: skip
    by_file = put(tmp_path / "set", {f"{s}.jsonl": jsonl([{"text": r["text"]} for r in rows if r["split"] == s])
                                     for s in ("train", "validation", "test")})  # fmt: skip
    by_key = {s: [{"text": r["text"]} for r in rows if r["split"] == s] for s in ("train", "validation", "test")}
    put(tmp_path, {"column.jsonl": jsonl(rows), "keys.json": json.dumps(by_key)})
    for source in (by_file, tmp_path / "column.jsonl", tmp_path / "keys.json"):
        dataset = opened(source, cache)
        assert said(dataset.train) == LINES[:90] and said(dataset.test) == LINES[100:], source
        assert said(dataset.splits["validation"]) == LINES[90:100] and "test" in dataset.splits
    assert "split" not in opened(tmp_path / "column.jsonl", cache).train.columns


def test_what_has_no_name_of_a_split_is_learned_from(tmp_path: Path, cache: Path) -> None:
    """corpus.en beside test.en, corpus.csv beside test.csv."""
    some, rest = slice(100), slice(100, None)
    files = {f"{stem}.{language}": lines(texts[part]) for language, texts in (("en", LINES), ("de", ZEILEN))
             for stem, part in (("corpus", some), ("test", rest))}  # fmt: skip
    pairs_ = opened(put(tmp_path / "pairs", files), cache, "de", "en")
    tables = opened(put(tmp_path / "tables", {"corpus.csv": "text\n" + lines(LINES[some]),
                                              "more.csv": "text\n" + lines(ZEILEN[:50]),
                                              "val.csv": "text\n" + lines(LINES[rest])}), cache)  # fmt: skip
    assert (said(pairs_.train, "en"), said(pairs_.test, "de")) == (LINES[some], ZEILEN[rest])
    assert said(tables.train) == LINES[some] + ZEILEN[:50] and said(tables.test) == LINES[rest]
    assert list(pairs_.splits) == ["test"] and list(tables.splits) == ["val"]
    # Where something is named train, all else is held out, as before; and something must be learned from.
    named = {"train.csv": lines(["text", *LINES[some]]), "test.csv": lines(["text", *LINES[rest]]),
             "hard.csv": lines(["text", *ZEILEN])}  # fmt: skip
    assert sorted(opened(put(tmp_path / "named", named), cache).splits) == ["hard", "test"]
    nothing = put(tmp_path / "nothing", {"test.csv": lines(["text", *LINES]), "val.csv": lines(["text", *ZEILEN])})
    assert "All of the data is held out: its splits are named test, val" in str(refused(nothing, cache))


def test_folders_name_the_splits_of_parallel_files(tmp_path: Path, cache: Path) -> None:
    files = {f"{split}/{name}.{language}": lines(texts[part]) for language, texts in (("en", LINES), ("de", ZEILEN))
             for split, name, part in (("train", "data", slice(60)), ("train", "more", slice(60, 100)),
                                       ("test", "data", slice(100, None)))}  # fmt: skip
    dataset = opened(put(tmp_path / "a", files), cache, "de", "en")
    assert said(dataset.train, "en") == LINES[:100] and said(dataset.test, "de") == ZEILEN[100:]
    assert list(dataset.splits) == ["test"]


def test_plain_texts_by_split(tmp_path: Path, cache: Path) -> None:
    for layout in ("{}.txt", "{}/a.txt"):
        files = {layout.format(s): lines(LINES[a:b]) for s, a, b in (("train", 0, 90), ("test", 90, 120))}
        dataset = opened(put(tmp_path / layout[:3].strip("{}./") / layout[2:4].strip("/."), files), cache, context=32)
        joined = lines(LINES[90:])
        assert "".join(part[i > 0 :] for i, part in enumerate(said(dataset.test))) == joined
        assert dataset.splits["test"].names[0].startswith("test")


def test_archives_of_texts(tmp_path: Path, cache: Path) -> None:
    files = {name: str(data).encode() for name, data in pairs().items()}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        for name, data in files.items():
            z.writestr(f"corpus/{name}", data)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as t:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    reference = opened(put(tmp_path / "a", pairs()), cache, "de", "en")
    for name in ("a.zip", "a.tar.gz"):
        for _ in range(2):
            dataset = opened(tmp_path / name, cache, "de", "en")
            assert said(dataset.test, "de") == said(reference.test, "de")


def test_a_folder_with_pictures_is_pictures(tmp_path: Path, cache: Path) -> None:
    from PIL import Image

    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 255, (16, 16), dtype=np.uint8)
        path = tmp_path / "set" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    put(tmp_path / "set", {"a.txt": lines(LINES), "b.jsonl": "{}"})
    assert set(open_dataset(tmp_path / "set", cache=cache).train.columns) == {"image"}
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as z:
        for path in (tmp_path / "set").iterdir():
            z.write(path, path.name)
    assert set(open_dataset(tmp_path / "set.zip", cache=cache).train.columns) == {"image"}
    for path in (tmp_path / "set").glob("*.png"):
        path.rename(path.with_suffix(""))
    assert set(open_dataset(tmp_path / "set", cache=cache).train.columns) == {"image"}


def test_datasets_on_disk_and_by_name(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"text": [t.replace(" ", "\u0000 ", 1) if i == 0 else t for i, t in enumerate(LINES)],
            "label": [i % 2 for i in range(120)], "note": [f"n{i}" for i in range(120)]}  # fmt: skip
    features = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=["no", "yes"]),
                                 note=datasets.Value("string"))  # fmt: skip
    whole = datasets.Dataset.from_dict(rows, features)
    split = datasets.DatasetDict(train=whole.select(range(100)), test=whole.select(range(100, 120)))
    split.save_to_disk(str(tmp_path / "disk"))
    dataset = opened(tmp_path / "disk", cache)
    assert said(dataset.train) == LINES[:100] and said(dataset.test) == LINES[100:]
    assert dataset.train.columns["label"].spec.classes == ("no", "yes")
    assert any("1 control character" in note for note in dataset.summary["notes"])
    translation = datasets.Dataset.from_dict(
        {"translation": [{"en": a, "de": b} for a, b in zip(LINES, ZEILEN, strict=True)]}
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda name: translation)
    made = opened("hf:someone/pairs", cache, "de", "en")
    assert sorted(said(made.train, "en") + said(made.test, "en")) == sorted(LINES)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: pytest.fail("asked the hub again"))
    assert opened("hf:someone/pairs", cache, "de", "en").fingerprint == made.fingerprint
    with pytest.raises(UserError, match="is not on this machine"):
        open_dataset("hf:someone/else", target=("text",), cache=cache, fetch=False)


# -- columns -----------------------------------------------------------------------------------------


def test_few_values_are_classes_and_many_are_text(tmp_path: Path, cache: Path) -> None:
    rows = [{"text": t, "title": f"no. {i}", "year": 1900 + i % 3, "odd": bool(i % 2), "weight": i / 7,
             "mood": None if i == 5 else "glad" if i % 2 else "sad", "one": "same", "deep": {"a": 1}}
            for i, t in enumerate(LINES)]  # fmt: skip
    path = put(tmp_path, {"a.jsonl": jsonl(rows)}) / "a.jsonl"
    dataset = opened(path, cache)
    specs = {name: column.spec for name, column in dataset.train.columns.items()}
    assert specs["year"].classes == ("1900", "1901", "1902") and specs["odd"].classes == ("false", "true")
    assert specs["mood"].classes == ("glad", "sad", "(missing)") and set(specs) == {"text", "year", "odd", "mood"}
    assert any(
        "'title' (text), 'weight' (number), 'one' (text) are not used" in note for note in dataset.summary["notes"]
    )
    assert any("1 row has no 'mood'" in note for note in dataset.summary["notes"])
    summary = opened(path, cache, "text", "title")
    assert (
        summary.train.columns["title"].spec.kind == "text" and summary.spec(("text",), ("title",)).only().unit == "bpe"
    )
    assert opened(path, cache, "mood").train.columns["mood"].spec.kind == "text"
    auto, named = opened(path, cache), opened(path, cache, given="mood")
    assert auto.fingerprint == named.fingerprint, "naming the label that is there anyway is no other data"


def test_columns_that_are_not_there(tmp_path: Path, cache: Path) -> None:
    folder = put(tmp_path / "pairs", pairs())
    error = refused(folder, cache, target="text")
    assert "no column 'text'" in str(error) and "target: de or en" in error.remedy
    assert "no column 'fr'" in str(refused(folder, cache, target="fr", given="en"))
    assert "'en' is both the target and what is given" in str(refused(folder, cache, target="en", given="en"))
    path = put(tmp_path, {"a.jsonl": jsonl([{"poem": t, "form": i % 2} for i, t in enumerate(LINES)])}) / "a.jsonl"
    assert "Did you mean 'form'?" in refused(path, cache, target="poem", given="from").remedy
    assert "Did you mean 'poem'?" in refused(path, cache, target="poems").remedy
    assert "each on its own: poem form" in refused(path, cache, target="poem,form").remedy
    assert "holds no pictures" in str(refused(path, cache, target="image"))


def test_tables_without_a_header_number_their_columns(tmp_path: Path, cache: Path) -> None:
    body = lines([f"{a}!\t{b}." for a, b in zip(LINES, ZEILEN, strict=True)])
    path = put(tmp_path, {"a.tsv": body, "b.tsv": f"en\tde\n{body}"}) / "a.tsv"
    dataset = opened(path, cache, "col2", "col1")
    assert len(dataset.train) + len(dataset.test) == 120
    assert any("has no header: its columns are 'col1', 'col2'" in note for note in dataset.summary["notes"])
    assert set(opened(path, cache, None).summary["columns"]) == {"col1", "col2"}
    named = opened(path.with_name("b.tsv"), cache, "de", "en")
    assert len(named.train) + len(named.test) == 120 and "en" in named.train.columns
    quoted = put(tmp_path, {"q.tsv": 'text\n"open and\n' + lines(LINES)}) / "q.tsv"
    read = opened(quoted, cache, tokenizer="bpe")
    assert '"open and' in said(read.train) + said(read.test)


def test_units_suit_the_text(tmp_path: Path, cache: Path) -> None:
    chinese = "".join(chr(0x4E00 + int(c)) for c in np.random.default_rng(0).integers(0, 7000, 30_000))
    put(tmp_path, {"zh.txt": chinese, "en.txt": lines(LINES) * 3})
    assert opened(tmp_path / "zh.txt", cache).train.columns["text"].spec.unit == "char"
    assert opened(tmp_path / "en.txt", cache).train.columns["text"].spec.unit == "char"
    put(tmp_path, {"long.txt": lines(LINES) * 1200})
    assert opened(tmp_path / "long.txt", cache).train.columns["text"].spec.unit == "bpe"
    assert opened(tmp_path / "en.txt", cache, tokenizer="unigram").train.columns["text"].spec.unit == "unigram"
    strange = "".join(chr(0xAC00 + i) + " " for i in range(6100))
    put(tmp_path, {"many.txt": strange * 3})
    assert opened(tmp_path / "many.txt", cache).train.columns["text"].spec.unit == "bpe"


def test_tokenizers_know_the_training_split_alone(tmp_path: Path, cache: Path) -> None:
    put(tmp_path, {"a.txt": "abc\n" * 300 + "Ω" * 40})
    dataset = opened(tmp_path / "a.txt", cache, context=16)
    spec = dataset.test.columns["text"].spec
    assert set(text.vocabulary(spec.tokenizer).tokens[7:]) == set("abc\n")
    held = dataset.test.columns["text"].take(np.arange(len(dataset.test)))
    assert int((held == UNK).sum()) >= 40
    unknown = dataset.summary["columns"]["text"]["unknown"]
    assert unknown == {"characters": 40, "distinct": 1, "examples": ["Ω"]}
    assert any("40 held-out characters of 'text' unknown from training: 'Ω'" in w for w in dataset.summary["warnings"])
    lower = opened(put(tmp_path, {"b.txt": "AbC\n" * 300}) / "b.txt", cache, lowercase=True, context=16)
    assert "A" not in text.vocabulary(lower.train.columns["text"].spec.tokenizer).tokens


# -- splits ------------------------------------------------------------------------------------------


def test_copies_never_straddle_and_more_rows_move_none(tmp_path: Path, cache: Path) -> None:
    twice = [{"text": t} for t in LINES for _ in range(2)]
    dataset = opened(put(tmp_path, {"a.jsonl": jsonl(twice)}) / "a.jsonl", cache, test_share=0.3)
    learned, held = set(said(dataset.train)), set(said(dataset.test))
    assert not learned & held and len(learned | held) == 120 and 15 < len(held) < 60
    assert dataset.summary["duplicates"] == {"exact_groups": 120, "exact_copies": 120, "dropped_from_train": 0}
    assert any("120 of 240 texts are exact copies" in w for w in dataset.summary["warnings"])
    more = [*twice, *({"text": sentence(i)} for i in range(120, 200))]
    grown = opened(put(tmp_path, {"b.jsonl": jsonl(more)}) / "b.jsonl", cache, test_share=0.3)
    assert held <= set(said(grown.test)) and learned <= set(said(grown.train))
    other = opened(tmp_path / "a.jsonl", cache, test_share=0.3, split_seed=1)
    assert set(said(other.test)) != held


def test_training_rows_that_are_held_out_too_are_left_out(tmp_path: Path, cache: Path) -> None:
    files = pairs(100, **{"test.en": lines([*LINES[:3], *LINES[100:]]), "test.de": lines([*ZEILEN[:3], *ZEILEN[100:]])})
    dataset = opened(put(tmp_path / "a", files), cache, "de", "en")
    assert said(dataset.train, "en") == LINES[3:100] and len(dataset.test) == 23
    assert dataset.summary["duplicates"]["dropped_from_train"] == 3
    assert any("3 training texts also stand in a held-out split" in note for note in dataset.summary["notes"])
    same = pairs(100, **{"test.en": lines(LINES[:100]), "test.de": lines(ZEILEN[:100])})
    assert "Every training text" in str(refused(put(tmp_path / "b", same), cache, target="de", given="en"))
    assert "are the same" in str(refused(put(tmp_path, {"s.jsonl": jsonl([{"text": "a"}] * 20)}) / "s.jsonl", cache))


def test_other_data_is_read_with_the_tokens_of_a_run(tmp_path: Path, cache: Path) -> None:
    rows = [{"text": t, "mood": i % 2} for i, t in enumerate(LINES)]
    own = opened(put(tmp_path, {"a.jsonl": jsonl(rows)}) / "a.jsonl", cache, given="mood")
    spec = own.spec(("text",), ("mood",))
    others = [{"text": f"the zebra sees {i}", "mood": i % 3} for i in range(30)]
    path = put(tmp_path, {"b.jsonl": jsonl(others)}) / "b.jsonl"
    judged = {"given": "mood", "like": spec, "own": own.fingerprint}
    other = opened(path, cache, **judged)
    assert other.test.columns["text"].spec.tokenizer == spec.only().tokenizer
    assert len(other.test) == len(other.train) == 20, "all of it is held out, but for classes that the run has not"
    assert other.summary["left_out"][0] == {"name": "b.jsonl:3", "reason": "'mood': unknown class '2'"}
    assert said(other.test)[0] == "the ebra sees 0", "a letter that the run does not know"
    # The run's own data, opened with its tokens, is the very same, from the cache or not.
    for where in (cache, tmp_path / "fresh"):
        for how in (judged, judged | {"own": None}):
            again = opened(tmp_path / "a.jsonl", where, **how)
            assert again.fingerprint == own.fingerprint and said(again.test) == said(own.test)
    # Other texts of the very same letters are told apart by the fingerprint.
    twins = [{"text": sentence(i), "mood": i % 2} for i in range(120, 240)]
    path = put(tmp_path, {"d.jsonl": jsonl(twins)}) / "d.jsonl"
    for letters in (opened(path, cache, given="mood"), own):
        assert letters.train.columns["text"].spec.tokenizer == spec.only().tokenizer
    foreign = opened(path, cache, **judged)
    assert len(foreign.test) == 120 and foreign.summary["left_out_count"] == 0
    split = put(tmp_path / "c", {"train.jsonl": jsonl(others), "test.jsonl": jsonl(rows)})
    assert len(opened(split, cache, **judged).test) == 120
    plain = put(tmp_path, {"c.txt": lines([f"{t}!" for t in LINES])}) / "c.txt"
    spoken = opened(plain, cache, like=own.spec(("text",), ()), own=own.fingerprint)
    assert said(spoken.test) == LINES and spoken.test.names[2] == "c.txt:3", "a run of rows reads a text line by line"
    window = opened(plain, cache, context=16)
    made = opened(path, cache, like=window.spec(("text",), ()), context=99)
    assert not made.test.columns["text"].spec.framed and made.test.columns["text"].spec.shape == (17,)


# -- the cache ---------------------------------------------------------------------------------------


def test_a_second_opening_finds_everything_prepared(tmp_path: Path, cache: Path) -> None:
    folder = put(tmp_path / "a", pairs())
    first = opened(folder, cache, "de", "en")
    heard: list[str] = []
    again = open_dataset(
        folder, flat_config(vocab=300), target=("de",), given=("en",), cache=cache, notify=heard.append
    )
    assert not heard and again.summary["from_cache"] and not first.summary["from_cache"]
    assert again.fingerprint == first.fingerprint and said(again.test, "de") == said(first.test, "de")
    assert list(again.test.names) == list(first.test.names) and again.train.batch([0, 1], again.spec(["de"], ["en"]))
    moved = folder.rename(tmp_path / "b")
    third = open_dataset(moved, flat_config(vocab=300), target=("de",), given=("en",), cache=cache, notify=heard.append)
    assert third.fingerprint == first.fingerprint and "The same texts were prepared before" in heard
    (moved / "train.en").write_text(lines([*LINES[:-1], "another one"]), encoding="utf-8")
    assert opened(moved, cache, "de", "en").fingerprint != first.fingerprint
    for setting in ({"vocab": 320}, {"lowercase": True}, {"tokenizer": "char"}, {"joint": False}):
        assert opened(moved, cache, "de", "en", **setting).fingerprint != first.fingerprint


def test_a_damaged_cache_is_made_again(tmp_path: Path, cache: Path) -> None:
    folder = put(tmp_path / "a", pairs())
    first = opened(folder, cache, "de", "en")
    (kept,) = (cache / "prepared").iterdir()
    tokens = kept / "0.bin"
    tokens.chmod(stat.S_IRUSR | stat.S_IWUSR)
    tokens.write_bytes(tokens.read_bytes()[:-10])
    again = opened(folder, cache, "de", "en")
    assert not again.summary["from_cache"] and again.fingerprint == first.fingerprint
    tokens.write_bytes(tokens.read_bytes() + b"more")
    assert not opened(folder, cache, "de", "en").summary["from_cache"]
    assert opened(folder, cache, "de", "en").summary["from_cache"]


def test_a_cache_that_cannot_be_written_costs_only_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    dataset = opened(put(tmp_path / "a", pairs()), tmp_path / "file" / "cache", "de", "en")
    assert len(dataset.train) > 90
    assert any("cannot be written" in w for w in dataset.summary["warnings"])


# -- what is wrong with texts ------------------------------------------------------------------------


def test_encodings_are_found_and_named(tmp_path: Path, cache: Path) -> None:
    words = "Grüße aus Köln: süße Äpfel, große Öfen, weiße Mäuse. " * 40
    put(tmp_path, {
        "plain.txt": words, "bom.txt": codecs.BOM_UTF8 + words.encode(), "16.txt": words.encode("utf-16"),
        "16be.txt": codecs.BOM_UTF16_BE + words.encode("utf-16-be"), "32.txt": words.encode("utf-32"),
        "latin.txt": words.encode("cp1252"), "packed.txt.gz": gzip.compress(words.encode()),
        "crlf.txt": words.replace(". ", ".\r\n"), "mac.txt": words.replace(". ", ".\r"),
    })  # fmt: skip
    names = {"plain.txt": "UTF-8", "bom.txt": "UTF-8", "16.txt": "UTF-16", "16be.txt": "UTF-16", "32.txt": "UTF-32"}
    for name in ("plain.txt", *names, "latin.txt", "packed.txt.gz", "crlf.txt", "mac.txt"):
        dataset = opened(tmp_path / name, cache, context=16)
        whole = words.replace(". ", ".\n") if name in ("crlf.txt", "mac.txt") else words
        assert said(dataset.train)[0] == whole[:17] and dataset.summary["columns"]["text"]["characters"] == len(whole)
        assert "\r" not in text.vocabulary(dataset.train.columns["text"].spec.tokenizer).tokens
        if name in names:
            assert dataset.summary["encodings"] == {names[name]: 1}
    notes = opened(tmp_path / "latin.txt", cache, context=16).summary["notes"]
    assert any("'latin.txt' is read as " in note and "not UTF-8" in note for note in notes)


def test_what_is_no_text_is_refused_with_the_place(tmp_path: Path, cache: Path) -> None:
    words = ("Grüße aus Köln und von überall her\n" * 400).encode()
    at = words.index(b"\n", 9000) + 1
    put(tmp_path, {
        "damaged.txt": words[:at] + b"\xff" + words[at:], "noise.txt": np.random.default_rng(0).bytes(4000),
        "torn.txt.gz": gzip.compress(words)[:-40], "half.txt": words.decode().encode("utf-16")[:-1],
    })  # fmt: skip
    line = words[:at].count(b"\n") + 1
    error = refused(tmp_path / "damaged.txt", cache)
    assert f"'damaged.txt' cannot be decoded: byte {at:,} (line {line}) is 0xff" in str(error)
    assert "damaged" in str(error) and "UTF-8" in error.remedy
    assert "'noise.txt' cannot be decoded: byte" in str(refused(tmp_path / "noise.txt", cache))
    assert "damaged gzip file" in str(refused(tmp_path / "torn.txt.gz", cache))
    assert "not UTF-16, as its first bytes say: byte" in str(refused(tmp_path / "half.txt", cache))
    for name, data in (("x.bin", np.random.default_rng(0).bytes(4000)), ("x.pdf", b"%PDF-1.4 " + words)):
        with pytest.raises(UserError, match="not data that Maquette knows"):
            opened(put(tmp_path, {name: data}) / name, cache)
    for i in range(12):
        put(tmp_path / "set", {f"{i:02}.txt": f"{LINES[i]}\n" * 9})
    put(tmp_path / "set", {"bad.txt": np.random.default_rng(0).bytes(4000)})
    dataset = opened(tmp_path / "set", cache)
    assert dataset.summary["left_out"][0]["name"] == "bad.txt" and dataset.summary["used"] == 12
    assert "'bad.txt' cannot be used: byte" in str(refused(tmp_path / "set", cache, strict=True))


def test_a_text_of_any_other_name_is_known_by_its_looks(tmp_path: Path, cache: Path) -> None:
    put(tmp_path, {"jigs.abcd": lines(LINES), "book": "\ufeff" + lines(LINES)})
    code = {f"src/{i:02}.py": f"def {NOUNS[i % 10]}_{i}():\n    return {i}\n" * 3 for i in range(20)}
    assert opened(put(tmp_path / "code", code), cache).summary["kind"] == "folder of texts"
    for name in ("jigs.abcd", "book"):
        assert said(opened(tmp_path / name, cache, context=16).train)[0] == LINES[0][:17]


def test_files_that_are_not_parallel(tmp_path: Path, cache: Path) -> None:
    folder = put(tmp_path / "a", {"train.en": lines(LINES), "train.de": lines(ZEILEN[:-1])})
    error = refused(folder, cache, target="de", given="en")
    assert "'train.de' has 119 lines and 'train.en' has 120 lines" in str(error) and "Line n" in error.remedy
    # A line separator within a sentence is no end of a line; a missing last newline is no line less.
    odd = {"train.en": "\n".join([*LINES[:-1], "odd\u2028one \x0bhere"]), "train.de": lines(ZEILEN)}
    dataset = opened(put(tmp_path / "b", odd), cache, "de", "en")
    assert "odd one  here" in said(dataset.train, "en") + said(dataset.test, "en")


def test_empty_rows_are_left_out_by_name(tmp_path: Path, cache: Path) -> None:
    files = {"train.en": lines([*LINES[:50], "", *LINES[50:]]), "train.de": lines([*ZEILEN[:50], "x", *ZEILEN[50:]])}
    dataset = opened(put(tmp_path / "a", files), cache, "de", "en")
    assert dataset.summary["left_out"] == [{"name": "train.en:51", "reason": "'en': empty"}]
    assert (dataset.summary["found"], dataset.summary["used"], dataset.summary["left_out_count"]) == (121, 120, 1)
    assert len(dataset.train) + len(dataset.test) == 120
    assert "'train.en:51' cannot be used: 'en': empty" in str(
        refused(tmp_path / "a", cache, target="de", given="en", strict=True)
    )
    rows = [{"text": t} for t in [*LINES[:3], " \n", *LINES[3:]]]
    table = put(tmp_path, {"a.jsonl": jsonl(rows), "a.csv": "text\n" + lines([*LINES[:3], "", *LINES[3:]])})
    assert opened(table / "a.jsonl", cache).summary["left_out"] == [{"name": "a.jsonl:4", "reason": "empty"}]
    assert opened(table / "a.csv", cache).summary["left_out"] == [{"name": "a.csv:5", "reason": "empty"}]
    # Known from the cache, and strict only now: refused all the same.
    assert "a.jsonl:4" in str(refused(table / "a.jsonl", cache, strict=True))


def test_rows_that_are_too_long_are_left_out_and_never_cut(tmp_path: Path, cache: Path) -> None:
    huge, long = "x" * 10_000_000, "y " * 40
    rows = [{"text": t} for t in [*LINES[:5], huge, long, *LINES[5:]]]
    dataset = opened(put(tmp_path, {"a.jsonl": jsonl(rows)}) / "a.jsonl", cache, longest=64)
    assert dataset.summary["left_out"] == [
        {"name": "a.jsonl:6", "reason": "longer than data.text.longest=64: 10,000,000 characters"},
        {"name": "a.jsonl:7", "reason": "longer than data.text.longest=64: 82 tokens"},
    ]
    assert dataset.summary["left_out_reasons"] == {"longer than data.text.longest=64": 2}
    assert sorted(said(dataset.train) + said(dataset.test)) == sorted(LINES)
    assert dataset.train.columns["text"].spec.shape[0] <= 64
    just = put(tmp_path, {"j.jsonl": jsonl([{"text": t} for t in [*LINES, "y" * 62, "x" * 63]])}) / "j.jsonl"
    assert opened(just, cache, longest=64).summary["left_out"][0]["name"] == "j.jsonl:122"
    assert opened(just, cache, longest=64).summary["used"] == 121, "62 characters, BOS and EOS are 64 tokens"
    files = {"train.en": lines([*LINES[:9], "".join(map(chr, range(33, 120)))]), "train.de": lines(ZEILEN[:10])}
    pair = opened(put(tmp_path / "p", files), cache, "de", "en", longest=50)
    assert "'en': longer than" in pair.summary["left_out"][0]["reason"] and pair.summary["left_out_count"] == 1
    for place, file in (("a.jsonl:6", "a.jsonl"), ("train.en:10", "p")):
        wanted = ("text", None) if file == "a.jsonl" else ("de", "en")
        error = refused(tmp_path / file, tmp_path / "new", target=wanted[0], given=wanted[1], longest=50, strict=True)
        assert f"'{place}' cannot be used" in str(error)
    none = refused(tmp_path / "a.jsonl", cache, longest=8)
    assert "longer than data.text.longest=8" in str(none)
    half = [{"text": t} for t in [*LINES[:60], *(f"{t} " * 4 for t in LINES[60:])]]
    warned = opened(put(tmp_path, {"h.jsonl": jsonl(half)}) / "h.jsonl", cache, longest=64)
    assert any("60 of 120 rows are too long and left out" in w for w in warned.summary["warnings"])


def test_rows_as_long_as_documents_are_read_in_windows(tmp_path: Path, cache: Path) -> None:
    rows = [{"text": lines(LINES[i : i + 60])} for i in range(30)]
    dataset = opened(put(tmp_path, {"a.jsonl": jsonl(rows)}) / "a.jsonl", cache, longest=64, context=32)
    assert not dataset.train.columns["text"].spec.framed and dataset.summary["columns"]["text"]["context"] == 32
    assert any("each is read as a document" in note for note in dataset.summary["notes"])


def test_control_characters_are_taken_out_and_counted(tmp_path: Path, cache: Path) -> None:
    put(tmp_path, {"a.txt": "a\x00b\x07c\td\x1b[0m\n" * 100, "b.jsonl": jsonl([{"text": f"\x00{t}"} for t in LINES])})
    dataset = opened(tmp_path / "a.txt", cache, context=16)
    assert said(dataset.train)[0].startswith("abc\td[0m\nabc")
    assert "300 control characters (NUL and the like) in 'a.txt' were taken out." in dataset.summary["notes"]
    table = opened(tmp_path / "b.jsonl", cache)
    assert sorted(said(table.train) + said(table.test)) == sorted(LINES)
    assert any("120 control characters" in note for note in table.summary["notes"])


def test_half_a_surrogate_pair_is_left_out_by_name(tmp_path: Path, cache: Path) -> None:
    body = jsonl([{"text": t} for t in LINES[:60]]) + '{"text": "a \\ud800 b"}\n' + jsonl([{"text": "👍 ok"}])
    dataset = opened(put(tmp_path, {"a.jsonl": body}) / "a.jsonl", cache)
    assert [entry["name"] for entry in dataset.summary["left_out"]] == ["a.jsonl:61"]
    assert "surrogate" in dataset.summary["left_out"][0]["reason"] and dataset.summary["used"] == 61


def test_broken_rows_are_left_out_by_name_and_broken_files_refused(tmp_path: Path, cache: Path) -> None:
    body = jsonl([{"text": t} for t in LINES]) + '{"text": "cut sh\n[1, 2]\n"just text"\n'
    found = opened(put(tmp_path, {"a.jsonl": body}) / "a.jsonl", cache).summary
    assert [(e["name"], e["reason"].partition(":")[0]) for e in found["left_out"]] == [
        ("a.jsonl:121", "not JSON"), ("a.jsonl:122", "not an object")
    ]  # fmt: skip
    assert found["used"] == 121
    assert "'a.jsonl:121' cannot be used: not JSON" in str(refused(tmp_path / "a.jsonl", cache, strict=True))
    body = "a,text\n" + lines([f"{i},{t}" for i, t in enumerate(LINES)]) + "7\n1,2,3\n"
    found = opened(put(tmp_path, {"a.csv": body}) / "a.csv", cache).summary
    assert [(e["name"], e["reason"]) for e in found["left_out"]] == [
        ("a.csv:122", "1 cell, where the table has 2 columns"), ("a.csv:123", "3 cells, where the table has 2 columns")
    ]  # fmt: skip
    body = "".join(f"{t},{i}\n" for i, t in enumerate(LINES)) + '"open,1\n'
    error = refused(put(tmp_path, {"t.csv": f"a,b\n{body}"}) / "t.csv", cache, target="a")
    assert "the quotation mark in line 122 is never closed" in str(error)
    error = refused(put(tmp_path, {"a.json": '[{"text": "a"},\n {"text": }]'}) / "a.json", cache)
    assert "'a.json' is damaged in line 2" in str(error)
    assert "holds no table" in str(refused(put(tmp_path, {"b.json": '{"a": 1}'}) / "b.json", cache))
    deep = put(tmp_path, {"d.jsonl": jsonl([{"text": t} for t in LINES]) + "[" * 100_000 + "\n"}) / "d.jsonl"
    assert opened(deep, cache).summary["left_out_count"] == 1


def test_lines_of_quoted_cells_are_counted_as_they_stand_in_the_file(tmp_path: Path, cache: Path) -> None:
    body = 'text,n\n"two\nlines",1\n,2\n' + lines([f"{t},3" for t in LINES])
    dataset = opened(put(tmp_path, {"a.csv": body}) / "a.csv", cache)
    assert dataset.summary["left_out"] == [{"name": "a.csv:4", "reason": "empty"}]
    texts = [*said(dataset.train), *said(dataset.test)]
    places = dict(zip(texts, [*dataset.train.names, *dataset.test.names], strict=True))
    assert places["two\nlines"] == "a.csv:2" and places[LINES[0]] == "a.csv:5"


def test_next_to_nothing_is_refused(tmp_path: Path, cache: Path) -> None:
    put(tmp_path, {"a.txt": "hello", "none.txt": "", "a.jsonl": jsonl([{"text": "a"}, {"text": "b"}, {"text": " "}])})
    assert "too little text" in str(refused(tmp_path / "a.txt", cache))
    assert "none.txt' is empty" in str(refused(tmp_path / "none.txt", cache))
    error = refused(tmp_path / "a.jsonl", cache)
    assert "2 usable texts" in str(error) and "1 left out: empty" in str(error)
    assert refused(put(tmp_path, {"empty.jsonl": ""}) / "empty.jsonl", cache)
    small = opened(put(tmp_path, {"b.txt": lines(LINES)}) / "b.txt", cache, context=16).summary["warnings"]
    assert any("characters to learn from" in w for w in small) and any("are held out" in w for w in small)
    few = opened(put(tmp_path, {"c.jsonl": jsonl([{"text": t} for t in LINES])}) / "c.jsonl", cache)
    assert any("texts are held out: what is measured" in w for w in few.summary["warnings"])


def test_files_too_large_are_refused_before_they_fill_the_memory(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(limits.VARIABLE, "4 kB")
    put(tmp_path, {"a.txt": lines(LINES) * 2, "bomb.txt.gz": gzip.compress(b"a" * 5000)})
    for name in ("a.txt", "bomb.txt.gz"):
        assert f"'{name}' is more than 4 kB once decoded." in str(refused(tmp_path / name, cache))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path, cache: Path) -> None:
    path = put(tmp_path, {"a.txt": lines(LINES)}) / "a.txt"
    path.chmod(0)
    assert "cannot be read" in str(refused(path, cache))


# -- the command -------------------------------------------------------------------------------------


def inspected(*args: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    from click.testing import CliRunner

    from maquette.cli.data import command

    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(command, ["inspect", *args])
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.output


def test_inspect_says_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    put(tmp_path / "pairs", pairs(100, **{"val.en": lines(LINES[100:]), "val.de": lines(["", *ZEILEN[101:]])}))
    out = inspected("pairs", folder=tmp_path, monkeypatch=monkeypatch)
    for part in ("parallel files", "train.de", "100 to learn from, 19 held out", "val (19)", "'de': empty", LINES[0],
                 "--target en --given de", "UTF-8 (4)"):  # fmt: skip
        assert part in out, part
    assert not list(tmp_path.glob("*preview*"))
    rows = [{"text": t, "mood": ("glad", "sad")[i % 2]} for i, t in enumerate(LINES)]
    put(tmp_path, {"a.jsonl": jsonl(rows), "b.txt": lines(LINES)})
    out = inspected("a.jsonl", "-o", "look.txt", folder=tmp_path, monkeypatch=monkeypatch)
    assert "char, vocabulary of" in out and "glad" in out and "Preview: look.txt" in out
    assert LINES[0] in (tmp_path / "look.txt").read_text() or "the " in (tmp_path / "look.txt").read_text()
    out = inspected("b.txt", folder=tmp_path, monkeypatch=monkeypatch)
    assert "characters to learn from" in out and "held out (the end)" in out and "windows of 256 tokens" in out
    facts = json.loads(inspected("pairs", "--json", folder=tmp_path, monkeypatch=monkeypatch))
    assert facts["kind"] == "parallel files" and facts["splits"] == {"val": 19} and facts["left_out_count"] == 1
    chosen = json.loads(inspected("pairs", "--json", "--target", "de", "--given", "en", folder=tmp_path,
                                  monkeypatch=monkeypatch))  # fmt: skip
    assert chosen["columns"]["de"]["unit"] == "bpe" and chosen["fingerprint"]


# -- real data ---------------------------------------------------------------------------------------


def test_real_pairs(real_data: Path, cache: Path) -> None:
    dataset = opened(real_data / "multi30k", cache, "de", "en", vocab=2000)
    assert (len(dataset.train), len(dataset.test)) == (29_000, 1000)
    assert {name: len(table) for name, table in dataset.splits.items()} == {"test_2016_flickr": 1000, "val": 1014}
    started = time.process_time()
    again = opened(real_data / "multi30k", cache, "de", "en", vocab=2000)
    assert time.process_time() - started < 1 and again.fingerprint == dataset.fingerprint
    assert again.train.names[0] == "train.de.gz:1"
    assert said(again.splits["val"], "en")[0] == "A group of men are loading cotton onto a truck"


def test_real_poems(real_data: Path, cache: Path) -> None:
    dataset = opened(real_data / "tang" / "poems.jsonl", cache, given="form")
    spec = dataset.spec(("text",), ("form",))
    assert spec.only().unit == "char" and spec.only().framed and set(spec.columns["form"].classes) == {
        "五绝", "七绝", "五律", "七律"
    }  # fmt: skip
    item = dataset.train.columns["text"].take(np.array([0]))[0]
    poem = text.decode(item, spec.only())
    assert poem.startswith("奠璧郊壇昭大禮") and poem.count("\n") == 1
    assert len(dataset.train) + len(dataset.test) == 36_513 and sys.maxunicode > 0xFFFF
